"""Large-kernel inverted depthwise block and the LFWF perceptron of UConvNeXt.

Source: UConvNeXt, Biomedical Signal Processing and Control 98 (2024) 106726, equations 1 to 3,
figures 1 to 4, Tables 6 and 7.
Reference code: the authors' repository, which lacks the perceptron blocks, and one further public
file.
Departures: no complete program is public. Defaults give the published parameters and cost of the
base network; the open choices (weights per position, softmax over branches, no projection) follow
from those counts.
"""

from typing import ClassVar

import torch
from torch import Tensor, cat, nn

from primitives.core.contract import Given, Knobs, Value, block, without
from primitives.core.layers import (
    ChannelNorm,
    check_choice,
    check_odd,
    check_positive,
    check_same_channels,
    conv_bn,
    segment_sizes,
)


def _half(knobs: Given, in_channels: int, width: int) -> int:
    return max(1, width // 2)


@block("reflect-stem", role="stem", leaves=_half)
class ReflectStem(nn.Module):
    """3x3 convolution with reflected edges and bias to half the first width, batch norm, GELU.

    Args:
        in_channels: channels of the input.
        width: of the first stage; `out_channels` is its half.

    Shape: (N, in_channels, H, W) -> (N, width / 2, H, W)
    """

    keeps: ClassVar[tuple[str, ...]] = ("width",)

    def __init__(self, in_channels: int, width: int) -> None:
        super().__init__()
        self.out_channels = max(1, width // 2)
        conv = nn.Conv2d(in_channels, self.out_channels, 3, padding=1, padding_mode="reflect")
        self.layers = nn.Sequential(conv, nn.BatchNorm2d(self.out_channels), nn.GELU())

    def forward(self, x: Tensor) -> Tensor:
        """Apply the convolution; shape as in the class."""
        return self.layers(x)


def _used_ds(knobs: Given, in_channels: int, out_channels: int) -> Given:
    if knobs["filter"] == "plain":
        return {"filter": "plain"}
    idle = ["mid"] * (in_channels >= out_channels)
    if in_channels != out_channels and knobs["shortcut"] == "identity":
        idle.append("shortcut")
    return without(knobs, *idle)


@block("ds", role="stage", used=_used_ds)
class InvertedDepthwise(nn.Module):
    """Expand, filter with one large depthwise kernel, project, add a shortcut, norm (DS block).

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel: side of the depthwise kernel in pixels.
        expansion: hidden channels / channels that `mid` names.
        mid: "in" or "max" of in_channels and out_channels.
        style: "code": norm and ReLU6 after the first two convolutions, norms after the third and
            the shortcut; "paper": GELU after the first, norm after the second, no other.
        shortcut: "conv", "none", or "identity", which is "conv" where the channels change.
        filter: "ds", or "plain" for one 3x3 convolution instead (Table 6, baseline).

    Shape: (N, in_channels, H, W) -> (N, out_channels, H, W)

    Raises:
        InvalidInput: the kernel is even, or another knob has an unknown value.
    """

    knobs: ClassVar[Knobs] = {
        "kernel": (7, 3, 5, 9, 11),
        "expansion": (2, 1, 3, 4),
        "mid": ("in", "max"),
        "style": ("code", "paper"),
        "shortcut": ("conv", "none", "identity"),
        "filter": ("ds", "plain"),
    }
    keeps: ClassVar[tuple[str, ...]] = ("width", "kernel", "expansion")

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        kernel: int = 7,
        expansion: int = 2,
        mid: str = "in",
        style: str = "code",
        shortcut: str = "conv",
        filter: str = "ds",
    ) -> None:
        super().__init__()
        check_odd("kernel", kernel, (kernel,))
        check_positive(expansion=expansion)
        check_choice("mid", mid, ("in", "max"))
        check_choice("style", style, ("code", "paper"))
        check_choice("shortcut", shortcut, ("conv", "none", "identity"))
        check_choice("filter", filter, ("ds", "plain"))
        hidden = expansion * (in_channels if mid == "in" else max(in_channels, out_channels))
        layers: list[nn.Module]
        if filter == "plain":
            layers = [nn.Conv2d(in_channels, out_channels, 3, padding=1)]
        elif style == "code":
            layers = [
                *conv_bn(in_channels, hidden, bias=True),
                nn.ReLU6(),
                *conv_bn(hidden, hidden, kernel, hidden, bias=True),
                nn.ReLU6(),
                *conv_bn(hidden, out_channels, bias=True),
            ]
        else:
            layers = [
                nn.Conv2d(in_channels, hidden, 1),
                nn.GELU(),
                *conv_bn(hidden, hidden, kernel, hidden, bias=True),
                nn.Conv2d(hidden, out_channels, 1),
            ]
        self.layers = nn.Sequential(*layers)
        self.shortcut = _shortcut(in_channels, out_channels, style, shortcut, filter)
        self.norm = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block; shape as in the class."""
        y = self.layers(x)
        return self.norm(y if self.shortcut is None else y + self.shortcut(x))


def _shortcut(
    in_channels: int, out_channels: int, style: str, kind: str, filter: str
) -> nn.Module | None:
    if kind == "none" or filter == "plain":
        return None
    if kind == "identity" and in_channels == out_channels:
        return nn.Identity()
    conv, norm = conv_bn(in_channels, out_channels, bias=True)
    return nn.Sequential(conv, norm) if style == "code" else conv


def roll_segments(x: Tensor, axis: int, segments: int, step: int) -> Tensor:
    """Roll segment k of the channels by step * (k - segments // 2) pixels, circularly.

    Shape: (N, C, H, W) -> (N, C, H, W)
    """
    chunks = x.movedim(1, -1).split(segment_sizes(x.shape[1], segments), -1)  # (N, H, W, c)
    reach = segments // 2
    moved = [torch.roll(chunk, step * (k - reach), axis - 1) for k, chunk in enumerate(chunks)]
    return cat(moved, -1).movedim(-1, 1)


class BranchWeights(nn.Module):
    """Weights of the branches from their sum, by softmax over the branches.

    Args:
        channels: of each branch.
        branches: how many.
        reduction: channels / hidden channels.
        pooled: one weight per channel and image, or one per position.

    Shape: (N, channels, H, W) -> (branches, N, channels, H or 1, W or 1)
    """

    def __init__(self, channels: int, branches: int, reduction: int, *, pooled: bool) -> None:
        super().__init__()
        self.branches, self.pooled = branches, pooled
        hidden = max(1, channels // reduction)
        self.layers = nn.Sequential(
            nn.Conv2d(channels, hidden, 1), nn.GELU(), nn.Conv2d(hidden, branches * channels, 1)
        )

    def forward(self, total: Tensor) -> Tensor:
        """Weigh; shape as in the class."""
        c = total.shape[1]
        if self.pooled:
            total = total.mean((2, 3), keepdim=True)
        weights = self.layers(total).movedim(1, -1).unflatten(-1, (self.branches, c)).softmax(-2)
        return weights.movedim((-2, -1), (0, 2))  # from (N, H, W, branches, C)


def _used_lfwf(knobs: Given, in_channels: int, out_channels: int) -> Given:
    idle = set()
    if knobs["shift"] == "none":
        idle |= {"segments"}
    if knobs["branches"] == "c":
        idle |= {"segments", "shift", "fc_depth", "fc_hidden", "fusion", "reduction"}
    if knobs["fc_depth"] == 1:
        idle |= {"fc_hidden"}
    hidden = (max(1, in_channels // r) for r in (int(knobs["reduction"]), 4))
    if knobs["fusion"] == "sum" or len(set(hidden)) == 1:  # as the default gives
        idle |= {"reduction"}
    return without(knobs, *idle)


def _leaves_lfwf(knobs: Given, in_channels: int, out_channels: int) -> int:
    least = int(knobs["segments"]) if _rolls(knobs["shift"], knobs["branches"]) else 1
    return in_channels if in_channels == out_channels >= least else 0


def _rolls(shift: Value, branches: Value) -> bool:
    """Whether the segments have an effect."""
    return shift != "none" and branches != "c"


@block("lfwf-mlp", role="stage", used=_used_lfwf, leaves=_leaves_lfwf)
class LFWFPerceptron(nn.Module):
    """Local features with weighted fusion, then a channel perceptron, both added; a last norm.

    A branch rolls segments of channels along its axis, mixes the channels and rolls back.

    Args:
        in_channels: channels of the input.
        out_channels: the same number, at least `segments`.
        segments: groups of channels that roll differently, odd.
        shift: "both" rolls and restores, "shift" does not restore, "none" does neither.
        branches: "hwc", "hw", "h+w+c" (a sum), "h+w", or "c": axes, and c for channels alone.
        fc_depth: 1, or 2 for convolution, norm, ReLU, convolution, in h and w.
        fc_hidden: hidden channels / channels of the latter, in quarters.
        fusion: "position" or "pooled" weights, or a plain "sum".
        reduction: channels / hidden channels of the weights.
        projection: a 1x1 convolution after the fusion.
        embedding: a 1x1 convolution and layer norm first.
        mlp: hidden channels of the perceptron / channels.

    Shape: (N, in_channels, H, W) -> (N, in_channels, H, W)

    Raises:
        InvalidInput: the channel counts differ or are too few, or a knob has an unknown value.
    """

    knobs: ClassVar[Knobs] = {
        "segments": (5, 3, 7),
        "shift": ("both", "shift", "none"),
        "branches": ("hwc", "hw", "c"),
        "fc_depth": (1, 2),
        "fc_hidden": (4, 2, 3),
        "fusion": ("position", "pooled", "sum"),
        "reduction": (4, 2, 8),
        "projection": (False, True),
        "embedding": (False, True),
        "mlp": (4, 1, 2, 3),
    }
    keeps: ClassVar[tuple[str, ...]] = ("mlp",)

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        segments: int = 5,
        shift: str = "both",
        branches: str = "hwc",
        fc_depth: int = 1,
        fc_hidden: int = 4,
        fusion: str = "position",
        reduction: int = 4,
        projection: bool = False,
        embedding: bool = False,
        mlp: int = 4,
    ) -> None:
        super().__init__()
        check_same_channels("lfwf-mlp", in_channels, out_channels)
        check_positive(reduction=reduction, mlp=mlp)
        c = in_channels
        self.embed = (
            nn.Sequential(nn.Conv2d(c, c, 1), ChannelNorm(c)) if embedding else nn.Identity()
        )
        self.mix = nn.Sequential(
            nn.BatchNorm2d(c),
            WeightedFusion(
                c,
                segments=segments,
                shift=shift,
                branches=branches,
                fc_depth=fc_depth,
                fc_hidden=fc_hidden,
                fusion=fusion,
                reduction=reduction,
            ),
            nn.Conv2d(c, c, 1) if projection else nn.Identity(),
        )
        self.perceptron = nn.Sequential(
            nn.BatchNorm2d(c), nn.Conv2d(c, mlp * c, 1), nn.GELU(), nn.Conv2d(mlp * c, c, 1)
        )
        self.norm = nn.BatchNorm2d(c)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block; shape as in the class."""
        x = self.embed(x)
        x = x + self.mix(x)
        return self.norm(x + self.perceptron(x))


class WeightedFusion(nn.Module):
    """The branches of LFWF and their fusion; arguments as in `LFWFPerceptron`.

    Shape: (N, channels, H, W) -> (N, channels, H, W)

    Raises:
        InvalidInput: a knob has an unknown value, or there are fewer channels than segments.
    """

    def __init__(
        self,
        channels: int,
        *,
        segments: int,
        shift: str,
        branches: str,
        fc_depth: int,
        fc_hidden: int,
        fusion: str,
        reduction: int,
    ) -> None:
        super().__init__()
        check_odd("segments", segments, (segments,))
        check_choice("shift", shift, ("both", "shift", "none"))
        check_choice("branches", branches, ("hwc", "hw", "c"))
        check_choice("fc_depth", fc_depth, (1, 2))
        check_choice("fusion", fusion, ("position", "pooled", "sum"))
        check_positive(fc_hidden=fc_hidden)
        if _rolls(shift, branches):
            segment_sizes(channels, segments)
        self.segments, self.shift, self.branches = segments, shift, branches
        hidden = max(1, channels * fc_hidden // 4)
        self.mixers = nn.ModuleList(
            _mixer(channels, 1 if branch == "c" else fc_depth, hidden) for branch in branches
        )
        weighs = fusion != "sum" and len(branches) > 1
        self.weights = (
            BranchWeights(channels, len(branches), reduction, pooled=fusion == "pooled")
            if weighs
            else None
        )

    def forward(self, x: Tensor) -> Tensor:
        """Mix and fuse; shape as in the class."""
        outputs = [
            self._mix(x, {"h": 2, "w": 3}.get(branch), mixer)
            for branch, mixer in zip(self.branches, self.mixers, strict=True)
        ]
        total = sum(outputs[1:], outputs[0])
        if self.weights is None:
            return total
        weighted = [w * y for w, y in zip(self.weights(total), outputs, strict=True)]
        return sum(weighted[1:], weighted[0])

    def _mix(self, x: Tensor, axis: int | None, mixer: nn.Module) -> Tensor:
        if axis is None or self.shift == "none":
            return mixer(x)
        y = mixer(roll_segments(x, axis, self.segments, 1))
        return roll_segments(y, axis, self.segments, -1) if self.shift == "both" else y


def _mixer(channels: int, depth: int, hidden: int) -> nn.Module:
    if depth == 1:
        return nn.Conv2d(channels, channels, 1)
    return nn.Sequential(
        nn.Conv2d(channels, hidden, 1, bias=False),
        nn.BatchNorm2d(hidden),
        nn.ReLU(),
        nn.Conv2d(hidden, channels, 1),
    )
