"""Layers shared by blocks; no block lives here.

Dicts choose by `ndim`: 2 for maps, 3 for volumes.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from primitives.core.errors import InvalidInput

CONV: Mapping[int, type[nn.Conv2d | nn.Conv3d]] = {2: nn.Conv2d, 3: nn.Conv3d}
TRANSPOSED: Mapping[int, type[nn.ConvTranspose2d | nn.ConvTranspose3d]] = {
    2: nn.ConvTranspose2d,
    3: nn.ConvTranspose3d,
}
BATCH_NORM: Mapping[int, type[nn.BatchNorm2d | nn.BatchNorm3d]] = {
    2: nn.BatchNorm2d,
    3: nn.BatchNorm3d,
}
INSTANCE_NORM: Mapping[int, type[nn.InstanceNorm2d | nn.InstanceNorm3d]] = {
    2: nn.InstanceNorm2d,
    3: nn.InstanceNorm3d,
}
MAX_POOL: Mapping[int, type[nn.MaxPool2d | nn.MaxPool3d]] = {2: nn.MaxPool2d, 3: nn.MaxPool3d}
LINEAR_MODE: Mapping[int, str] = {2: "bilinear", 3: "trilinear"}  # of F.interpolate

ACTIVATIONS: Mapping[str, type[nn.Module]] = {
    "relu6": nn.ReLU6,
    "relu": nn.ReLU,
    "hardswish": nn.Hardswish,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
}


def make_activation(name: str) -> nn.Module:
    """Return the activation layer of that name.

    Raises:
        InvalidInput: the name is unknown.
    """
    if name not in ACTIVATIONS:
        raise InvalidInput(f"activation must be one of {', '.join(ACTIVATIONS)}, got {name!r}")
    return ACTIVATIONS[name]()


class ChannelScale2d(nn.Conv2d):
    """Depthwise 1x1 convolution, computed as a product: several times as fast on a CPU.

    Shape: (N, channels, H, W) -> (N, channels, H, W)
    """

    def forward(self, x: Tensor) -> Tensor:
        """Scale; shape as in the class."""
        return scale_channels(x, self.weight, self.bias)


class ChannelScale3d(nn.Conv3d):
    """The same for volumes.

    Shape: (N, channels, D, H, W) -> (N, channels, D, H, W)
    """

    def forward(self, x: Tensor) -> Tensor:
        """Scale; shape as in the class."""
        return scale_channels(x, self.weight, self.bias)


CHANNEL_SCALE: Mapping[int, type[ChannelScale2d | ChannelScale3d]] = {
    2: ChannelScale2d,
    3: ChannelScale3d,
}


def scale_channels(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Multiply each channel by its weight and add its bias.

    Shape: (N, C, *sides), (C, 1, 1, ...), (C) -> (N, C, *sides)
    """
    weight = weight.transpose(0, 1)  # (1, C, 1, ...)
    return x * weight if bias is None else torch.addcmul(bias.view(weight.shape), x, weight)


class StridedPointwise2d(nn.Conv2d):
    """1x1 convolution of a stride, computed on the positions that the stride meets.

    With a stride and fewer input channels than a vector register holds, oneDNN writes past its
    buffer when it computes the gradient of the weights of maps stored channels last: wrong
    gradients, a crash or a training that hangs (its issue 6035; seen with PyTorch 2.14.1 on AVX2).

    Shape: (N, in_channels, H, W) -> (N, out_channels, ceil(H / stride), ceil(W / stride))
    """

    def forward(self, x: Tensor) -> Tensor:
        """Convolve; shape as in the class."""
        rows, columns = self.stride
        met = x[:, :, ::rows, ::columns]
        return F.conv2d(met, self.weight, self.bias, groups=self.groups)


def avoid_strided_pointwise(net: nn.Module) -> None:
    """Make every unpadded strided 1x1 convolution a `StridedPointwise2d`, in place."""
    for module in net.modules():
        if type(module) is not nn.Conv2d or module.padding not in ((0, 0), "valid"):
            continue
        if module.kernel_size == (1, 1) != module.stride:
            module.__class__ = StridedPointwise2d


def depthwise_conv(
    channels: int, kernel: int, *, bias: bool = True, ndim: int = 2
) -> nn.Conv2d | nn.Conv3d:
    """Return a "same"-padded depthwise convolution."""
    kind = CHANNEL_SCALE[ndim] if kernel == 1 else CONV[ndim]
    return kind(channels, channels, kernel, padding=kernel // 2, groups=channels, bias=bias)


def conv_bn(
    in_channels: int,
    out_channels: int,
    kernel: int = 1,
    groups: int = 1,
    bias: bool = False,
    ndim: int = 2,
    stride: int = 1,
) -> list[nn.Module]:
    """Return a "same"-padded convolution and its batch norm."""
    if stride == 1 and groups == in_channels == out_channels:
        conv = depthwise_conv(in_channels, kernel, bias=bias, ndim=ndim)
    else:
        conv = CONV[ndim](
            in_channels, out_channels, kernel, stride, kernel // 2, groups=groups, bias=bias
        )
    return [conv, BATCH_NORM[ndim](out_channels)]


def make_norm(name: str, channels: int, ndim: int) -> nn.Module:
    """Return the norm of that name: "batch", or "instance", which has no parameters.

    Raises:
        InvalidInput: the name is unknown.
    """
    if name not in ("batch", "instance"):
        raise InvalidInput(f"norm must be 'batch' or 'instance', got {name!r}")
    return BATCH_NORM[ndim](channels) if name == "batch" else INSTANCE_NORM[ndim](channels)


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of each position.

    Shape: (N, C, *sides) -> (N, C, *sides)
    """

    def forward(self, x: Tensor) -> Tensor:
        """Normalise; shape as in the class."""
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)


def upsample(x: Tensor, factor: int = 2, *, align_corners: bool = False) -> Tensor:
    """Interpolate linearly along every side.

    Shape: (N, C, *sides) -> (N, C, *(factor * sides))
    """
    mode = LINEAR_MODE[x.ndim - 2]
    return F.interpolate(x, scale_factor=factor, mode=mode, align_corners=align_corners)


def channel_shuffle(x: Tensor, groups: int) -> Tensor:
    """Interleave `groups` equal runs of channels.

    Shape: (N, C, *sides) -> (N, C, *sides), C divisible by `groups`
    """
    return F.channel_shuffle(x, groups)


def segment_sizes(channels: int, segments: int) -> list[int]:
    """Return the channels of each segment: ceil(C / segments), and fewer for the last.

    Where that gives too few segments their sizes differ by one at most.

    Raises:
        InvalidInput: there are fewer channels than segments.
    """
    if channels < segments:
        raise InvalidInput(f"segments must be at most the {channels} channels, got {segments}")
    run = -(-channels // segments)
    if (segments - 1) * run < channels:
        return [run] * (segments - 1) + [channels - (segments - 1) * run]
    return [channels // segments + (k < channels % segments) for k in range(segments)]


def parse_kernels(kernels: str) -> tuple[int, ...]:
    """Read a kernel set such as "1-3-5".

    Raises:
        InvalidInput: it is empty, no list of numbers, or holds an even or non-positive side.
    """
    try:
        sides = tuple(int(side) for side in kernels.split("-"))
    except ValueError:
        raise InvalidInput(f"kernels must be odd numbers joined by '-', got {kernels!r}") from None
    check_odd("kernels", kernels, sides)
    return sides


def check_odd(what: str, given: object, sides: tuple[int, ...]) -> None:
    """Raise InvalidInput unless every side is a positive odd number, which keeps H and W."""
    if any(side < 1 or side % 2 == 0 for side in sides):
        raise InvalidInput(f"{what} must all be odd and positive to keep H and W, got {given!r}")


def check_choice(what: str, given: object, values: tuple[object, ...]) -> None:
    """Raise InvalidInput unless a knob has one of its values."""
    if given not in values:
        raise InvalidInput(f"{what} must be one of {', '.join(map(str, values))}, got {given!r}")


def check_positive(**values: int) -> None:
    """Raise InvalidInput unless every value is 1 or more."""
    for what, given in values.items():
        if given < 1:
            raise InvalidInput(f"{what} must be 1 or more, got {given}")


def check_same_channels(what: str, in_channels: int, out_channels: int) -> None:
    """Raise InvalidInput if a block that needs equal channel counts is made with others."""
    if in_channels != out_channels:
        raise InvalidInput(
            f"{what} needs equal channel counts, got {in_channels} and {out_channels}"
        )
