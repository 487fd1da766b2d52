"""Exact parameters and multiply-adds of many archs: a block is traced once for each input's shape.

The sums equal those of `nas.costs.measure_costs`, which a test compares. A neighbour of a known
arch differs from it in few blocks, so that only these are traced. Peak memory is no sum over blocks
and not counted here.
"""

from collections.abc import Callable
from typing import Generic, TypeVar
from weakref import WeakKeyDictionary

from torch import nn

from nas.costs import count_flops
from nas.meta import OnMeta
from search_spaces.core.arch import Arch, BlockSpec
from search_spaces.core.network import assemble, make_unfilled

_MOST = 4000  # blocks that are kept, about 250 MB

Shape = tuple[int, ...]
T = TypeVar("T")
Seen = dict[tuple[Shape, ...], tuple[T, tuple[Shape, ...]]]


class BlockTable(Generic[T]):
    """What archs of any space are made of: a block that is kept is made and looked at once.

    Args:
        size: side of the input, pixels or voxels; archs are seen with one image.
        look: takes a block on the meta device and the shapes of its inputs; returns what it saw and
            the shapes of the outputs.
    """

    def __init__(
        self,
        size: int,
        look: Callable[[nn.Module, tuple[Shape, ...]], tuple[T, tuple[Shape, ...]]],
    ) -> None:
        self.size, self._look = size, look
        self._blocks: dict[tuple[BlockSpec, tuple[int, ...], int], nn.Module] = {}
        self._seen: WeakKeyDictionary[nn.Module, Seen[T]] = WeakKeyDictionary()

    def walk(self, arch: Arch) -> tuple[list[nn.Module], list[T]]:
        """Return the layers of an arch, and what was seen at each step of its forward pass.

        Raises:
            InvalidInput: a block refuses its channels.
        """
        layers, steps = assemble(arch, self._block)
        shapes: dict[str, Shape] = {"x": (1, arch.in_channels, *[self.size] * arch.ndim)}
        found = []
        for step in steps:
            outputs = tuple(shapes[name] for name in step.inputs)
            if step.layer:
                seen, outputs = self._see(layers[step.layer], outputs)
                found.append(seen)
            shapes |= zip(step.outputs, outputs, strict=True)
        return list(layers.values()), found

    def _block(self, spec: BlockSpec, *channels: int, ndim: int) -> nn.Module:
        key = spec, channels, ndim
        if key not in self._blocks:
            with OnMeta():
                self._blocks[key] = make_unfilled(spec, *channels, ndim=ndim).eval()
            if len(self._blocks) > _MOST:  # what was seen of the oldest goes with it
                del self._blocks[next(iter(self._blocks))]
        return self._blocks[key]

    def _see(self, block: nn.Module, shapes: tuple[Shape, ...]) -> tuple[T, tuple[Shape, ...]]:
        seen = self._seen.setdefault(block, {})
        if shapes not in seen:
            seen[shapes] = self._look(block, shapes)
        return seen[shapes]


class CostTable:
    """Costs of archs of any space for one image of `size` x `size` pixels (3D: a cube)."""

    def __init__(self, size: int) -> None:
        self._table = BlockTable(size, count_flops)
        self._params: WeakKeyDictionary[nn.Module, int] = WeakKeyDictionary()

    def costs(self, arch: Arch) -> tuple[int, int]:
        """Return parameters and multiply-adds.

        Raises:
            InvalidInput: a block refuses its channels.
        """
        layers, flops = self._table.walk(arch)
        return sum(map(self._count, layers)), sum(flops) // 2

    def _count(self, block: nn.Module) -> int:
        if block not in self._params:
            self._params[block] = sum(p.numel() for p in block.parameters())
        return self._params[block]
