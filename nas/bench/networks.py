"""The networks of a space as a search's designs: genes, keys and exact costs, remembered."""

from collections.abc import Mapping, Sequence

import numpy as np

import search_spaces
from nas.cost_table import CostTable
from nas.pareto import Floats
from nas.sampler.conditions import find_conditions
from nas.sampler.genes import Codes, Genes
from search_spaces.core.arch import Arch
from search_spaces.core.space import Point


class Networks:
    """See the module.

    Args:
        space: its name.
        channels: of the images, and classes of the masks.
        size: side of the input, pixels.
    """

    def __init__(self, space: str, channels: tuple[int, int], size: int) -> None:
        self.space, self._channels = search_spaces.load(space), channels
        values = {name: list(d.values) for name, d in self.space.dimensions.items()}
        self.genes = Genes(values, find_conditions(self.space))
        self._costs = CostTable(size)
        self._known: dict[bytes, tuple[str, float, float]] = {}

    def arch(self, codes: Codes) -> Arch:
        """Return the arch of a design.

        Shape: (genes,)
        """
        return self.space.arch(self.genes.decode(codes), *self._channels)

    def facts(self, codes: Codes) -> tuple[str, float, float]:
        """Return key, parameters and multiply-adds of a design.

        Shape: (genes,)
        """
        name = codes.tobytes()
        if name not in self._known:
            arch = self.arch(codes)
            params, macs = self._costs.costs(arch)
            self._known[name] = arch.key, float(params), float(macs)
        return self._known[name]

    def cost(self, points: Sequence[Point]) -> Mapping[str, Floats]:
        """Return parameters and multiply-adds of points."""
        facts = [self.facts(row)[1:] for row in self.genes.encode(points)]
        params, macs = np.array(facts).reshape(-1, 2).T
        return {"params": params, "macs": macs}
