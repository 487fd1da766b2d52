"""Linear attention, asymmetric multiscale mixing and separable perceptron of MedNeXt / MedUNeXt.

Source: Xue et al., MedNeXt and MedUNeXt, PLOS ONE 2026, e0340108, sections on LAFFN, SEM and SDFFN.
Not the MedNeXt of MICCAI 2023.
Reference code: none.
Departures: the equations and figures are not in the stored text. Widths, depths and the parts of
the mixer follow from the published parameters and cost; the scale N*C of the attention is ours,
since two softmaxes leave almost nothing of the input.
"""

from math import sqrt
from typing import ClassVar

import torch
from torch import Tensor, cat, nn
from torch.nn import functional as F

from primitives.core.contract import Given, Knobs, Vanishing, block, first, without
from primitives.core.layers import (
    ChannelNorm,
    check_choice,
    check_positive,
    conv_bn,
    parse_kernels,
)


def linear(in_channels: int, out_channels: int) -> nn.Conv2d:
    """Return a 1x1 convolution without bias."""
    return nn.Conv2d(in_channels, out_channels, 1, bias=False)


class LinearAttention(nn.Module):
    """Product of a softmax over channels and one over positions, then a linear (LAFFN).

    Args:
        channels: of input and output.
        scaled: multiply the product by positions x channels, which brings it around 1.

    Shape: (N, channels, H, W) -> (N, channels, H, W)
    """

    def __init__(self, channels: int, *, scaled: bool) -> None:
        super().__init__()
        self.scaled = scaled
        self.query, self.key = linear(channels, channels), linear(channels, channels)
        self.leave = linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Attend; shape as in the class."""
        q = self.query(x).movedim(1, -1).softmax(-1)  # (N, H, W, C), as training stores maps
        k = self.key(x).movedim(1, -1)
        k = k.flatten(1, 2).softmax(1).view(k.shape)
        scale = x[0].numel() if self.scaled else 1
        return self.leave((q * k * scale).movedim(-1, 1))


class AxisMixing(nn.Module):
    """Mix whole rows and whole columns, join both by a linear (branch Z2 of SEM).

    Args:
        channels: of input and output.
        kind: "resize": one learned side x side matrix per axis, resized to other sides; "long":
            depthwise kernels that reach across `side`; "pool": means of rows and of columns.
        side: of the map that the network is made for, pixels.

    Shape: (N, channels, H, W) -> (N, channels, H, W)
    """

    def __init__(self, channels: int, kind: str, side: int) -> None:
        super().__init__()
        self.kind = kind
        if kind == "resize":
            bound = 1 / sqrt(side)
            self.rows = nn.Parameter(torch.empty(side, side).uniform_(-bound, bound))
            self.columns = nn.Parameter(torch.empty(side, side).uniform_(-bound, bound))
        elif kind == "long":
            self.down = _strip(channels, (2 * side - 1, 1))
            self.across = _strip(channels, (1, 2 * side - 1))
        self.join = linear(2 * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Mix; shape as in the class."""
        if self.kind == "resize":
            rows = _resized(self.rows, x.shape[2]) @ x
            columns = x @ _resized(self.columns, x.shape[3]).T
        elif self.kind == "long":
            rows, columns = self.down(x), self.across(x)
        else:
            rows = x.mean(2, keepdim=True).expand_as(x)
            columns = x.mean(3, keepdim=True).expand_as(x)
        return self.join(cat([rows, columns], 1))


def _strip(channels: int, kernel: tuple[int, int]) -> nn.Conv2d:
    """Return a depthwise convolution with a kernel of one row or one column."""
    padding = (kernel[0] // 2, kernel[1] // 2)
    return nn.Conv2d(channels, channels, kernel, padding=padding, groups=channels, bias=False)


def _resized(matrix: Tensor, side: int) -> Tensor:
    """Return a square matrix resized so that its row sums stay."""
    if side == matrix.shape[0]:
        return matrix
    size = (side, side)
    resized = F.interpolate(matrix[None, None], size=size, mode="bilinear", align_corners=False)
    return resized[0, 0] * (matrix.shape[0] / side)


class ScaleMixing(nn.Module):
    """Asymmetric kernels of two sizes and axis mixing, as attention on a linear of the input (SEM).

    Args:
        channels: of input and output.
        kernels: sides of the strip pairs, pixels; one branch each.
        axis: kind of `AxisMixing`, or "off".
        side: see there.
        fuse: "concat" with a linear, or "sum" with a linear, of the branches.

    Shape: (N, channels, H, W) -> (N, channels, H, W)
    """

    vanishing: ClassVar[Vanishing] = {"branches.*": ("1.weight", "join.weight")}  # strips, axes

    def __init__(
        self, channels: int, kernels: tuple[int, ...], *, axis: str, side: int, fuse: str
    ) -> None:
        super().__init__()
        self.concat = fuse == "concat"
        self.left, self.right = linear(channels, channels), linear(channels, channels)
        self.branches = nn.ModuleList(
            nn.Sequential(_strip(channels, (1, k)), _strip(channels, (k, 1))) for k in kernels
        )
        if axis != "off":
            self.branches.append(AxisMixing(channels, axis, side))
        count = len(self.branches) if self.concat else 1
        self.fuse = linear(count * channels, channels)
        self.leave = linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Mix; shape as in the class."""
        left = self.left(x)
        right = self.right(x)
        found = [branch(left) for branch in self.branches]
        joined = cat(found, 1) if self.concat else sum(found[1:], found[0])
        return self.leave(self.fuse(joined) * right)


def perceptron(channels: int, kernel: int, ratio: int) -> nn.Sequential:
    """Return linear, depthwise kernel, GELU, linear (SDFFN), for kernel 0 without filter (FFN)."""
    hidden = ratio * channels
    layers: list[nn.Module] = [linear(channels, hidden), nn.GELU(), linear(hidden, channels)]
    if kernel:
        padding = kernel // 2
        conv = nn.Conv2d(hidden, hidden, kernel, padding=padding, groups=hidden, bias=False)
        layers.insert(1, conv)
    return nn.Sequential(*layers)


def _used(knobs: Given, *channels: int) -> Given:
    if knobs["mixer"] != "sem":
        return without(knobs, "kernels", "axis", "side", "fuse")
    return knobs if knobs["axis"] in ("resize", "long") else without(knobs, "side")


@block("med", role="stage", used=_used)
class MedBlock(nn.Module):
    """LAFFN, SEM and SDFFN, each after a layer norm and with its input added (MED block).

    Args:
        in_channels: channels of the input; other counts than out_channels first meet a linear.
        out_channels: channels of the output.
        attention: "plain" (the text), "scaled" by positions x channels, or "off".
        kernels: sides of the strip kernels in pixels, e.g. "5-7".
        axis: "resize", "long", "pool" or "off"; see `AxisMixing`.
        side: of the map that the network is made for, pixels.
        fuse: "concat" or "sum" of the branches of SEM.
        mixer: "sem", or "depthwise" 3x3 or "off" instead of it.
        ffn_kernel: side of the perceptron's depthwise kernel; 0: none.
        ffn_ratio: hidden channels of the perceptron / out_channels.

    Shape: (N, in_channels, H, W) -> (N, out_channels, H, W)

    Raises:
        InvalidInput: a kernel is even, or another knob has an unknown value.
    """

    knobs: ClassVar[Knobs] = {
        "attention": ("plain", "scaled", "off"),
        "kernels": ("5-7", "3-7", "5-11", "7-11", "7-21", "11-21"),
        "axis": ("resize", "long", "pool", "off"),
        "side": (56, 28, 14, 7),
        "fuse": ("concat", "sum"),
        "mixer": ("sem", "depthwise", "off"),
        "ffn_kernel": (3, 5, 0),
        "ffn_ratio": (1, 2, 4),
    }
    vanishing: ClassVar[Vanishing] = {  # last layers: two mixers or attention, two perceptrons
        "parts.*": ("1.leave.weight", "1.weight", "1.2.weight", "1.3.weight")
    }
    keeps: ClassVar[tuple[str, ...]] = ("blocks", "kernels", "ffn_ratio")

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        attention: str = "plain",
        kernels: str = "5-7",
        axis: str = "resize",
        side: int = 56,
        fuse: str = "concat",
        mixer: str = "sem",
        ffn_kernel: int = 3,
        ffn_ratio: int = 1,
    ) -> None:
        super().__init__()
        check_choice("attention", attention, ("plain", "scaled", "off"))
        check_choice("axis", axis, ("resize", "long", "pool", "off"))
        check_choice("fuse", fuse, ("concat", "sum"))
        check_choice("mixer", mixer, ("sem", "depthwise", "off"))
        check_choice("ffn_kernel", ffn_kernel, (0, 1, 3, 5, 7))
        check_positive(side=side, ffn_ratio=ffn_ratio)
        c = out_channels
        same = in_channels == out_channels
        self.enter = nn.Identity() if same else linear(in_channels, c)
        parts: list[nn.Module] = []
        if attention != "off":
            parts.append(LinearAttention(c, scaled=attention == "scaled"))
        if mixer == "sem":
            sides = parse_kernels(kernels)
            parts.append(ScaleMixing(c, sides, axis=axis, side=side, fuse=fuse))
        elif mixer == "depthwise":
            parts.append(nn.Conv2d(c, c, 3, padding=1, groups=c, bias=False))
        parts.append(perceptron(c, ffn_kernel, ffn_ratio))
        self.parts = nn.ModuleList(nn.Sequential(ChannelNorm(c), part) for part in parts)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block; shape as in the class."""
        x = self.enter(x)
        for part in self.parts:
            x = x + part(x)
        return x


@block("med-stem", role="stem")
class MedStem(nn.Module):
    """Three 3x3 convolutions with ReLU before batch norm, the first of stride 2, and max pooling.

    Args:
        in_channels: channels of the input.
        width: channels of the output; the first two convolutions have half of them.

    Shape: (N, in_channels, H, W) -> (N, width, H/4, W/4)
    """

    stride: ClassVar[int] = 4
    keeps: ClassVar[tuple[str, ...]] = ("width",)

    def __init__(self, in_channels: int, width: int) -> None:
        super().__init__()
        half = max(1, width // 2)
        self.layers = nn.Sequential(
            *_conv_relu_norm(in_channels, half, 2),
            *_conv_relu_norm(half, half, 1),
            *_conv_relu_norm(half, width, 1),
            nn.MaxPool2d(3, 2, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Apply the convolutions; shape as in the class."""
        return self.layers(x)


def _conv_relu_norm(in_channels: int, out_channels: int, stride: int) -> list[nn.Module]:
    conv = nn.Conv2d(in_channels, out_channels, 3, stride, 1, bias=False)
    return [conv, nn.ReLU(), nn.BatchNorm2d(out_channels)]


@block("pool-stem", role="stem", leaves=first)
class PoolStem(nn.Module):
    """Max pooling of the input, as MedUNeXt begins.

    Args:
        in_channels: channels of the input and the output.
        width: not used.

    Shape: (N, in_channels, H, W) -> (N, in_channels, H/2, W/2)
    """

    stride: ClassVar[int] = 2

    def __init__(self, in_channels: int, width: int) -> None:
        super().__init__()
        self.out_channels = in_channels
        self.pool = nn.MaxPool2d(2)

    def forward(self, x: Tensor) -> Tensor:
        """Pool; shape as in the class."""
        return self.pool(x)


@block("strided-conv", role="down")
class StridedConv(nn.Module):
    """3x3 convolution of stride 2 without bias, batch norm.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.

    Shape: (N, in_channels, H, W) -> (N, out_channels, H/2, W/2)
    """

    keeps: ClassVar[tuple[str, ...]] = ("width",)

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(*conv_bn(in_channels, out_channels, 3, stride=2))

    def forward(self, x: Tensor) -> Tensor:
        """Reduce; shape as in the class."""
        return self.layers(x)


@block("transposed-head", role="head")
class TransposedHead(nn.Module):
    """Transposed 2x2 convolution of stride 2, which undoes the pooled input, then 1x1 to logits.

    Args:
        in_channels: channels of the input.
        classes: channels of the output.

    Shape: (N, in_channels, H/2, W/2) -> (N, classes, H, W)
    """

    stride: ClassVar[int] = 2
    keeps: ClassVar[tuple[str, ...]] = ("width",)

    def __init__(self, in_channels: int, classes: int) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(in_channels, in_channels, 2, stride=2)
        self.conv = nn.Conv2d(in_channels, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Compute logits; shape as in the class."""
        return self.conv(self.up(x))


@block("classifier", role="head")
class Classifier(nn.Module):
    """Global mean, layer norm, linear.

    Args:
        in_channels: channels of the input.
        classes: logits.

    Shape: (N, in_channels, H, W) -> (N, classes)
    """

    def __init__(self, in_channels: int, classes: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.LayerNorm(in_channels), nn.Linear(in_channels, classes))

    def forward(self, x: Tensor) -> Tensor:
        """Compute logits; shape as in the class."""
        return self.layers(x.mean((2, 3)))
