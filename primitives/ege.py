"""Group multi-axis Hadamard attention (GHPA) and aggregation bridge (GAB) of EGE-UNet.

Source: Ruan et al., EGE-UNet, MICCAI 2023, section 2.
Reference code: the authors' published program, as collected in U-Bench.
Departures: the side maps of the published program are its own inputs to the bridges here too, but
are not returned: deep supervision is not part of a recipe.
"""

from typing import ClassVar

from torch import Tensor, cat, nn, ones
from torch.nn import functional as F

from primitives.core.contract import Given, Knobs, block, first, same
from primitives.core.errors import InvalidInput
from primitives.core.layers import ChannelNorm, check_same_channels, upsample

_SIDE = 8  # of the learned maps


def resize_to(x: Tensor, size: tuple[int, ...], mode: str) -> Tensor:
    """Interpolate a map or a row to a size, corners aligned."""
    return F.interpolate(x, size=size, mode=mode, align_corners=True)


class HadamardMap(nn.Module):
    """Multiply by a function of a small learned map, resized to the input.

    Shape: (N, channels, H, W) -> (N, channels, H, W)
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.map = nn.Parameter(ones(1, channels, _SIDE, _SIDE))
        self.act = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, groups=channels),
            nn.GELU(),
            nn.Conv2d(channels, channels, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Multiply; shape as in the class."""
        return x * self.act(resize_to(self.map, x.shape[2:], "bilinear"))


class HadamardRow(nn.Module):
    """The same over (channel, side) planes: one learned row for each of `channels` positions.

    Shape: (N, channels, H, W) -> (N, channels, H, W); the plane holds channels and `axis`
    """

    def __init__(self, channels: int, axis: int) -> None:
        super().__init__()
        self.axis = axis
        self.map = nn.Parameter(ones(1, 1, channels, _SIDE))
        self.act = nn.Sequential(
            nn.Conv1d(channels, channels, 3, padding=1, groups=channels),
            nn.GELU(),
            nn.Conv1d(channels, channels, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Multiply; shape as in the class."""
        size = (x.shape[1], x.shape[self.axis])
        row = self.act(resize_to(self.map, size, "bilinear")[0])  # (1, C, side)
        return x * row.unsqueeze(5 - self.axis)


def _fourfold(knobs: Given, *channels: int) -> int:
    return 0 if channels[0] % 4 else channels[0]


def _leaves_ghpa(knobs: Given, in_channels: int, out_channels: int) -> int:
    return 0 if in_channels % 4 else out_channels


@block("ghpa", role="stage", leaves=_leaves_ghpa)
class HadamardAttention(nn.Module):
    """Multiply three groups of channels by learned maps, filter the fourth, mix (GHPA).

    The maps lie over the sides, over channels and height, and over channels and width.

    Args:
        in_channels: channels of the input, a multiple of 4.
        out_channels: channels of the output.

    Shape: (N, in_channels, H, W) -> (N, out_channels, H, W)

    Raises:
        InvalidInput: in_channels is no multiple of 4.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        if in_channels % 4:
            raise InvalidInput(f"ghpa needs a multiple of 4 channels, got {in_channels}")
        c = in_channels // 4
        self.norm = ChannelNorm(in_channels, eps=1e-6)
        self.groups = nn.ModuleList(
            (
                HadamardMap(c),
                HadamardRow(c, 2),
                HadamardRow(c, 3),
                nn.Sequential(
                    nn.Conv2d(c, c, 1), nn.GELU(), nn.Conv2d(c, c, 3, padding=1, groups=c)
                ),
            )
        )
        self.leave = nn.Sequential(
            ChannelNorm(in_channels, eps=1e-6),
            nn.Conv2d(in_channels, in_channels, 3, padding=1, groups=in_channels),
            nn.GELU(),
            nn.Conv2d(in_channels, out_channels, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block; shape as in the class."""
        chunks = self.norm(x).chunk(4, 1)
        return self.leave(cat([g(c) for g, c in zip(self.groups, chunks, strict=True)], 1))


@block("conv", role="stage")
class Conv(nn.Module):
    """One convolution with bias; norm and activation come with the size change.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel: side in pixels.

    Shape: (N, in_channels, H, W) -> (N, out_channels, H, W)
    """

    knobs: ClassVar[Knobs] = {"kernel": (3, 1)}
    keeps: ClassVar[tuple[str, ...]] = ("width", "kernel")

    def __init__(self, in_channels: int, out_channels: int, *, kernel: int = 3) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the convolution; shape as in the class."""
        return self.conv(x)


def norm_resize_gelu(channels: int, resize: nn.Module) -> nn.Sequential:
    """Return a group norm with four groups, what changes the size, and GELU.

    Raises:
        InvalidInput: channels is no multiple of 4.
    """
    if channels % 4:
        raise InvalidInput(f"a norm of 4 groups needs a multiple of 4 channels, got {channels}")
    return nn.Sequential(nn.GroupNorm(4, channels), resize, nn.GELU())


@block("norm-pool", role="down", leaves=_fourfold)
class NormPool(nn.Module):
    """Group norm, maximum of each 2x2 window, GELU.

    Args:
        in_channels: channels of the input and the output, a multiple of 4.
        out_channels: of the stage; not used.

    Shape: (N, in_channels, H, W) -> (N, in_channels, H/2, W/2)

    Raises:
        InvalidInput: in_channels is no multiple of 4.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.out_channels = in_channels
        self.layers = norm_resize_gelu(in_channels, nn.MaxPool2d(2))

    def forward(self, x: Tensor) -> Tensor:
        """Apply them in order; shape as in the class."""
        return self.layers(x)


@block("norm-linear", role="up", leaves=_fourfold)
class NormLinear(nn.Module):
    """Group norm, bilinear upsampling by two (corners aligned), GELU.

    Args:
        in_channels: channels of the input and the output, a multiple of 4.
        out_channels: of the stage; not used.

    Shape: (N, in_channels, H, W) -> (N, in_channels, 2H, 2W)

    Raises:
        InvalidInput: in_channels is no multiple of 4.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.out_channels = in_channels
        self.layers = norm_resize_gelu(in_channels, nn.UpsamplingBilinear2d(scale_factor=2))

    def forward(self, x: Tensor) -> Tensor:
        """Apply them in order; shape as in the class."""
        return self.layers(x)


@block("norm-gelu", role="stage", leaves=_fourfold)
class NormGELU(nn.Module):
    """Group norm and GELU, where a stage keeps its size.

    Args:
        in_channels: channels of the input and the output, a multiple of 4.
        out_channels: of the stage; not used.

    Shape: (N, in_channels, H, W) -> (N, in_channels, H, W)

    Raises:
        InvalidInput: in_channels is no multiple of 4.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.out_channels = in_channels
        self.layers = norm_resize_gelu(in_channels, nn.Identity())

    def forward(self, x: Tensor) -> Tensor:
        """Apply them in order; shape as in the class."""
        return self.layers(x)


@block("gelu", role="stage", leaves=first)
class PlainGELU(nn.Module):
    """GELU alone, at the bottom.

    Args:
        in_channels: channels of the input and the output.
        out_channels: of the stage; not used.

    Shape: (N, in_channels, H, W) -> (N, in_channels, H, W)
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.out_channels = in_channels
        self.act = nn.GELU()

    def forward(self, x: Tensor) -> Tensor:
        """Apply it; shape as in the class."""
        return self.act(x)


@block("linear-head", role="head")
class LinearHead(nn.Module):
    """1x1 convolution to logits, bilinear upsampling by two (corners aligned).

    Args:
        in_channels: channels of the input.
        classes: channels of the output.

    Shape: (N, in_channels, H/2, W/2) -> (N, classes, H, W)
    """

    stride: ClassVar[int] = 2
    keeps: ClassVar[tuple[str, ...]] = ("width",)

    def __init__(self, in_channels: int, classes: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Compute logits; shape as in the class."""
        return upsample(self.conv(x), align_corners=True)


def _leaves_bridge(knobs: Given, in_channels: int, skip_channels: int, side_channels: int) -> int:
    return 0 if skip_channels % 4 or side_channels != 1 else skip_channels


def _leaves_gab(knobs: Given, *channels: int) -> int:
    return 0 if channels[0] % 4 else same(knobs, *channels)


@block("ege-bridge", role="bridge", leaves=_leaves_bridge)
class Bridge(nn.Module):
    """Fuse a deeper map, a skip and a side map by dilated depthwise groups (GAB).

    Args:
        in_channels: channels of the deeper map.
        skip_channels: channels of the skip and the output, a multiple of 4.
        side_channels: channels of the side map, 1.

    Shape: (N, in_channels, H, W), (N, skip_channels, h, w), (N, 1, h, w)
        -> (N, skip_channels, h, w)

    Raises:
        InvalidInput: skip_channels is no multiple of 4, or side_channels not 1.
    """

    def __init__(self, in_channels: int, skip_channels: int, side_channels: int = 1) -> None:
        super().__init__()
        if skip_channels % 4 or side_channels != 1:
            raise InvalidInput(
                "a bridge needs a multiple of 4 channels and one side map, got "
                f"{skip_channels} and {side_channels}"
            )
        self.out_channels = skip_channels
        width = skip_channels // 2 + 1
        self.enter = nn.Conv2d(in_channels, skip_channels, 1)
        self.groups = nn.ModuleList(
            nn.Sequential(
                ChannelNorm(width, eps=1e-6),
                nn.Conv2d(width, width, 3, padding=d, dilation=d, groups=width),
            )
            for d in (1, 2, 5, 7)
        )
        both = 2 * skip_channels + 4
        self.leave = nn.Sequential(ChannelNorm(both, eps=1e-6), nn.Conv2d(both, skip_channels, 1))

    def forward(self, x: Tensor, skip: Tensor, side: Tensor) -> Tensor:
        """Fuse; shape as in the class."""
        x = resize_to(self.enter(x), skip.shape[2:], "bilinear")
        pairs = zip(self.groups, x.chunk(4, 1), skip.chunk(4, 1), strict=True)
        return self.leave(cat([g(cat([deep, low, side], 1)) for g, deep, low in pairs], 1))


@block("gab", role="skip", leaves=_leaves_gab)
class AggregationBridge(nn.Module):
    """Add the skip, fused by a bridge with the decoder's own map and a side map of it (GAB).

    For stages that have no deeper map beside the decoder's; the side map is a learned 1x1
    projection.

    Args:
        in_channels: channels of the decoder's map, a multiple of 4.
        skip_channels: the same number.

    Shape: (N, in_channels, H, W), (N, in_channels, H, W) -> (N, in_channels, H, W)

    Raises:
        InvalidInput: the channel counts differ or are no multiple of 4.
    """

    def __init__(self, in_channels: int, skip_channels: int) -> None:
        super().__init__()
        check_same_channels("gab", in_channels, skip_channels)
        self.side = nn.Conv2d(in_channels, 1, 1)
        self.bridge = Bridge(in_channels, skip_channels)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """Merge; shape as in the class."""
        return x + self.bridge(x, skip, self.side(x))
