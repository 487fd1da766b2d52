"""Which channel is which: where each row and column of a network's weights comes from.

A network is run once on labels in the place of values. Convolutions, linears and norms do not
compute: they note the labels that they read and give their outputs labels of their own. Everything
between them (concatenation, splits, shuffles, shifts, tokens, pooling) moves labels as it moves
values, and sums and products tell which labels are one channel. So the parameters of two networks
can be compared channel by channel, whatever their blocks do with channels, and no block has to say.

Source: the dependency graph of Fang et al., DepGraph, CVPR 2023 (arXiv 2301.12900), section 3,
there for removing channels.
"""

import copy
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map_only

Labels = NDArray[np.int64]  # 0: no channel of any layer

_CONVS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_TRANSPOSED = (nn.ConvTranspose2d, nn.ConvTranspose3d)
_NORMS = (
    nn.modules.batchnorm._BatchNorm,
    nn.modules.instancenorm._InstanceNorm,
    nn.GroupNorm,
    nn.LayerNorm,
)
_GROUP = 2**20  # of rows: row 3 of group 2 of a convolution is row 2 * _GROUP + 3
_LAYERS = (*_CONVS, *_TRANSPOSED, nn.Linear, *_NORMS)

# Functions that only move values, or take one of them.
_MOVES = frozenset({
    "__get__", "__getitem__", "cat", "channel_shuffle", "chunk", "clone", "contiguous", "double",
    "expand", "expand_as", "flatten", "gather", "max_pool2d", "max_pool3d", "movedim", "narrow",
    "pad", "permute", "repeat", "reshape", "roll", "select", "split", "squeeze", "stack", "to",
    "transpose", "unbind", "unflatten", "unsqueeze", "view",
})  # fmt: skip
_JOINS = frozenset({"__add__", "__iadd__", "__mul__", "__radd__", "__rmul__", "add", "mul"})
_REDUCTIONS = frozenset({"amax", "mean"})
_PRODUCTS = frozenset({"__matmul__", "__rmatmul__", "matmul"})
_CONVOLVES = frozenset({"conv1d", "conv2d", "conv3d", "conv_transpose2d", "conv_transpose3d"})


@dataclass(frozen=True, slots=True)
class Axes:
    """Labels of the channels that a layer's parameters stand for.

    Attributes:
        rows: one for each output channel.
        columns: one for each input channel; None of norms and depthwise convolutions, whose rows
            are the input's channels.
        groups: of a convolution.
        transposed: whether the weight's first axis are columns.
    """

    rows: Labels
    columns: Labels | None = None
    groups: int = 1
    transposed: bool = False


@dataclass(frozen=True, slots=True)
class Origin:
    """What a label was made for: row `row` of a layer, or, depthwise, the layer's filter of `base`.

    Attributes:
        layer: path of the layer, or "input" and its number.
        row: of the layer, counted in its group.
        base: label that a depthwise layer filters, 0 of other layers.
    """

    layer: str
    row: int
    base: int


class Channels:
    """The labels of a network, those that turned out to be one channel in one group.

    Attributes:
        axes: path of each layer with parameters -> its labels.
        outputs: labels of the channels of each map that the network returns.
    """

    def __init__(self) -> None:
        self.axes: dict[str, Axes] = {}
        self.outputs: list[Labels] = []
        self._origins = [Origin("", 0, 0)]
        self._labels: dict[tuple[str, int], int] = {}
        self._root = [0]

    def label(self, layer: str, row: int, base: int = 0) -> int:
        """Return the label of an output channel; the same when a layer is used again."""
        key = (layer, row)
        if key not in self._labels:
            self._labels[key] = len(self._origins)
            self._root.append(len(self._origins))
            self._origins.append(Origin(layer, row, base))
        return self._labels[key]

    def rows(self, layer: str, count: int) -> Labels:
        """Return labels of all output channels of a layer."""
        return np.array([self.label(layer, row) for row in range(count)], dtype=np.int64)

    def group(self, label: int) -> int:
        """Return the first label of a label's group."""
        while self._root[label] != label:
            self._root[label] = self._root[self._root[label]]
            label = self._root[label]
        return label

    def unite(self, one: int, two: int) -> None:
        """Make two groups one."""
        first, second = sorted((self.group(one), self.group(two)))
        self._root[second] = first

    def origin(self, label: int) -> Origin:
        """Return what a label was made for."""
        return self._origins[label]

    def groups(self) -> dict[int, list[int]]:
        """Return the labels of each group, in order of computation."""
        found: dict[int, list[int]] = defaultdict(list)
        for label in range(1, len(self._origins)):
            found[self.group(label)].append(label)
        return found


def trace(
    net: nn.Module, shapes: Sequence[tuple[int, ...]], opaque: Collection[str] = ()
) -> Channels:
    """Label the channels of a network; it stays as it is.

    Args:
        net: any module whose parameters are in layers of torch; others get no labels.
        shapes: of its inputs, (N, C, *sides).
        opaque: paths of modules that are not looked into; their outputs get labels of their own.
    """
    found = Channels()
    probe = copy.deepcopy(net).cpu().double().eval()
    with torch.no_grad():
        for tensor in (*probe.parameters(), *probe.buffers()):
            tensor.zero_()  # a value that is not a label must not look like one
        given = [
            _spread(found.rows(f"input{i}", s[1]), torch.zeros(s, dtype=torch.float64), 1)
            for i, s in enumerate(shapes)
        ]
        for path in opaque:
            _close(probe, path, given, found)
        for path, module in probe.named_modules():
            if isinstance(module, _LAYERS):
                module.register_forward_hook(_Note(found, path))
        with _Labelled(found):
            out = probe(*given)
    maps = [out] if isinstance(out, Tensor) else out
    found.outputs = [_read(one, 1) for one in maps]
    return found


class _Given(nn.Module):
    """Returns what was computed before."""

    def __init__(self, maps: Any) -> None:
        super().__init__()
        self.maps = maps

    def forward(self, *_: Tensor) -> Any:
        return self.maps


def _close(probe: nn.Module, path: str, given: Sequence[Tensor], found: Channels) -> None:
    """Put labelled maps of the right shapes in the place of a module that sees the inputs."""
    maps = probe.get_submodule(path)(*given)
    labels = np.split(
        found.rows(path, sum(m.shape[1] for m in maps)), np.cumsum([m.shape[1] for m in maps])[:-1]
    )
    probe.set_submodule(
        path, _Given([_spread(row, m, 1) for row, m in zip(labels, maps, strict=True)])
    )


class _Note:
    """Forward hook of a layer: note what it reads, return labels."""

    def __init__(self, found: Channels, path: str) -> None:
        self.found, self.path = found, path

    def __call__(self, layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        with torch._C.DisableTorchFunction():
            axis = _channel_axis(layer)
            columns = _read(inputs[0], axis)
            axes = self._axes(layer, columns, output.shape[axis])
            self.found.axes.setdefault(self.path, axes)  # of the first use
            return inputs[0] if isinstance(layer, _NORMS) else _spread(axes.rows, output, axis)

    def _axes(self, layer: nn.Module, columns: Labels, count: int) -> Axes:
        if isinstance(layer, _NORMS):
            return Axes(columns)
        groups = int(getattr(layer, "groups", 1))
        if groups == len(columns) == count and isinstance(layer, _CONVS):
            pairs = enumerate(columns.tolist())
            rows = [self.found.label(self.path, row, base) for row, base in pairs]
            return Axes(np.array(rows, dtype=np.int64), None if count > 1 else columns)
        each = count // groups
        rows = [self.found.label(self.path, _GROUP * (r // each) + r % each) for r in range(count)]
        transposed = isinstance(layer, _TRANSPOSED)
        return Axes(np.array(rows, dtype=np.int64), columns, groups, transposed)


class _Labelled(TorchFunctionMode):
    """Functions of torch, done to labels."""

    def __init__(self, found: Channels) -> None:
        super().__init__()
        self.found = found

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        name, kwargs = func.__name__, kwargs or {}
        if name == "scaled_dot_product_attention":  # its scores take gigabytes for volumes
            return args[2].expand(*args[0].shape[:-1], args[2].shape[-1])
        result = _shaped(func, args, kwargs) if name in _CONVOLVES else func(*args, **kwargs)
        labelled = isinstance(result, Tensor) and result.dtype == torch.float64
        tensors = [a for a in args if isinstance(a, Tensor)]
        if name in _MOVES or not labelled or not tensors:  # indices are computed as they are
            return result
        if name in _JOINS and len(tensors) == 2:
            return self._joined(*torch.broadcast_tensors(*tensors))
        if name in _REDUCTIONS:
            return _reduced(*args, **kwargs)
        if name in _PRODUCTS:
            tensors.sort(key=lambda t: t.shape != result.shape)
        if name == "interpolate":
            return F.interpolate(args[0], result.shape[2:], mode="nearest")
        if tensors and tensors[0].shape == result.shape:  # of each value alone
            return tensors[0]
        return torch.zeros_like(result)

    def _joined(self, a: Tensor, b: Tensor) -> Tensor:
        """Return the labels of a sum or product, whose channels are the same in both.

        One weight for several channels says nothing of them.
        """
        both = torch.stack([a.flatten(), b.flatten()])[:, ((a > 0) & (b > 0)).flatten()]
        codes = np.unique((both[0] * 2.0**26 + both[1]).numpy().astype(np.int64))
        ones, twos = codes >> 26, codes & (2**26 - 1)
        if len(set(ones.tolist())) == len(set(twos.tolist())) == len(codes):
            for one, two in zip(ones.tolist(), twos.tolist(), strict=True):
                self.found.unite(one, two)
            return torch.where(a > 0, a, b)
        return a if len(a.unique()) >= len(b.unique()) else b


def _shaped(func: Any, args: Any, kwargs: Any) -> Tensor:
    """Return zeros in the shape of a result, which for volumes may take gigabytes to compute."""
    args, kwargs = tree_map_only(Tensor, lambda tensor: tensor.to("meta"), (args, kwargs))
    return torch.zeros(func(*args, **kwargs).shape, dtype=torch.float64)


def _reduced(x: Tensor, dim: Any = None, keepdim: bool = False, **_: Any) -> Tensor:
    """Return the label where all that is reduced has the same."""
    axes = tuple(range(x.ndim)) if dim is None else dim
    high, low = x.amax(axes, keepdim), x.amin(axes, keepdim)
    return torch.where(high == low, high, torch.zeros_like(high))


def _channel_axis(layer: nn.Module) -> int:
    """Return the axis of a layer's input that holds channels; `ChannelNorm` moves it itself."""
    tokens = isinstance(layer, nn.Linear) or type(layer) is nn.LayerNorm
    return -1 if tokens else 1


def _read(x: Tensor, axis: int) -> Labels:
    """Return the label of each channel; zeros beside it are padding."""
    flat = x.movedim(axis, 0).flatten(1)
    return np.asarray(flat.amax(1).round().numpy().astype(np.int64))


def _spread(labels: Labels, like: Tensor, axis: int) -> Tensor:
    """Return a tensor of a shape that holds each channel's label all over it."""
    shape = [1] * like.ndim
    shape[axis] = len(labels)
    return torch.from_numpy(labels).double().view(shape).expand(like.shape).clone()
