"""Long-range rolling perceptrons of Rolling-UNet.

Source: Liu et al., Rolling-Unet, AAAI 2024, section 3.
Reference code: the authors' published program, as collected in U-Bench.
Departures: the block's own layer norm, which the program makes and never uses, is left out.
"""

from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor, cat, nn

from primitives.core.contract import Given, Knobs, block, without
from primitives.core.errors import InvalidInput
from primitives.core.layers import ChannelNorm, conv_bn, upsample


def roll_each(x: Tensor, axis: int, sign: int) -> Tensor:
    """Roll channel i by i pixels along an axis, circularly, backwards where sign is -1.

    Shape: (N, C, H, W) -> (N, C, H, W)
    """
    length = x.shape[axis]
    channel = torch.arange(x.shape[1], device=x.device)
    place = torch.arange(length, device=x.device)
    sides = place[-1:] + 1  # a tensor: ONNX has no remainder by a side that is not known
    source = (place[None] - sign * channel[:, None]) % sides  # (C, length)
    view = (1, x.shape[1], length, 1) if axis == 2 else (1, x.shape[1], 1, length)
    return x.gather(axis, source.view(view).expand_as(x))


class RollingPerceptron(nn.Module):
    """Roll along one axis, linear, GELU, roll along the other, linear.

    Shape: (N, channels, H, W) -> (N, channels, H, W)
    """

    def __init__(self, channels: int, first_axis: int, first_sign: int) -> None:
        super().__init__()
        self.axes = (first_axis, 5 - first_axis)
        self.sign = first_sign
        self.enter = nn.Conv2d(channels, channels, 1)
        self.act = nn.GELU()
        self.leave = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Mix; shape as in the class."""
        x = self.act(self.enter(roll_each(x, self.axes[0], self.sign)))
        return self.leave(roll_each(x, self.axes[1], 1))


class RollingBlock(nn.Module):
    """Two rolling perceptrons and a local branch, fused (Lo2 block).

    Shape: (N, channels, H, W) -> (N, channels, H, W)
    """

    def __init__(self, channels: int, dropout: float) -> None:
        super().__init__()
        self.rows = RollingPerceptron(channels, 2, 1)
        self.columns = RollingPerceptron(channels, 3, -1)
        self.norm = ChannelNorm(2 * channels)
        self.fuse = nn.Conv2d(2 * channels, channels, 1)
        self.local = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, groups=channels),
            nn.Conv2d(channels, channels, 1),
            nn.ReLU(),
            nn.BatchNorm2d(channels),
        )
        self.join = nn.Conv2d(2 * channels, channels, 1)
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block; shape as in the class."""
        rolled = cat([self.rows(x) + x, self.columns(x) + x], 1)
        whole = self.drop(self.fuse(self.norm(rolled))) + x
        return self.join(cat([whole, self.local(x)], 1))


def embedding(in_channels: int, out_channels: int) -> nn.Sequential:
    """Return feature incentivisation: 3x3 convolution, GELU, layer norm."""
    conv = nn.Conv2d(in_channels, out_channels, 3, padding=1)
    return nn.Sequential(conv, nn.GELU(), ChannelNorm(out_channels))


def _used(knobs: Given, in_channels: int, out_channels: int) -> Given:
    return knobs if in_channels == out_channels else without(knobs, "embed")


@block("rolling", role="stage", init="tokens", used=_used)
class Rolling(nn.Module):
    """Embedding where the channels change or `embed` says so, rolling block, layer norm.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        embed: embed although the channels stay.
        dropout: in the block: 0.1, 0.2 and 0.3 in the published S, M and L.

    Shape: (N, in_channels, H, W) -> (N, out_channels, H, W)

    Raises:
        InvalidInput: dropout is not in [0, 1).
    """

    knobs: ClassVar[Knobs] = {"embed": (False, True), "dropout": (0.1, 0.0, 0.2, 0.3)}

    def __init__(
        self, in_channels: int, out_channels: int, *, embed: bool = False, dropout: float = 0.1
    ) -> None:
        super().__init__()
        if not 0 <= dropout < 1:
            raise InvalidInput(f"dropout must be from 0 to less than 1, got {dropout}")
        needed = embed or in_channels != out_channels
        self.embed = embedding(in_channels, out_channels) if needed else nn.Identity()
        self.roll = RollingBlock(out_channels, dropout)
        self.norm = ChannelNorm(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block; shape as in the class."""
        return self.norm(self.roll(self.embed(x)))


@block("embedding-linear", role="up", init="tokens")
class EmbeddingLinear(nn.Module):
    """Embedding, then bilinear upsampling by two (corners not aligned).

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.

    Shape: (N, in_channels, H, W) -> (N, out_channels, 2H, 2W)
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.embed = embedding(in_channels, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Upsample; shape as in the class."""
        return upsample(self.embed(x))


@block("conv-linear", role="up")
class ConvLinear(nn.Module):
    """One or two 3x3 convolutions with batch norm and ReLU, then bilinear upsampling by two.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        convs: how many; the first of two keeps the channels.

    Shape: (N, in_channels, H, W) -> (N, out_channels, 2H, 2W)

    Raises:
        InvalidInput: convs is neither 1 nor 2.
    """

    knobs: ClassVar[Knobs] = {"convs": (1, 2)}
    keeps: ClassVar[tuple[str, ...]] = ("width",)

    def __init__(self, in_channels: int, out_channels: int, *, convs: int = 1) -> None:
        super().__init__()
        if convs not in (1, 2):
            raise InvalidInput(f"convs must be 1 or 2, got {convs}")
        layers = [in_channels] * convs + [out_channels]
        self.layers = nn.Sequential(
            *(
                layer
                for a, b in pairwise(layers)
                for layer in (*conv_bn(a, b, 3, bias=True), nn.ReLU())
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        """Upsample; shape as in the class."""
        return upsample(self.layers(x))
