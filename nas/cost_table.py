"""Exact parameters and multiply-adds of many archs: a block is traced once for each input's shape.

The sums equal those of `nas.costs.measure_costs`, which a test compares. A neighbour of a known
arch differs from it in few blocks, so that only these are traced. Peak memory is no sum over blocks
and not counted here.
"""

import torch
from torch import nn

from nas.costs import count_flops
from search_spaces.core.arch import Arch, BlockSpec
from search_spaces.core.network import assemble, make

Shape = tuple[int, ...]


class CostTable:
    """Costs of archs of any space for one image of `size` x `size` pixels (3D: a cube)."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._blocks: dict[tuple[BlockSpec, tuple[int, ...], int], nn.Module] = {}
        self._params: dict[nn.Module, int] = {}
        self._flops: dict[tuple[nn.Module, tuple[Shape, ...]], tuple[int, tuple[Shape, ...]]] = {}

    def costs(self, arch: Arch) -> tuple[int, int]:
        """Return parameters and multiply-adds.

        Raises:
            InvalidInput: a block refuses its channels.
        """
        layers, steps = assemble(arch, self._block)
        shapes: dict[str, Shape] = {"x": (1, arch.in_channels, *[self.size] * arch.ndim)}
        total = 0
        for step in steps:
            given = tuple(shapes[name] for name in step.inputs)
            flops, found = self._count(layers[step.layer], given) if step.layer else (0, given)
            shapes |= zip(step.outputs, found, strict=True)
            total += flops
        return sum(self._params[layer] for layer in layers.values()), total // 2

    def _block(self, spec: BlockSpec, *channels: int, ndim: int) -> nn.Module:
        key = spec, channels, ndim
        if key not in self._blocks:
            with torch.device("meta"):
                block = make(spec, *channels, ndim=ndim).eval()
            self._blocks[key] = block
            self._params[block] = sum(p.numel() for p in block.parameters())
        return self._blocks[key]

    def _count(self, block: nn.Module, shapes: tuple[Shape, ...]) -> tuple[int, tuple[Shape, ...]]:
        if (block, shapes) not in self._flops:
            self._flops[block, shapes] = count_flops(block, shapes)
        return self._flops[block, shapes]
