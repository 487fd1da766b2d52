"""Local and global multiscale blocks (LMS, GMS) of LGMSNet, and its fusion of skips.

Source: Dong et al., Thinning a medical image segmentation model via dual-level multiscale fusion
(LGMSNet), ECAI 2025, section 3; the fusion block goes back to Tang et al., CMUNeXt, ISBI 2024.
Reference code: the authors' published 2D and 3D programs.
Departures: none from the programs, which differ from the text: LMS adds its input before the group
norm and once more at its end, and normalises with GELU; the 3x3 convolution of GMS changes the
channels. Kernel sets of other sizes than four, and channel counts that they do not divide, are
ours.
"""

from math import gcd
from typing import ClassVar

from torch import Tensor, cat, nn
from torch.nn import functional as F

from primitives.core.contract import Given, Knobs, Vanishing, block, same
from primitives.core.errors import InvalidInput
from primitives.core.layers import CONV, conv_bn, depthwise_conv, make_norm, parse_kernels

_NORM = {2: "batch", 3: "instance"}  # of everything but the depthwise branch of GMS


def conv_norm_silu(in_channels: int, out_channels: int, kernel: int, ndim: int) -> nn.Sequential:
    """Return a convolution without bias, its norm and SiLU (CBS)."""
    conv = CONV[ndim](in_channels, out_channels, kernel, padding=kernel // 2, bias=False)
    return nn.Sequential(conv, make_norm(_NORM[ndim], out_channels, ndim), nn.SiLU())


class LocalBlock(nn.Module):
    """One LMS block: depthwise kernels of several sizes on groups of channels, then a bottleneck.

    Args:
        channels: of input and output; group i of len(kernels) nearly equal ones gets kernel i.
        kernels: side lengths in pixels.
        ndim: 2 for maps, 3 for volumes.

    Shape: (N, channels, *sides) -> (N, channels, *sides)

    Raises:
        InvalidInput: there are fewer channels than kernels.
    """

    vanishing: ClassVar[Vanishing] = {"": ("restore.1.*",)}

    def __init__(self, channels: int, kernels: tuple[int, ...], ndim: int) -> None:
        super().__init__()
        n = len(kernels)
        if channels < n:
            raise InvalidInput(f"lms needs a channel for each of {n} kernels, got {channels}")
        self.sizes = [channels // n + (i < channels % n) for i in range(n)]
        self.filters = nn.ModuleList(
            depthwise_conv(size, kernel, ndim=ndim)
            for size, kernel in zip(self.sizes, kernels, strict=True)
        )
        self.norm = nn.Sequential(nn.GroupNorm(gcd(n, channels), channels), nn.GELU())
        inner = max(1, channels // 4)
        self.reduce = conv_norm_silu(channels, inner, 1, ndim)
        self.restore = conv_norm_silu(inner, channels, 3, ndim)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block; shape as in the class."""
        groups = x.split(self.sizes, 1)
        filtered = [f(group) for f, group in zip(self.filters, groups, strict=True)]
        return x + self.restore(self.reduce(self.norm(x + cat(filtered, 1))))


def _leaves_lms(knobs: Given, in_channels: int, out_channels: int) -> int:
    return out_channels if in_channels >= len(str(knobs["kernels"]).split("-")) else 0


@block("lms", role="stage", leaves=_leaves_lms)
class LocalMultiScale(nn.Module):
    """LMS blocks on the input's channels, then a 1x1 convolution with norm and SiLU.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernels: one to four side lengths in pixels, e.g. "3-5-7-9".
        repeats: LMS blocks.
        ndim: 2 for maps, 3 for volumes.

    Shape: (N, in_channels, *sides) -> (N, out_channels, *sides)

    Raises:
        InvalidInput: a kernel is even, there are fewer channels than kernels, or no repeats.
    """

    knobs: ClassVar[Knobs] = {
        "kernels": (
            *("3-5-7-9", "3-3-3-3", "1-3-5-7", "5-7-9-11", "5-5-5-5", "7-7-7-7"),
            *("3-5-7", "1-3-5", "3-5", "3-7", "5-9", "3", "5", "7", "9"),
        ),
        "repeats": (1, 2, 3),
    }
    ndims: ClassVar[tuple[int, ...]] = (2, 3)
    keeps: ClassVar[tuple[str, ...]] = ("kernels",)

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        kernels: str = "3-5-7-9",
        repeats: int = 1,
        ndim: int = 2,
    ) -> None:
        super().__init__()
        if repeats < 1:
            raise InvalidInput(f"repeats must be 1 or more, got {repeats}")
        sides = parse_kernels(kernels)
        self.blocks = nn.Sequential(*(LocalBlock(in_channels, sides, ndim) for _ in range(repeats)))
        self.project = conv_norm_silu(in_channels, out_channels, 1, ndim)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the stage; shape as in the class."""
        return self.project(self.blocks(x))


class Attention(nn.Module):
    """Multi-head self-attention after a layer norm.

    Shape: (N, L, channels) -> (N, L, channels)
    """

    def __init__(self, channels: int, heads: int, head_width: int) -> None:
        super().__init__()
        self.heads, self.head_width = heads, head_width
        inner = heads * head_width
        self.norm = nn.LayerNorm(channels)
        self.to_qkv = nn.Linear(channels, 3 * inner, bias=False)
        self.project = nn.Linear(inner, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Attend; shape as in the class."""
        n, tokens, _ = x.shape
        qkv = self.to_qkv(self.norm(x)).view(n, tokens, 3, self.heads, self.head_width)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # (N, heads, L, head_width) each
        found = F.scaled_dot_product_attention(q, k, v)
        return self.project(found.transpose(1, 2).reshape(n, tokens, -1))


class SparseTransformer(nn.Module):
    """A transformer over the pixels that have one offset inside their patches.

    Args:
        channels: of the tokens.
        depth: layers.
        heads: of each attention.
        head_width: channels of a head.
        hidden: channels inside the perceptrons.
        patch: side of a patch; its patch^ndim offsets are independent sequences.

    Shape: (N, channels, *sides) -> (N, channels, *sides), sides divisible by `patch`
    """

    vanishing: ClassVar[Vanishing] = {"parts.*": ("project.*", "3.*")}  # attention, perceptron

    def __init__(
        self, channels: int, *, depth: int, heads: int, head_width: int, hidden: int, patch: int
    ) -> None:
        super().__init__()
        self.patch = patch
        parts: list[nn.Module] = []
        for _ in range(depth):
            perceptron = nn.Sequential(
                nn.LayerNorm(channels),
                nn.Linear(channels, hidden),
                nn.SiLU(),
                nn.Linear(hidden, channels),
            )
            parts += [Attention(channels, heads, head_width), perceptron]
        self.parts = nn.ModuleList(parts)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layers; shape as in the class."""
        n, c, *sides = x.shape
        cells = [side // self.patch for side in sides]
        axes = range(len(sides))
        split = [length for cell in cells for length in (cell, self.patch)]
        x = x.reshape(n, c, *split)
        offsets, places = [3 + 2 * i for i in axes], [2 + 2 * i for i in axes]
        x = x.permute(0, *offsets, *places, 1)  # (N, offsets, cells, C)
        x = x.reshape(n * self.patch ** len(sides), -1, c)  # (N * offsets, L, C)
        for part in self.parts:
            x = x + part(x)
        x = x.view(n, *[self.patch] * len(sides), *cells, c)
        d = len(sides)
        woven = [axis for i in axes for axis in (1 + d + i, 1 + i)]
        return x.permute(0, 1 + 2 * d, *woven).reshape(n, c, *sides)


class DepthwiseResidual(nn.Module):
    """The convolution branch of GMS: depthwise 3x3, ReLU, one scale per channel, input added.

    Shape: (N, channels, *sides) -> (N, channels, *sides)
    """

    def __init__(self, channels: int, ndim: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *conv_bn(channels, channels, 3, channels, ndim=ndim),
            nn.ReLU(),
            *conv_bn(channels, channels, 1, channels, ndim=ndim),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Apply the branch; shape as in the class."""
        return x + self.layers(x)


def _used(knobs: Given, *channels: int) -> Given:
    """Leave out the knobs of a transformer that has no channels; its patch does not matter."""
    return {"tc": "0:1", "patch": 1} if knobs["tc"] == "0:1" else knobs


def _leaves_gms(knobs: Given, in_channels: int, out_channels: int) -> int:
    t, c = (int(part) for part in str(knobs["tc"]).split(":"))
    return out_channels if not t or out_channels * t >= t + c else 0


@block("gms", role="stage", used=_used, leaves=_leaves_gms)
class GlobalMultiScale(nn.Module):
    """Split the channels between a sparse transformer and depthwise convolutions, fuse with input.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        tc: channels of the transformer : those of the convolutions; "1:0" and "0:1" have one alone.
        depth: transformer layers.
        heads: of the attention.
        head_width: channels of a head, whatever the channels of the tokens are.
        mlp: hidden channels of the perceptron / out_channels.
        patch: side of a patch in pixels; sides must be multiples of it.
        ndim: 2 for maps, 3 for volumes.

    Shape: (N, in_channels, *sides) -> (N, out_channels, *sides)

    Raises:
        InvalidInput: tc is no ratio, or gives a branch no channel.
    """

    knobs: ClassVar[Knobs] = {
        "tc": ("3:1", "1:1", "1:3", "1:0", "0:1"),
        "depth": (1, 2, 3),
        "heads": (4, 2, 8),
        "head_width": (8, 16),
        "mlp": (2, 1, 4),
        "patch": (2, 1, 4),
    }
    ndims: ClassVar[tuple[int, ...]] = (2, 3)
    multiple_knob: ClassVar[str] = "patch"
    keeps: ClassVar[tuple[str, ...]] = ("depth", "mlp")

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        tc: str = "3:1",
        depth: int = 1,
        heads: int = 4,
        head_width: int = 8,
        mlp: int = 2,
        patch: int = 2,
        ndim: int = 2,
    ) -> None:
        super().__init__()
        self.split = _split(out_channels, tc)
        tokens, filtered = self.split
        self.enter = nn.Sequential(
            conv_norm_silu(in_channels, out_channels, 3, ndim),
            conv_norm_silu(out_channels, out_channels, 1, ndim),
        )
        self.local = DepthwiseResidual(filtered, ndim) if filtered else None
        self.whole = (
            SparseTransformer(
                tokens,
                depth=depth,
                heads=heads,
                head_width=head_width,
                hidden=mlp * out_channels,
                patch=patch,
            )
            if tokens
            else None
        )
        self.mix = conv_norm_silu(out_channels, out_channels, 1, ndim)
        self.leave = conv_norm_silu(out_channels + in_channels, out_channels, 3, ndim)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block; shape as in the class."""
        whole, local = self.enter(x).split(self.split, 1)
        if self.local is not None:
            local = self.local(local)
        if self.whole is not None:
            whole = self.whole(whole)
        return self.leave(cat([self.mix(cat([whole, local], 1)), x], 1))


def _split(channels: int, tc: str) -> tuple[int, int]:
    """Return the channels of the transformer and of the convolutions."""
    try:
        t, c = (int(part) for part in tc.split(":"))
    except ValueError:
        t = c = 0
    if min(t, c) < 0 or t + c == 0:
        raise InvalidInput(f"tc must be a ratio such as '3:1', got {tc!r}")
    tokens = channels * t // (t + c)
    if (t and not tokens) or (c and tokens == channels):
        raise InvalidInput(f"tc {tc!r} leaves a branch without any of {channels} channels")
    return tokens, channels - tokens


@block("concat-fusion", role="skip", leaves=same)
class ConcatFusion(nn.Module):
    """Concatenate (skip, decoder's map) and fuse: grouped 3x3, expand, project; GELU before norm.

    Args:
        in_channels: channels of the decoder's map.
        skip_channels: the same number; the two groups of the first convolution are the two maps.
        expansion: hidden channels / skip_channels.
        ndim: 2 for maps, 3 for volumes.

    Shape: (N, in_channels, *sides), (N, in_channels, *sides) -> (N, in_channels, *sides)

    Raises:
        InvalidInput: the channel counts differ, or expansion is not positive.
    """

    knobs: ClassVar[Knobs] = {"expansion": (4, 2)}
    ndims: ClassVar[tuple[int, ...]] = (2, 3)
    keeps: ClassVar[tuple[str, ...]] = ("width", "expansion")

    def __init__(
        self, in_channels: int, skip_channels: int, *, expansion: int = 4, ndim: int = 2
    ) -> None:
        super().__init__()
        if in_channels != skip_channels or expansion < 1:
            raise InvalidInput(
                "concat-fusion needs equal channel counts and an expansion of 1 or more, got "
                f"{in_channels}, {skip_channels} and {expansion}"
            )
        hidden = expansion * skip_channels
        conv, norm = CONV[ndim], _NORM[ndim]
        both = in_channels + skip_channels
        self.layers = nn.Sequential(
            conv(both, both, 3, padding=1, groups=2),
            nn.GELU(),
            make_norm(norm, both, ndim),
            conv(both, hidden, 1),
            nn.GELU(),
            make_norm(norm, hidden, ndim),
            conv(hidden, skip_channels, 1),
            nn.GELU(),
            make_norm(norm, skip_channels, ndim),
        )

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """Merge; shape as in the class."""
        return self.layers(cat([skip, x], 1))
