"""Cascade multi-receptive fields (CMRF) and upsampling of TinyU-Net.

Source: Chen et al., TinyU-Net, MICCAI 2024, section 2.1.
Reference code: the authors' published program, as collected in U-Bench.
Departures: none.
"""

from typing import ClassVar

from torch import Tensor, cat, nn
from torch.nn import functional as F

from primitives.core.contract import Given, Knobs, Vanishing, block, first
from primitives.core.errors import InvalidInput

_BRANCHES = 8


def conv_norm(
    in_channels: int, out_channels: int, kernel: int, *, depthwise: bool = False, act: bool = True
) -> nn.Sequential:
    """Return a convolution without bias, batch norm as the program sets it, and GELU or nothing."""
    groups = in_channels if depthwise else 1
    conv = nn.Conv2d(
        in_channels, out_channels, kernel, padding=kernel // 2, groups=groups, bias=False
    )
    norm = nn.BatchNorm2d(out_channels, eps=1e-3, momentum=0.03)
    return nn.Sequential(conv, norm, nn.GELU() if act else nn.Identity())


def _leaves(knobs: Given, in_channels: int, out_channels: int) -> int:
    return 0 if out_channels % (2 * _BRANCHES) else out_channels


@block("cmrf", role="stage", leaves=_leaves)
class CascadeMultiReceptiveFields(nn.Module):
    """Reduce, run a chain of depthwise 3x3 convolutions on half the channels, join all its links.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output, a multiple of 16; equal counts add the input.
        kernel: side of the depthwise kernels in pixels.

    Shape: (N, in_channels, H, W) -> (N, out_channels, H, W)

    Raises:
        InvalidInput: out_channels is no multiple of 16.
    """

    knobs: ClassVar[Knobs] = {"kernel": (3, 5)}
    vanishing: ClassVar[Vanishing] = {"": ("restore.1.*",)}
    keeps: ClassVar[tuple[str, ...]] = ("width", "blocks", "kernel")

    def __init__(self, in_channels: int, out_channels: int, *, kernel: int = 3) -> None:
        super().__init__()
        if out_channels % (2 * _BRANCHES):
            raise InvalidInput(
                f"cmrf needs a multiple of {2 * _BRANCHES} channels, got {out_channels}"
            )
        half = out_channels // (2 * _BRANCHES)
        self.adds = in_channels == out_channels
        self.reduce = conv_norm(in_channels, 2 * half, 1)
        self.chain = nn.ModuleList(
            conv_norm(half, half, kernel, depthwise=True, act=False) for _ in range(_BRANCHES - 1)
        )
        self.restore = conv_norm(_BRANCHES * half, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block; shape as in the class."""
        y = self.reduce(x)
        even, link = y[:, ::2], y[:, 1::2]
        links = [even + link]
        for conv in self.chain:
            link = conv(link)
            links.append(link)
        y = self.restore(cat(links, 1))
        return x + y if self.adds else y


@block("bicubic", role="up", leaves=first)
class Bicubic(nn.Module):
    """Bicubic upsampling by two (corners not aligned).

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
        return F.interpolate(x, scale_factor=2, mode="bicubic", align_corners=False)
