"""Backbones of timm with decoders of our blocks: light ones, for devices at the bedside.

The library is not needed to read a point, only to build its network.
"""

from collections.abc import Mapping
from typing import Any

from primitives.core.contract import Value
from primitives.timm_encoder import CHANNELS
from search_spaces.core.arch import Arch, BlockSpec, Stage
from search_spaces.core.space import Baseline, Choice, Int, Point, Space

DIMENSIONS: Mapping[str, Choice | Int] = {
    "backbone": Choice(*CHANNELS),
    "pretrained": Choice(True, False),
    "smallest": Choice("1/32", "1/16", "1/8"),
    "width": Choice(16, 8, 24, 32),
    "growth": Choice("double", "flat"),
    "block": Choice("double-conv", "mkir", "cmunext", "lms"),
    "kernel": Choice(3, 5, 7),
    "expansion": Choice(2, 4),
    "skip": Choice("concat", "concat-fusion", "concat-project", "add", "gag", "ag"),
    "up": Choice("nearest-conv", "linear-conv", "transposed", "nearest"),
}
_ANY_CHANNELS = ("concat", "concat-project")  # skips that merge maps of unequal channel counts


def decode(point: Point) -> Arch:
    """Return the arch of a point.

    Each decoder block has its own few dimensions. "nearest" keeps the channels, so with skips that
    need equal ones a convolution follows it.
    """
    backbone, smallest = str(point["backbone"]), int(str(point["smallest"]).partition("/")[2])
    channels = CHANNELS[backbone]
    first = 2 ** (6 - len(channels))  # the largest map is 1/first
    scales = [scale for scale in (2, 4, 8, 16, 32) if first <= scale <= smallest]
    block, width, skip, up = (
        _block(point),
        int(point["width"]),
        str(point["skip"]),
        str(point["up"]),
    )
    if up == "nearest" and skip not in _ANY_CHANNELS:
        up = "nearest-conv"
    wide = point["growth"] == "double"
    below = [scale for scale in (16, 8, 4, 2, 1) if scale < smallest]
    return Arch(
        encoder=tuple(
            Stage(BlockSpec.of("identity"), count)
            for count, _ in zip(channels, scales, strict=False)
        ),
        decoder=tuple(Stage(block, width * scale if wide else width) for scale in below),
        stem=BlockSpec.of("timm", backbone=backbone, pretrained=point["pretrained"]),
        down=BlockSpec.of("max-pool"),
        up=BlockSpec.of(up),
        skip=BlockSpec.of(skip),
        head=BlockSpec.of("conv1x1"),
        layout="backbone",
    )


def _block(point: Point) -> BlockSpec:
    """Return the decoder's stage block with those knobs that it has."""
    kernel, expansion = int(point["kernel"]), int(point["expansion"])
    knobs: Mapping[str, Mapping[str, Value]] = {
        "double-conv": {},
        "mkir": {"kernels": f"1-3-{kernel}" if kernel > 3 else "1-3", "expansion": expansion},
        "cmunext": {"kernel": kernel, "expansion": expansion},
        "lms": {"kernels": "-".join(str(k) for k in (3, 5, 7) if k <= kernel)},
    }
    name = str(point["block"])
    return BlockSpec.of(name, **knobs[name])


_BASE: Point = {name: dimension.values[0] for name, dimension in DIMENSIONS.items()}


def _named(
    backbone: str,
    source: str,
    params: str = "-",
    *,
    seed: bool = False,
    departures: str = "",
    **changes: Value,
) -> Baseline:
    point = {**_BASE, "backbone": backbone, **changes}
    golden = "no" if params != "-" else "no official code"
    return Baseline(
        point, source, params, "-", "none", seed=seed, golden=golden, departures=departures
    )


_SMP = "Segmentation Models Pytorch 0.5, Unet"
_HEAD = "the head is 1x1, not 3x3; convolutions of the decoder have biases"
_MK: dict[str, Any] = {"block": "mkir", "kernel": 5, "skip": "gag", "growth": "flat"}

SPACE = Space(
    name="timm",
    source="backbones of timm (Wightman, 10.5281/zenodo.4414861), decoders of our blocks",
    dimensions=DIMENSIONS,
    decode=decode,
    multiple=32,
    baselines={
        "lcnet-unet": _named("lcnet_050", "ours", seed=True, width=8),
        "mobilenetv3-mkir": _named("mobilenetv3_small_050", "ours", seed=True, **_MK),
        "repghostnet-lms": _named(
            "repghostnet_050", "ours", seed=True, block="lms", kernel=7, growth="flat"
        ),
        "resnet18-unet": _named(
            "resnet18", _SMP, "14.33M", seed=True, up="nearest", departures=_HEAD
        ),
        "mobilenetv4-cmunext": _named(
            "mobilenetv4_conv_small", "ours", block="cmunext", kernel=7, smallest="1/16"
        ),
        "efficientnet-lite0-unet": _named("efficientnet_lite0", "ours", up="nearest"),
        "edgenext-unet": _named("edgenext_xx_small", "ours", up="nearest"),
        "convnext-unet": _named("convnext_atto", "ours", up="nearest"),
    },
)
