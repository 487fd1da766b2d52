"""Skip connections of UltraLightUNet: grouped attention gate, classic attention gate, plain sum.

Source: Rahman and Marculescu, UltraLightUNet / MK-UNet, ICCV workshops 2025, section 3.3,
equation 6, Table 8; the classic gate goes back to Oktay et al., Attention U-Net, MIDL 2018.
Reference code: the authors' published 2D program.
Departures: none; equation 6 as printed nests the norms differently from the program, which is
followed.
"""

from typing import ClassVar

from torch import Tensor, cat, nn

from primitives.core.contract import Given, Knobs, block, same
from primitives.core.errors import InvalidInput
from primitives.core.layers import CONV, check_odd, check_same_channels, conv_bn


class GateMap(nn.Module):
    """One weight in (0, 1) per pixel from the decoder feature and the skip.

    Shape: (N, channels, *sides), (N, channels, *sides) -> (N, 1, *sides)

    Raises:
        InvalidInput: channels is odd.
    """

    def __init__(self, channels: int, *, kernel: int, groups: int, ndim: int) -> None:
        super().__init__()
        if channels % 2:
            raise InvalidInput(
                f"an attention gate needs an even number of channels, got {channels}"
            )
        inner = channels // 2
        self.from_x = nn.Sequential(*conv_bn(channels, inner, kernel, groups, True, ndim))
        self.from_skip = nn.Sequential(*conv_bn(channels, inner, kernel, groups, True, ndim))
        self.relu = nn.ReLU()
        self.to_map = nn.Sequential(*conv_bn(inner, 1, bias=True, ndim=ndim), nn.Sigmoid())

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """Compute the map; shape as in the class."""
        return self.to_map(self.relu(self.from_x(x) + self.from_skip(skip)))


def _even(knobs: Given, *channels: int) -> int:
    return 0 if channels[0] % 2 else same(knobs, *channels)


def _doubled(knobs: Given, *channels: int) -> int:
    return 2 * _even(knobs, *channels)


def _all(knobs: Given, *channels: int) -> int:
    return sum(channels)


@block("gag", role="skip", init="normal-0.02", leaves=_even)
class GroupedAttentionGate(nn.Module):
    """Add the skip, gated by grouped convolutions of both maps (GAG, equation 6).

    Args:
        in_channels: channels of the decoder's map, even: each group reads two of them.
        skip_channels: the same number.
        kernel: side length in pixels.
        ndim: 2 for maps, 3 for volumes.

    Shape: (N, in_channels, *sides), (N, in_channels, *sides) -> (N, in_channels, *sides)

    Raises:
        InvalidInput: the channel counts differ or are odd, or the kernel is even.
    """

    knobs: ClassVar[Knobs] = {"kernel": (3, 5)}
    ndims: ClassVar[tuple[int, ...]] = (2, 3)
    keeps: ClassVar[tuple[str, ...]] = ("width", "kernel")

    def __init__(
        self, in_channels: int, skip_channels: int, *, kernel: int = 3, ndim: int = 2
    ) -> None:
        super().__init__()
        check_same_channels("gag", in_channels, skip_channels)
        check_odd("kernel", kernel, (kernel,))
        self.gate = GateMap(in_channels, kernel=kernel, groups=in_channels // 2, ndim=ndim)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """Merge; shape as in the class."""
        return x + skip * self.gate(x, skip)


@block("ag", role="skip", init="normal-0.02", leaves=_even)
class AttentionGate(nn.Module):
    """Add the skip, gated by ungrouped 1x1 convolutions of both maps (AG, Table 8).

    Args:
        in_channels: channels of the decoder's map, even.
        skip_channels: the same number.
        ndim: 2 for maps, 3 for volumes.

    Shape: (N, in_channels, *sides), (N, in_channels, *sides) -> (N, in_channels, *sides)

    Raises:
        InvalidInput: the channel counts differ or are odd.
    """

    ndims: ClassVar[tuple[int, ...]] = (2, 3)
    keeps: ClassVar[tuple[str, ...]] = ("width",)

    def __init__(self, in_channels: int, skip_channels: int, *, ndim: int = 2) -> None:
        super().__init__()
        check_same_channels("ag", in_channels, skip_channels)
        self.gate = GateMap(in_channels, kernel=1, groups=1, ndim=ndim)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """Merge; shape as in the class."""
        return x + skip * self.gate(x, skip)


@block("ag-concat", role="skip", leaves=_doubled)
class ConcatenatedAttentionGate(nn.Module):
    """Gate the skip by 1x1 convolutions of both maps, then concatenate (skip, decoder's map).

    Source: Attention U-Net, as collected in U-Bench.

    Args:
        in_channels: channels of the decoder's map, even.
        skip_channels: the same number.
        ndim: 2 for maps, 3 for volumes.

    Shape: (N, in_channels, *sides), (N, in_channels, *sides) -> (N, 2 in_channels, *sides)

    Raises:
        InvalidInput: the channel counts differ or are odd.
    """

    ndims: ClassVar[tuple[int, ...]] = (2, 3)
    keeps: ClassVar[tuple[str, ...]] = ("width",)

    def __init__(self, in_channels: int, skip_channels: int, *, ndim: int = 2) -> None:
        super().__init__()
        check_same_channels("ag-concat", in_channels, skip_channels)
        self.out_channels = 2 * in_channels
        self.gate = GateMap(in_channels, kernel=1, groups=1, ndim=ndim)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """Merge; shape as in the class."""
        return cat([skip * self.gate(x, skip), x], 1)


@block("add", role="skip", leaves=same)
class Add(nn.Module):
    """Add the skip as it is.

    Args:
        in_channels: channels of the decoder's map.
        skip_channels: the same number.
        ndim: 2 for maps, 3 for volumes.

    Shape: (N, in_channels, *sides), (N, in_channels, *sides) -> (N, in_channels, *sides)

    Raises:
        InvalidInput: the channel counts differ.
    """

    ndims: ClassVar[tuple[int, ...]] = (2, 3)

    def __init__(self, in_channels: int, skip_channels: int, *, ndim: int = 2) -> None:
        super().__init__()
        check_same_channels("add", in_channels, skip_channels)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """Merge; shape as in the class."""
        return x + skip


@block("concat", role="skip", leaves=_all)
class Concat(nn.Module):
    """Concatenate the skips and the decoder's map.

    Args:
        in_channels: channels of the decoder's map.
        skip_channels: channels of each skip.
        first: "skip" or "x", the decoder's map, comes first.
        ndim: 2 for maps, 3 for volumes.

    Shape: (N, in_channels, *sides), (N, c, *sides) ... -> (N, in_channels + sum of c, *sides)

    Raises:
        InvalidInput: first is unknown.
    """

    knobs: ClassVar[Knobs] = {"first": ("skip", "x")}
    ndims: ClassVar[tuple[int, ...]] = (2, 3)

    def __init__(
        self, in_channels: int, *skip_channels: int, first: str = "skip", ndim: int = 2
    ) -> None:
        super().__init__()
        if first not in ("skip", "x"):
            raise InvalidInput(f"first must be 'skip' or 'x', got {first!r}")
        self.skip_first = first == "skip"
        self.out_channels = in_channels + sum(skip_channels)

    def forward(self, x: Tensor, *skips: Tensor) -> Tensor:
        """Merge; shape as in the class."""
        return cat([*skips, x] if self.skip_first else [x, *skips], 1)


@block("concat-project", role="skip")
class ConcatProject(nn.Module):
    """Concatenate (skip, decoder's map), 1x1 convolution back to the skip's channels.

    Args:
        in_channels: channels of the decoder's map.
        skip_channels: channels of the skip and of the output.
        ndim: 2 for maps, 3 for volumes.

    Shape: (N, in_channels, *sides), (N, skip_channels, *sides) -> (N, skip_channels, *sides)
    """

    ndims: ClassVar[tuple[int, ...]] = (2, 3)
    keeps: ClassVar[tuple[str, ...]] = ("width",)

    def __init__(self, in_channels: int, skip_channels: int, *, ndim: int = 2) -> None:
        super().__init__()
        self.conv = CONV[ndim](in_channels + skip_channels, skip_channels, 1)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """Merge; shape as in the class."""
        return self.conv(cat([skip, x], 1))
