"""The large-kernel block of CMUNeXt.

Source: Tang et al., CMUNeXt, ISBI 2024, section 2.1.
Reference code: the authors' published program, as collected in U-Bench.
Departures: none. The fusion of skips is `concat-fusion`, the upsampling `linear-conv`.
"""

from typing import ClassVar

from torch import Tensor, nn

from primitives.core.contract import Knobs, block
from primitives.core.errors import InvalidInput
from primitives.core.layers import BATCH_NORM, CONV, check_odd, conv_bn


class LargeKernelBlock(nn.Module):
    """Depthwise kernel with its input added, then a pointwise perceptron; GELU before each norm.

    Shape: (N, channels, *sides) -> (N, channels, *sides)
    """

    def __init__(self, channels: int, kernel: int, expansion: int, ndim: int) -> None:
        super().__init__()
        conv, norm, hidden = CONV[ndim], BATCH_NORM[ndim], expansion * channels
        self.filter = nn.Sequential(
            conv(channels, channels, kernel, padding=kernel // 2, groups=channels),
            nn.GELU(),
            norm(channels),
        )
        self.mix = nn.Sequential(
            conv(channels, hidden, 1),
            nn.GELU(),
            norm(hidden),
            conv(hidden, channels, 1),
            nn.GELU(),
            norm(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block; shape as in the class."""
        return self.mix(x + self.filter(x))


@block("cmunext", role="stage")
class CMUNeXtStage(nn.Module):
    """Large-kernel blocks on the input's channels, then 3x3 convolution, norm and ReLU.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel: side of the depthwise kernel in pixels.
        repeats: large-kernel blocks.
        expansion: hidden channels / in_channels.
        ndim: 2 for maps, 3 for volumes.

    Shape: (N, in_channels, *sides) -> (N, out_channels, *sides)

    Raises:
        InvalidInput: the kernel is even, or repeats or expansion is not positive.
    """

    knobs: ClassVar[Knobs] = {
        "kernel": (7, 3, 5, 9, 11),
        "repeats": (1, 2, 3, 6),
        "expansion": (4, 1, 2, 3),
    }
    ndims: ClassVar[tuple[int, ...]] = (2, 3)
    keeps: ClassVar[tuple[str, ...]] = ("width", "kernel", "expansion")

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        kernel: int = 7,
        repeats: int = 1,
        expansion: int = 4,
        ndim: int = 2,
    ) -> None:
        super().__init__()
        check_odd("kernel", kernel, (kernel,))
        if min(repeats, expansion) < 1:
            raise InvalidInput(
                f"repeats and expansion must be 1 or more, got {repeats} and {expansion}"
            )
        blocks = (LargeKernelBlock(in_channels, kernel, expansion, ndim) for _ in range(repeats))
        self.blocks = nn.Sequential(*blocks)
        self.project = nn.Sequential(
            *conv_bn(in_channels, out_channels, 3, 1, True, ndim), nn.ReLU()
        )

    def forward(self, x: Tensor) -> Tensor:
        """Apply the stage; shape as in the class."""
        return self.project(self.blocks(x))
