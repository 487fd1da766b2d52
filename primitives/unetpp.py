"""Parts of U-Net++: residual encoder, nodes, aligned upsampling, heads of the full-size nodes.

Source: Zhou et al., U-Net++, DLMIA 2018; He et al., Deep residual learning, CVPR 2016, for the
encoder.
Reference code: the variant with a ResNet-34 encoder as collected in the LGMSNet release.
Departures: the first of the five scalars that weigh the heads, which the program never uses, is
kept, so that the parameters are the published ones.
"""

from typing import ClassVar

from torch import Tensor, nn, ones

from primitives.core.contract import Vanishing, block, first
from primitives.core.layers import conv_bn, upsample


@block("residual-stem", role="stem", init="fan-out")
class ResidualStem(nn.Module):
    """7x7 convolution of stride 2, batch norm, ReLU.

    Args:
        in_channels: channels of the input.
        width: channels of the output.

    Shape: (N, in_channels, H, W) -> (N, width, H/2, W/2)
    """

    stride: ClassVar[int] = 2
    keeps: ClassVar[tuple[str, ...]] = ("width",)

    def __init__(self, in_channels: int, width: int) -> None:
        super().__init__()
        conv = nn.Conv2d(in_channels, width, 7, stride=2, padding=3, bias=False)
        self.layers = nn.Sequential(conv, nn.BatchNorm2d(width), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        """Apply the convolution; shape as in the class."""
        return self.layers(x)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut; the first convolution has the stride."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        first = conv_bn(in_channels, out_channels, 3, stride=stride)
        self.layers = nn.Sequential(*first, nn.ReLU(), *conv_bn(out_channels, out_channels, 3))
        if stride == 1 and in_channels == out_channels:
            self.shortcut: nn.Module = nn.Identity()
        else:
            self.shortcut = nn.Sequential(*conv_bn(in_channels, out_channels, stride=stride))

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block."""
        return (self.layers(x) + self.shortcut(x)).relu()


@block("residual", role="stage", init="fan-out")
class Residual(BasicBlock):
    """Basic block of a residual network.

    Args:
        in_channels: channels of the input; a 1x1 convolution joins the shortcut if they change.
        out_channels: channels of the output.

    Shape: (N, in_channels, H, W) -> (N, out_channels, H, W)
    """

    vanishing: ClassVar[Vanishing] = {"": ("layers.4.*",)}  # what follows a ReLU is not negative
    keeps: ClassVar[tuple[str, ...]] = ("width", "blocks")

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, 1)


@block("residual-down", role="down", init="fan-out")
class ResidualDown(BasicBlock):
    """Basic block of stride 2.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.

    Shape: (N, in_channels, H, W) -> (N, out_channels, H/2, W/2)
    """

    keeps: ClassVar[tuple[str, ...]] = ("width",)

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, 2)


@block("max-pool-3", role="down", leaves=first)
class MaxPoolThree(nn.Module):
    """Maximum of 3x3 windows, stride 2.

    Args:
        in_channels: channels of the input and the output.
        out_channels: of the stage; not used.

    Shape: (N, in_channels, H, W) -> (N, in_channels, H/2, W/2)
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.out_channels = in_channels
        self.pool = nn.MaxPool2d(3, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Pool; shape as in the class."""
        return self.pool(x)


@block("bottleneck-conv", role="stage", init="fan-out")
class BottleneckConv(nn.Module):
    """Three 3x3 convolutions with batch norm and ReLU, the first two of half the width.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output, at least 2.

    Shape: (N, in_channels, H, W) -> (N, out_channels, H, W)
    """

    keeps: ClassVar[tuple[str, ...]] = ("width",)

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        half = out_channels // 2
        self.layers = nn.Sequential(
            *conv_bn(in_channels, half, 3),
            nn.ReLU(),
            *conv_bn(half, half, 3),
            nn.ReLU(),
            *conv_bn(half, out_channels, 3),
            nn.ReLU(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Apply the convolutions; shape as in the class."""
        return self.layers(x)


@block("nearest", role="up", leaves=first)
class Nearest(nn.Module):
    """Repeat each pixel twice along both sides.

    Args:
        in_channels: channels of the input and the output.
        out_channels: of the stage; not used.

    Shape: (N, in_channels, H, W) -> (N, in_channels, 2H, 2W)
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.out_channels = in_channels
        self.up = nn.Upsample(scale_factor=2)

    def forward(self, x: Tensor) -> Tensor:
        """Upsample; shape as in the class."""
        return self.up(x)


@block("linear-aligned", role="up", leaves=first)
class LinearAligned(nn.Module):
    """Bilinear upsampling by two, corners aligned.

    Args:
        in_channels: channels of the input and the output.
        out_channels: of the stage; not used.

    Shape: (N, in_channels, H, W) -> (N, in_channels, 2H, 2W)
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.out_channels = in_channels

    def forward(self, x: Tensor) -> Tensor:
        """Upsample; shape as in the class."""
        return upsample(x, align_corners=True)


@block("weighted-heads", role="ensemble")
class WeightedHeads(nn.Module):
    """One 1x1 convolution per map, their sum weighted by learned scalars, upsampled by two.

    Args:
        in_channels: channels of the last map.
        others: channels of the maps before it, then the classes.

    Shape: (N, in_channels, H/2, W/2), (N, c, H/2, W/2) ... -> (N, classes, H, W)
    """

    stride: ClassVar[int] = 2
    keeps: ClassVar[tuple[str, ...]] = ("width",)

    def __init__(self, in_channels: int, *others: int) -> None:
        super().__init__()
        *before, classes = others
        self.heads = nn.ModuleList(nn.Conv2d(c, classes, 1) for c in (*before, in_channels))
        self.weights = nn.Parameter(ones(len(self.heads) + 1))

    def forward(self, x: Tensor, *others: Tensor) -> Tensor:
        """Compute logits; shape as in the class."""
        maps = zip(self.heads, (*others, x), strict=True)
        logits = [w * head(m) for w, (head, m) in zip(self.weights[1:], maps, strict=True)]
        return upsample(sum(logits[1:], logits[0]))
