"""The operators that torch runs for a network, with what their time depends on; not computed.

A network of this project runs a few hundred operators, one after the other; the same operator on
the same shapes stands in many networks.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.func import functional_call
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from nas.cost_table import BlockTable, Shape
from nas.dispatch import Call, Operators, run
from nas.latency.measure import memory_format
from nas.shapes import shapes_only
from search_spaces.core.arch import Arch

GROUPS = ("dense", "pointwise", "depthwise", "grouped", "transposed", "product", "view", "map")


@dataclass(frozen=True, slots=True)
class Operator:
    """One call of an operator; equal where shapes and settings are equal.

    Attributes:
        name: torch's; a convolution's is its group's.
        call: shapes of tensors, and whole numbers and truths, in order.
        group: one of `GROUPS`: five of convolutions, matrix products, calls that make no data of
            their own, all others.
        macs: multiply-adds.
        read: numbers in its tensors.
        written: numbers in its results.
        channels: second side of its first result.
        kernel: pixels under a kernel, 1 without one.
    """

    name: str
    call: str
    group: str
    macs: int
    read: int
    written: int
    channels: int
    kernel: int

    @property
    def key(self) -> str:
        """Text that names it."""
        return f"{self.name} {self.call}"

    @property
    def terms(self) -> tuple[float, float, float, float]:
        """What its time is a sum of in a first approximation: 1, macs, read, written; in millions.

        Source: additive form of the roofline model, Williams, Waterman and Patterson, CACM 2009.
        """
        return 1.0, self.macs / 1e6, self.read / 1e6, self.written / 1e6

    @property
    def logs(self) -> tuple[float, ...]:
        """Logarithms of its sizes, in units in which 1 is a large difference."""
        sizes = (self.read, self.written, self.channels, self.macs / max(1, self.written))
        return tuple(math.log(1 + size) / 2 for size in (*sizes, self.kernel))


class OperatorTable:
    """The operators of archs of any space for one image of `size` x `size` pixels."""

    def __init__(self, size: int) -> None:
        self._table = BlockTable(size, list_operators)

    def operators(self, arch: Arch) -> list[Operator]:
        """Return all operators of one forward pass, in order.

        Raises:
            InvalidInput: a block refuses its channels.
        """
        _, steps = self._table.walk(arch)
        return [operator for step in steps for operator in step]


@cache
def operator_table(size: int) -> OperatorTable:
    """Return the table of a size, which all that predict at it share."""
    return OperatorTable(size)


def list_operators(
    block: nn.Module, shapes: Sequence[Shape]
) -> tuple[tuple[Operator, ...], tuple[Shape, ...]]:
    """Return the operators of a block that a CPU would run, and the shapes of its outputs.

    A CPU has a kernel of its own for attention, and folds batches of matrix products by their
    strides, which the meta device does not: blocks with such products are listed once more, as if
    on a CPU, which takes three times as long.

    Args:
        block: of the meta device, without memory; takes one map per shape.
        shapes: of its inputs.
    """
    maps = [torch.empty(shape, device="meta") for shape in shapes]
    with torch.no_grad(), listed(shapes_only) as found:
        out = block(*maps)
    if any(operator.group == "product" for operator in found):
        found = _on_cpu(block, shapes)
    outputs = [out] if isinstance(out, torch.Tensor) else out
    return tuple(found), tuple(tuple(o.shape) for o in outputs)


def _on_cpu(block: nn.Module, shapes: Sequence[Shape]) -> list[Operator]:
    """Return the operators with maps and weights that say they are a CPU's, channels last."""
    with torch.no_grad(), FakeTensorMode():
        weights = {
            name: _empty(tensor.shape)
            for name, tensor in (*block.named_parameters(), *block.named_buffers())
        }
        maps = tuple(map(_empty, shapes))
        with listed(run) as found:  # strides matter
            functional_call(block, weights, maps)
    return found


def _empty(shape: Sequence[int]) -> torch.Tensor:
    flat = len(shape) == 4
    form = memory_format(torch.device("cpu"), 2) if flat else torch.contiguous_format
    return torch.empty(tuple(shape), memory_format=form)


def describe(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> Operator:
    """Return what a call of torch's dispatcher was.

    Args:
        func: the operator.
        args: given to it.
        kwargs: given to it by name.
        out: what it returned.
    """
    leaves = tree_leaves((args, dict(kwargs)))
    given = [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]
    made = [leaf for leaf in tree_leaves(out) if isinstance(leaf, torch.Tensor)]
    first = made[0].shape if made else torch.Size()
    group, kernel = _group(func, args, given, made)
    count = flop_registry.get(func.overloadpacket)
    flops = count(*args, **kwargs, out_val=out) if count else 0
    return Operator(
        name=group if kernel else str(func.overloadpacket.__name__),
        call=",".join(map(_text, filter(_matters, leaves))),
        group="product" if flops and not kernel else group,
        macs=int(flops) // 2,
        read=sum(tensor.numel() for tensor in given),
        written=sum(tensor.numel() for tensor in made),
        channels=int(first[1]) if len(first) > 1 else 1,
        kernel=kernel or 1,
    )


def _group(
    func: Any, args: Sequence[Any], given: Sequence[torch.Tensor], made: Sequence[torch.Tensor]
) -> tuple[str, int]:
    """Return the group, a matrix product's aside, and the pixels under a convolution's kernel."""
    if func.overloadpacket == torch.ops.aten.convolution:
        weight, transposed, groups = args[1], args[6], args[8]
        kernel = math.prod(weight.shape[2:])
        if transposed:
            return "transposed", kernel
        if groups > 1:
            return "depthwise" if weight.shape[1] == 1 else "grouped", kernel
        return "dense" if kernel > 1 else "pointwise", kernel
    returned = func._schema.returns
    aliases = any(r.alias_info and not r.alias_info.is_write for r in returned)
    return "view" if aliases and made and given else "map", 0


def _matters(leaf: Any) -> bool:
    return isinstance(leaf, torch.Tensor | int)


def _text(leaf: Any) -> str:
    return "x".join(map(str, leaf.shape)) if isinstance(leaf, torch.Tensor) else str(int(leaf))


@contextmanager
def listed(call: Call) -> Iterator[list[Operator]]:
    """Note every operator of what runs inside.

    Args:
        call: calls an operator; see `nas.dispatch`.
    """
    found: list[Operator] = []

    def note(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        out = call(func, args, kwargs)
        if func.namespace != "prim":  # how a tensor without memory is asked for its device
            found.append(describe(func, args, kwargs, out))
        return out

    with Operators(note):
        yield found
