"""Parameters, multiply-adds and peak activations from one traced forward pass, not computed."""

import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from nas.dispatch import Operators
from nas.meta import OnMeta
from nas.shapes import shapes_only
from primitives.core.layers import CHANNEL_SCALE
from search_spaces.core.arch import Arch
from search_spaces.core.network import build


@dataclass(frozen=True, slots=True)
class Costs:
    """What a network costs, exactly.

    Attributes:
        params: learned parameters.
        macs: multiply-adds of convolutions and matrix products for one image; biases, norms,
            activations and interpolation count 0 (torch's counter, halved).
        memory_mib: largest sum of live float32 activations, input included, in inference on one
            image.
    """

    params: int
    macs: int
    memory_mib: float


def measure_costs(arch: Arch, size: int) -> Costs:
    """Return the costs of an arch for one image of `size` x `size` pixels.

    Raises:
        InvalidInput: a block refuses its channels, or size is no multiple of `arch.multiple`.
    """
    with OnMeta():
        net = build(arch).eval()
    return trace(net, (1, arch.in_channels, *[size] * arch.ndim))


def trace(net: nn.Module, shape: Sequence[int]) -> Costs:
    """Return the costs of a net on the meta device for one input of `shape`."""
    traced, _ = _traced(net, shape)
    params = sum(p.numel() for p in net.parameters())
    return Costs(params, traced.flops // 2, traced.peak_bytes / 2**20)


def count_flops(
    block: nn.Module, shapes: Sequence[Sequence[int]]
) -> tuple[int, tuple[tuple[int, ...], ...]]:
    """Return the count for a block on the meta device, and the shapes of its outputs.

    Args:
        block: takes one map per shape.
        shapes: of its inputs.
    """
    traced, out = _traced(block, *shapes)
    outputs = [out] if isinstance(out, torch.Tensor) else out
    return traced.flops, tuple(tuple(o.shape) for o in outputs)


def _traced(net: nn.Module, *shapes: Sequence[int]) -> tuple["_Trace", Any]:
    """Run a net of the meta device on inputs of these shapes."""
    traced = _Trace()
    with torch.no_grad(), Operators(traced.call):
        hooks = [m.register_forward_hook(traced.add_scale) for m in net.modules() if _scales(m)]
        try:
            out = net(*(torch.empty(tuple(shape), device="meta") for shape in shapes))
        finally:
            for hook in hooks:
                hook.remove()
    return traced, out


class _Trace:
    """Counts flops and follows the storages that operators create until they are freed."""

    def __init__(self) -> None:
        self.flops = 0
        self.live_bytes = 0
        self.peak_bytes = 0
        self._known: set[int] = set()

    def call(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Call an operator and count it."""
        out = shapes_only(func, args, kwargs)
        count = flop_registry.get(func.overloadpacket)
        if count is not None:
            self.flops += count(*args, **kwargs, out_val=out)
        for tensor in tree_leaves(out):
            if isinstance(tensor, torch.Tensor):
                self._follow(tensor.untyped_storage())
        return out

    def add_scale(self, module: nn.Module, args: object, out: torch.Tensor) -> None:
        """Count a depthwise 1x1 convolution that is computed as a product."""
        self.flops += 2 * out.numel()

    def _follow(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata
        if key in self._known:
            return
        self._known.add(key)
        size = storage.nbytes()
        self.live_bytes += size
        self.peak_bytes = max(self.peak_bytes, self.live_bytes)
        weakref.finalize(storage, self._free, key, size)

    def _free(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.live_bytes -= size


def _scales(module: nn.Module) -> bool:
    return isinstance(module, tuple(CHANNEL_SCALE.values()))
