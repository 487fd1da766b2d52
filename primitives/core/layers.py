"""Layers shared by blocks; no block lives here."""

from collections.abc import Mapping

from torch import Tensor, nn

from primitives.core.errors import InvalidInput

ACTIVATIONS: Mapping[str, type[nn.Module]] = {
    "relu6": nn.ReLU6,
    "relu": nn.ReLU,
    "hardswish": nn.Hardswish,
    "gelu": nn.GELU,
}


def make_activation(name: str) -> nn.Module:
    """Return the activation layer of that name.

    Raises:
        InvalidInput: the name is unknown.
    """
    if name not in ACTIVATIONS:
        raise InvalidInput(f"activation must be one of {', '.join(ACTIVATIONS)}, got {name!r}")
    return ACTIVATIONS[name]()


def conv_bn(
    in_channels: int, out_channels: int, kernel: int = 1, groups: int = 1, bias: bool = False
) -> list[nn.Module]:
    """Return a "same"-padded convolution and its batch norm."""
    conv = nn.Conv2d(
        in_channels, out_channels, kernel, padding=kernel // 2, groups=groups, bias=bias
    )
    return [conv, nn.BatchNorm2d(out_channels)]


def channel_shuffle(x: Tensor, groups: int) -> Tensor:
    """Interleave `groups` equal runs of channels.

    Shape: (N, C, H, W) -> (N, C, H, W), C divisible by `groups`
    """
    n, c, h, w = x.shape
    x = x.view(n, groups, c // groups, h, w)
    return x.transpose(1, 2).reshape(n, c, h, w)


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


def check_same_channels(what: str, in_channels: int, out_channels: int) -> None:
    """Raise InvalidInput if a block that has no weights is asked to change the channel count."""
    if in_channels != out_channels:
        raise InvalidInput(f"{what} keeps the channel count, got {in_channels} -> {out_channels}")
