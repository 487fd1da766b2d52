"""Multi-kernel inverted residual (MKIR) of UltraLightUNet.

Source: Rahman and Marculescu, UltraLightUNet / MK-UNet, ICCV workshops 2025, section 3.1,
equations 1 and 2.
Reference code: the authors' published 2D program.
Departures: none in 2D; no 3D program is public, `branch_norm` off gives all published 3D counts.
With one 3x3 branch it is the plain inverted residual of the paper's Mobile UNet row (Table 4).
"""

from math import gcd
from typing import ClassVar

from torch import Tensor, cat, nn

from primitives.core.contract import Given, Knobs, Vanishing, block, without
from primitives.core.errors import InvalidInput
from primitives.core.layers import CONV, channel_shuffle, conv_bn, make_activation, parse_kernels

# All multisets of one to three of the sides 1, 3, 5, 7; they contain the 14 sets of Table 5.
_SIDES = (1, 3, 5, 7)
KERNEL_SETS = (
    *(f"{a}" for a in _SIDES),
    *(f"{a}-{b}" for a in _SIDES for b in _SIDES if a <= b),
    *(f"{a}-{b}-{c}" for a in _SIDES for b in _SIDES for c in _SIDES if a <= b <= c),
)


class MultiKernelDepthwise(nn.Module):
    """Parallel or chained depthwise convolutions of several sizes (MKDC, equation 2).

    Args:
        channels: channels of the input.
        kernels: side lengths in pixels; repeats are separate branches.
        series: each branch also adds its output to the input of the next.
        concat: join the branches along the channels instead of summing them.
        act: activation after each branch's norm; None: branches are bare convolutions.
        ndim: 2 for maps, 3 for volumes.

    Shape: (N, channels, *sides) -> (N, channels * (len(kernels) if concat else 1), *sides)
    """

    vanishing: ClassVar[Vanishing] = {"branches.*": ("weight", "1.*")}  # bare, or with its norm

    def __init__(
        self,
        channels: int,
        kernels: tuple[int, ...],
        *,
        series: bool,
        concat: bool,
        act: str | None,
        ndim: int,
    ) -> None:
        super().__init__()
        self.series, self.concat = series, concat
        self.branches = nn.ModuleList()
        for kernel in kernels:
            conv, norm = conv_bn(channels, channels, kernel, groups=channels, ndim=ndim)
            self.branches.append(nn.Sequential(conv, norm, make_activation(act)) if act else conv)

    def forward(self, x: Tensor) -> Tensor:
        """Filter and join; shape as in the class."""
        outputs = []
        for branch in self.branches:
            outputs.append(branch(x))
            if self.series:
                x = x + outputs[-1]
        return cat(outputs, 1) if self.concat else sum(outputs[1:], outputs[0])


def _used(knobs: Given, *channels: int) -> Given:
    """Leave out what chains or joins branches where there is one alone."""
    return knobs if "-" in str(knobs["kernels"]) else without(knobs, "mode", "fuse")


@block("mkir", role="stage", init="normal-0.02", used=_used)
class MultiKernelInvertedResidual(nn.Module):
    """Expand, filter with depthwise kernels, shuffle, project, add the input (equation 1).

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output; a bare 1x1 convolution joins the shortcut if they
            differ.
        kernels: side lengths in pixels, e.g. "1-3-5".
        expansion: hidden channels / in_channels.
        mode: "parallel" branches see the same input, in "series" x + branch(x) goes on to the next.
        fuse: "sum" or "concat" of the branches.
        activation: of the expansion and the branches: "relu6", "relu", "hardswish" or "gelu".
        branch_norm: norm and activation in each branch; off in the published sizes of the 3D
            networks.
        ndim: 2 for maps, 3 for volumes.

    Shape: (N, in_channels, *sides) -> (N, out_channels, *sides)

    Raises:
        InvalidInput: a kernel is even, or expansion, mode, fuse or activation is unknown.
    """

    knobs: ClassVar[Knobs] = {
        "kernels": ("1-3-5", *(k for k in KERNEL_SETS if k != "1-3-5")),
        "expansion": (2, 1, 3, 4, 6),
        "mode": ("parallel", "series"),
        "fuse": ("sum", "concat"),
        "activation": ("relu6", "relu", "hardswish", "gelu"),
        "branch_norm": (True, False),
    }
    added_knobs: ClassVar[tuple[str, ...]] = ("branch_norm",)
    vanishing: ClassVar[Vanishing] = {"": ("project.1.*",)}
    keeps: ClassVar[tuple[str, ...]] = ("width", "blocks", "kernels", "expansion")
    ndims: ClassVar[tuple[int, ...]] = (2, 3)

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        kernels: str = "1-3-5",
        expansion: int = 2,
        mode: str = "parallel",
        fuse: str = "sum",
        activation: str = "relu6",
        branch_norm: bool = True,
        ndim: int = 2,
    ) -> None:
        super().__init__()
        _check(expansion, mode, fuse)
        sides = parse_kernels(kernels)
        concat = fuse == "concat"
        hidden = expansion * in_channels
        joined = hidden * len(sides) if concat else hidden
        self.groups = gcd(joined, out_channels)
        self.expand = nn.Sequential(
            *conv_bn(in_channels, hidden, ndim=ndim), make_activation(activation)
        )
        self.filter = MultiKernelDepthwise(
            hidden,
            sides,
            series=mode == "series",
            concat=concat,
            act=activation if branch_norm else None,
            ndim=ndim,
        )
        self.project = nn.Sequential(*conv_bn(joined, out_channels, ndim=ndim))
        self.shortcut = (
            nn.Identity()
            if in_channels == out_channels
            else CONV[ndim](in_channels, out_channels, 1, bias=False)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block; shape as in the class."""
        y = self.filter(self.expand(x))
        y = self.project(channel_shuffle(y, self.groups))
        return y + self.shortcut(x)


def _check(expansion: int, mode: str, fuse: str) -> None:
    if expansion < 1:
        raise InvalidInput(f"expansion must be 1 or more, got {expansion}")
    if mode not in ("parallel", "series"):
        raise InvalidInput(f"mode must be 'parallel' or 'series', got {mode!r}")
    if fuse not in ("sum", "concat"):
        raise InvalidInput(f"fuse must be 'sum' or 'concat', got {fuse!r}")
