"""A space's dimensions as whole numbers: coding, similarity, and genes without an effect."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas.pareto import Floats
from nas.sampler.similarity import Similarity

Codes = NDArray[np.intp]
Conditions = Mapping[str, tuple[str, frozenset[Any]]]

_REACH = 0.3  # of an ordered gene's range: over which similarity falls to 1/e


@dataclass(frozen=True)
class Genes:
    """All dimensions of a space.

    Attributes:
        values: name of each dimension -> its values; numbers are ordered by size.
        conditions: a gene -> another one, and the values of that under which it has no effect.
    """

    values: Mapping[str, Sequence[Any]]
    conditions: Conditions

    @cached_property
    def sizes(self) -> NDArray[np.intp]:
        """Number of values of each gene."""
        return np.array([len(values) for values in self.values.values()])

    def encode(self, points: Sequence[Mapping[str, Any]]) -> Codes:
        """Return the indices of the points' values.

        Raises:
            KeyError: a point lacks a dimension or has a value that is none of its values.
        """
        rows = [[places[point[name]] for name, places in self._places] for point in points]
        return np.array(rows, dtype=np.intp).reshape(len(points), len(self.values))

    def decode(self, codes: NDArray[np.intp]) -> dict[str, Any]:
        """Return the point of one row of indices."""
        pairs = zip(self.values.items(), codes, strict=True)
        return {name: values[code] for (name, values), code in pairs}

    def canonical(self, codes: Codes) -> Codes:
        """Return codes in which a gene without an effect has an index of its own, the last one."""
        found = codes.copy()
        names = list(self.values)
        for name, (switch, off) in self.conditions.items():
            states = [self.values[switch].index(value) for value in off]
            gene = names.index(name)
            found[np.isin(codes[:, names.index(switch)], states), gene] = self.sizes[gene]
        return found

    @cached_property
    def similarity(self) -> Similarity:
        """By rank for ordered values, by equality for others; "without effect" is like nothing."""
        return Similarity(tuple(_table(values) for values in self.values.values()))

    @cached_property
    def _places(self) -> list[tuple[str, dict[Any, int]]]:
        return [
            (name, {v: i for i, v in enumerate(values)}) for name, values in self.values.items()
        ]


def is_ordered(values: Sequence[Any]) -> bool:
    """Whether values are numbers, and so have an order."""
    return all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)


def _table(values: Sequence[Any]) -> Floats:
    table = np.eye(len(values) + 1)
    if is_ordered(values) and len(values) > 1:
        ranks = np.argsort(np.argsort(np.array(values, dtype=float)))
        distance = np.abs(ranks[:, None] - ranks) / (len(values) - 1)
        table[:-1, :-1] = np.exp(-distance / _REACH)
    return table
