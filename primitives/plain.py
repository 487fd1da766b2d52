"""Ends and size changes without searchable parts: stems, pooling, upsampling, heads.

Source: Rahman and Marculescu, UltraLightUNet / MK-UNet, ICCV workshops 2025, figure 2.
Reference code: the authors' published 2D program.
Departures: none; the activation after upsampling is the program's, the figure does not show it.
"""

from torch import Tensor, nn
from torch.nn import functional as F

from primitives.core.contract import block
from primitives.core.layers import check_same_channels


@block("repeat-grey", role="stem")
class RepeatGrey(nn.Module):
    """Repeat a single channel three times; pass any other count on.

    Args:
        in_channels: channels of the input; `out_channels` says what comes out.

    Shape: (N, in_channels, H, W) -> (N, out_channels, H, W)
    """

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.repeats = 3 if in_channels == 1 else 1
        self.out_channels = in_channels * self.repeats

    def forward(self, x: Tensor) -> Tensor:
        """Repeat; shape as in the class."""
        return x.repeat(1, self.repeats, 1, 1) if self.repeats > 1 else x


@block("max-pool", role="down")
class MaxPool(nn.Module):
    """Maximum of each 2x2 window.

    Args:
        in_channels: channels of the input.
        out_channels: the same number.

    Shape: (N, in_channels, H, W) -> (N, in_channels, H/2, W/2)

    Raises:
        InvalidInput: the channel counts differ.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        check_same_channels("max-pool", in_channels, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Pool; shape as in the class."""
        return F.max_pool2d(x, 2)


@block("bilinear-relu", role="up")
class BilinearReLU(nn.Module):
    """Bilinear upsampling by two (corners not aligned), then ReLU.

    Args:
        in_channels: channels of the input.
        out_channels: the same number.

    Shape: (N, in_channels, H, W) -> (N, in_channels, 2H, 2W)

    Raises:
        InvalidInput: the channel counts differ.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        check_same_channels("bilinear-relu", in_channels, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Upsample; shape as in the class."""
        x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
        return F.relu(x)


@block("conv1x1", role="head")
class PointwiseHead(nn.Module):
    """One 1x1 convolution to logits.

    Args:
        in_channels: channels of the input.
        classes: channels of the output.

    Shape: (N, in_channels, H, W) -> (N, classes, H, W)
    """

    def __init__(self, in_channels: int, classes: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Compute logits; shape as in the class."""
        return self.conv(x)
