"""Skip connections of UltraLightUNet: grouped attention gate, classic attention gate, plain sum.

Source: Rahman and Marculescu, UltraLightUNet / MK-UNet, ICCV workshops 2025, section 3.3,
equation 6, Table 8; the classic gate goes back to Oktay et al., Attention U-Net, MIDL 2018.
Reference code: the authors' published 2D program.
Departures: none; equation 6 as printed nests the norms differently from the program, which is
followed.
"""

from typing import ClassVar

from torch import Tensor, nn

from primitives.core.contract import Knobs, block
from primitives.core.errors import InvalidInput
from primitives.core.layers import check_odd, conv_bn


class GateMap(nn.Module):
    """One weight in (0, 1) per pixel from the decoder feature and the skip.

    Shape: (N, channels, H, W), (N, channels, H, W) -> (N, 1, H, W)
    """

    def __init__(self, channels: int, *, kernel: int, groups: int) -> None:
        super().__init__()
        inner = channels // 2
        self.from_x = nn.Sequential(*conv_bn(channels, inner, kernel, groups, bias=True))
        self.from_skip = nn.Sequential(*conv_bn(channels, inner, kernel, groups, bias=True))
        self.relu = nn.ReLU()
        self.to_map = nn.Sequential(*conv_bn(inner, 1, bias=True), nn.Sigmoid())

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """Compute the map; shape as in the class."""
        return self.to_map(self.relu(self.from_x(x) + self.from_skip(skip)))


@block("gag", role="skip", init="normal-0.02")
class GroupedAttentionGate(nn.Module):
    """Add the skip, gated by grouped convolutions of both maps (GAG, equation 6).

    Args:
        channels: channels of both maps, even: each group reads two of them.
        kernel: side length in pixels.

    Shape: (N, channels, H, W), (N, channels, H, W) -> (N, channels, H, W)

    Raises:
        InvalidInput: channels is odd or the kernel even.
    """

    knobs: ClassVar[Knobs] = {"kernel": (3, 5)}

    def __init__(self, channels: int, *, kernel: int = 3) -> None:
        super().__init__()
        _check_even(channels)
        check_odd("kernel", kernel, (kernel,))
        self.gate = GateMap(channels, kernel=kernel, groups=channels // 2)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """Merge; shape as in the class."""
        return x + skip * self.gate(x, skip)


@block("ag", role="skip", init="normal-0.02")
class AttentionGate(nn.Module):
    """Add the skip, gated by ungrouped 1x1 convolutions of both maps (AG, Table 8).

    Args:
        channels: channels of both maps, even.

    Shape: (N, channels, H, W), (N, channels, H, W) -> (N, channels, H, W)

    Raises:
        InvalidInput: channels is odd.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        _check_even(channels)
        self.gate = GateMap(channels, kernel=1, groups=1)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """Merge; shape as in the class."""
        return x + skip * self.gate(x, skip)


@block("add", role="skip")
class Add(nn.Module):
    """Add the skip as it is.

    Args:
        channels: channels of both maps.

    Shape: (N, channels, H, W), (N, channels, H, W) -> (N, channels, H, W)
    """

    def __init__(self, channels: int) -> None:
        super().__init__()

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """Merge; shape as in the class."""
        return x + skip


def _check_even(channels: int) -> None:
    if channels % 2:
        raise InvalidInput(
            f"an attention gate halves its channels, so they must be even, got {channels}"
        )
