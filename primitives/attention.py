"""Channel and spatial attention of UltraLightUNet (CMFA is the first followed by the second).

Source: Rahman and Marculescu, UltraLightUNet / MK-UNet, ICCV workshops 2025, section 3.2,
equations 3 to 5.
Reference code: the authors' published 2D program.
Departures: none.
"""

from typing import ClassVar

from torch import Tensor, cat, nn

from primitives.core.contract import Knobs, block
from primitives.core.errors import InvalidInput
from primitives.core.layers import check_odd


@block("channel-attention", role="attention", init="normal-0.02")
class ChannelAttention(nn.Module):
    """Weigh channels by one two-layer perceptron on their global mean and maximum (CA, equation 3).

    Args:
        channels: channels of the input.
        ratio: channels / hidden channels, lowered to `channels` where it is larger.

    Shape: (N, channels, H, W) -> (N, channels, H, W)

    Raises:
        InvalidInput: ratio is not positive.
    """

    knobs: ClassVar[Knobs] = {"ratio": (16, 8, 4)}

    def __init__(self, channels: int, *, ratio: int = 16) -> None:
        super().__init__()
        if ratio < 1:
            raise InvalidInput(f"ratio must be 1 or more, got {ratio}")
        hidden = channels // min(ratio, channels)
        self.reduce = nn.Conv2d(channels, hidden, 1, bias=False)
        self.relu = nn.ReLU()
        self.restore = nn.Conv2d(hidden, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the weights; shape as in the class."""
        mean = self._weigh(x.mean((2, 3), keepdim=True))
        peak = self._weigh(x.amax((2, 3), keepdim=True))
        return x * (mean + peak).sigmoid()

    def _weigh(self, pooled: Tensor) -> Tensor:  # (N, C, 1, 1)
        return self.restore(self.relu(self.reduce(pooled)))


@block("spatial-attention", role="attention", init="normal-0.02")
class SpatialAttention(nn.Module):
    """Weigh pixels by one convolution over their mean and maximum across channels (SA, equation 4).

    Args:
        channels: any; one kernel serves every channel count, so stages can share the module.
        kernel: side length in pixels.

    Shape: (N, channels, H, W) -> (N, channels, H, W)

    Raises:
        InvalidInput: the kernel is even.
    """

    knobs: ClassVar[Knobs] = {"kernel": (7, 3, 11)}

    def __init__(self, channels: int, *, kernel: int = 7) -> None:
        super().__init__()
        check_odd("kernel", kernel, (kernel,))
        self.conv = nn.Conv2d(2, 1, kernel, padding=kernel // 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the weights; shape as in the class."""
        summary = cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], 1)  # (N, 2, H, W)
        return x * self.conv(summary).sigmoid()
