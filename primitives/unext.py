"""Token stages of UNeXt: strided embedding and shifted perceptron; its convolution stages.

Source: Valanarasu and Patel, UNeXt, MICCAI 2022, section 2.
Reference code: the authors' published program.
Departures: none; the program's dropout is 0.
"""

from typing import ClassVar

from torch import Tensor, cat, nn
from torch.nn import functional as F

from primitives.core.contract import Given, Knobs, block
from primitives.core.layers import ChannelNorm, check_odd, segment_sizes


@block("conv-norm", role="stage")
class ConvNorm(nn.Module):
    """3x3 convolution with bias, batch norm; the activation comes with the size change.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        norm: whether there is a norm; the program's last decoder stage has none.

    Shape: (N, in_channels, H, W) -> (N, out_channels, H, W)
    """

    knobs: ClassVar[Knobs] = {"norm": (True, False)}
    keeps: ClassVar[tuple[str, ...]] = ("width",)

    def __init__(self, in_channels: int, out_channels: int, *, norm: bool = True) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.norm = nn.BatchNorm2d(out_channels) if norm else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Apply the convolution; shape as in the class."""
        return self.norm(self.conv(x))


@block("token-embedding", role="down", init="tokens")
class TokenEmbedding(nn.Module):
    """3x3 convolution of stride 2 with bias, layer norm over channels.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.

    Shape: (N, in_channels, H, W) -> (N, out_channels, H/2, W/2)
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 3, stride=2, padding=1)
        self.norm = ChannelNorm(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Embed; shape as in the class."""
        return self.norm(self.conv(x))


class ShiftedPerceptron(nn.Module):
    """Linear, depthwise 3x3, GELU, linear; channels are shifted along H before, along W between.

    Shape: (N, channels, H, W) -> (N, channels, H, W)
    """

    def __init__(self, channels: int, segments: int) -> None:
        super().__init__()
        self.segments = segments
        self.enter = nn.Linear(channels, channels)
        self.filter = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        self.act = nn.GELU()
        self.leave = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Mix; shape as in the class."""
        x = self.enter(shift(x, 2, self.segments).movedim(1, -1)).movedim(-1, 1)
        x = self.act(self.filter(x))
        return self.leave(shift(x, 3, self.segments).movedim(1, -1)).movedim(-1, 1)


def shift(x: Tensor, axis: int, segments: int) -> Tensor:
    """Move segment k of the channels by k - segments // 2 pixels along an axis, zeros follow.

    Shape: (N, C, H, W) -> (N, C, H, W)
    """
    reach = segments // 2
    length = x.shape[axis]
    pad = (0, 0, reach, reach) if axis == 2 else (reach, reach, 0, 0)
    chunks = F.pad(x, pad).split(segment_sizes(x.shape[1], segments), 1)
    moved = [c.narrow(axis, 2 * reach - k, length) for k, c in enumerate(chunks)]
    return cat(moved, 1)


def _leaves(knobs: Given, in_channels: int, out_channels: int) -> int:
    return out_channels if out_channels >= int(knobs["segments"]) else 0


@block("shifted-mlp", role="stage", init="tokens", leaves=_leaves)
class ShiftedMLP(nn.Module):
    """Shifted perceptron after a layer norm, input added; a last layer norm (tokenized MLP stage).

    Args:
        in_channels: channels of the input; another count than out_channels is first embedded by a
            1x1 convolution.
        out_channels: channels of the output.
        segments: groups of channels that move differently, odd.

    Shape: (N, in_channels, H, W) -> (N, out_channels, H, W)

    Raises:
        InvalidInput: segments is even, or larger than out_channels.
    """

    knobs: ClassVar[Knobs] = {"segments": (5, 3, 7)}

    def __init__(self, in_channels: int, out_channels: int, *, segments: int = 5) -> None:
        super().__init__()
        check_odd("segments", segments, (segments,))
        segment_sizes(out_channels, segments)
        same = in_channels == out_channels
        self.embed = nn.Identity() if same else nn.Conv2d(in_channels, out_channels, 1)
        self.norm = ChannelNorm(out_channels)
        self.mix = ShiftedPerceptron(out_channels, segments)
        self.last_norm = ChannelNorm(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block; shape as in the class."""
        x = self.embed(x)
        return self.last_norm(x + self.mix(self.norm(x)))
