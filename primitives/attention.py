"""Channel and spatial attention of UltraLightUNet (CMFA is the first followed by the second).

Source: Rahman and Marculescu, UltraLightUNet / MK-UNet, ICCV workshops 2025, section 3.2,
equations 3 to 5.
Reference code: the authors' published 2D program.
Departures: none in 2D; no 3D program is public.
"""

from typing import ClassVar

from torch import Tensor, cat, nn

from primitives.core.contract import Given, Knobs, block
from primitives.core.errors import InvalidInput
from primitives.core.layers import CONV, check_odd


def _used(knobs: Given, channels: int) -> Given:
    """Return the smallest of the searched ratios that gives the same hidden width."""
    ratio = int(knobs["ratio"])
    hidden = channels // min(ratio, channels)
    known = sorted({*map(int, ChannelAttention.knobs["ratio"]), ratio})
    return {"ratio": next(r for r in known if channels // min(r, channels) == hidden)}


@block("channel-attention", role="attention", init="normal-0.02", used=_used)
class ChannelAttention(nn.Module):
    """Weigh channels by one two-layer perceptron on their global mean and maximum (CA, equation 3).

    Args:
        channels: channels of the input.
        ratio: channels / hidden channels, lowered to `channels` where it is larger.
        ndim: 2 for maps, 3 for volumes.

    Shape: (N, channels, *sides) -> (N, channels, *sides)

    Raises:
        InvalidInput: ratio is not positive.
    """

    knobs: ClassVar[Knobs] = {"ratio": (16, 8, 4)}
    ndims: ClassVar[tuple[int, ...]] = (2, 3)
    keeps: ClassVar[tuple[str, ...]] = ("width",)

    def __init__(self, channels: int, *, ratio: int = 16, ndim: int = 2) -> None:
        super().__init__()
        if ratio < 1:
            raise InvalidInput(f"ratio must be 1 or more, got {ratio}")
        hidden = channels // min(ratio, channels)
        self.reduce = CONV[ndim](channels, hidden, 1, bias=False)
        self.relu = nn.ReLU()
        self.restore = CONV[ndim](hidden, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the weights; shape as in the class."""
        sides = tuple(range(2, x.ndim))
        mean = self._weigh(x.mean(sides, keepdim=True))
        peak = self._weigh(x.amax(sides, keepdim=True))
        return x * (mean + peak).sigmoid()

    def _weigh(self, pooled: Tensor) -> Tensor:  # (N, C, 1, ...)
        return self.restore(self.relu(self.reduce(pooled)))


@block("spatial-attention", role="attention", init="normal-0.02")
class SpatialAttention(nn.Module):
    """Weigh pixels by one convolution over their mean and maximum across channels (SA, equation 4).

    Args:
        channels: any; one kernel serves every channel count, so stages can share the module.
        kernel: side length in pixels.
        ndim: 2 for maps, 3 for volumes.

    Shape: (N, channels, *sides) -> (N, channels, *sides)

    Raises:
        InvalidInput: the kernel is even.
    """

    knobs: ClassVar[Knobs] = {"kernel": (7, 3, 11)}
    ndims: ClassVar[tuple[int, ...]] = (2, 3)
    keeps: ClassVar[tuple[str, ...]] = ("kernel",)

    def __init__(self, channels: int, *, kernel: int = 7, ndim: int = 2) -> None:
        super().__init__()
        check_odd("kernel", kernel, (kernel,))
        self.conv = CONV[ndim](2, 1, kernel, padding=kernel // 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the weights; shape as in the class."""
        summary = cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], 1)  # (N, 2, ...)
        return x * self.conv(summary).sigmoid()
