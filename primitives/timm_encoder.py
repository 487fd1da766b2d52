"""Backbones of the timm library as the encoder of a U-net; the only blocks that need timm.

Source: Wightman, PyTorch Image Models (timm), 10.5281/zenodo.4414861, which names each backbone's
paper.
Reference code: the library itself, at run time.
Departures: layers after the last map are not built; images are normalised by the data's own mean
and deviation, not by those of ImageNet.
"""

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from primitives.core.contract import Knobs, Value, block
from primitives.core.errors import InvalidInput

# Channels of all maps, each half the side of the one before, the last at 1/32: light ones that have
# published weights. Kept here so that archs can be read without timm, whose import takes seconds.
CHANNELS: Mapping[str, tuple[int, ...]] = {
    "lcnet_050": (16, 32, 64, 128, 256),
    "lcnet_100": (32, 64, 128, 256, 512),
    "mobilenetv3_small_050": (16, 8, 16, 24, 288),
    "mobilenetv3_small_100": (16, 16, 24, 48, 576),
    "mobilenetv4_conv_small": (32, 32, 64, 96, 960),
    "repghostnet_050": (8, 12, 20, 40, 80),
    "ghostnet_100": (16, 24, 40, 80, 160),
    "efficientnet_lite0": (16, 24, 40, 112, 320),
    "regnetx_002": (32, 24, 56, 152, 368),
    "resnet10t": (64, 64, 128, 256, 512),
    "resnet18": (64, 64, 128, 256, 512),
    "edgenext_xx_small": (24, 48, 88, 168),
    "convnext_atto": (40, 80, 160, 320),
    "fastvit_t8": (48, 96, 192, 384),
}


def _stride(knobs: Mapping[str, Value]) -> int:
    backbone = str(knobs["backbone"])
    if backbone in CHANNELS:
        return int(2 ** (6 - len(CHANNELS[backbone])))
    return _largest(backbone)


@cache
def _largest(backbone: str) -> int:
    with torch.device("meta"):
        features = create_backbone(backbone, 3, 2)
    return int(features.feature_info.reduction()[0])


@block("timm", role="encoder")
class TimmEncoder(nn.Module):
    """The first maps of a backbone of timm; `out_channels` says what they hold.

    Args:
        in_channels: channels of the input; published weights of the first layer are summed or
            repeated to them.
        levels: how many maps, from the largest on; 2 or more.
        backbone: any name of `timm.list_models()` that gives several maps.
        pretrained: whether a training starts from published weights. Building never loads any.

    Shape: (N, in_channels, H, W) -> levels times (N, out_channels[i], H / s / 2^i, W / s / 2^i),
    where s is 2 or 4, as the backbone begins

    Raises:
        InvalidInput: timm has no such backbone, it gives no or too few maps, or levels is below 2.
    """

    knobs: ClassVar[Knobs] = {"backbone": tuple(CHANNELS), "pretrained": (False, True)}
    needs: ClassVar[tuple[str, ...]] = ("timm",)
    stride_of: ClassVar[Callable[[Mapping[str, Value]], int]] = staticmethod(_stride)

    def __init__(
        self,
        in_channels: int,
        levels: int,
        *,
        backbone: str = "lcnet_050",
        pretrained: bool = False,
    ) -> None:
        super().__init__()
        if levels < 2:
            raise InvalidInput(f"levels must be 2 or more, got {levels}")
        self.features = create_backbone(backbone, in_channels, levels)
        self.out_channels = tuple(self.features.feature_info.channels())

    def forward(self, x: Tensor) -> list[Tensor]:
        """Compute the maps, the largest first; shapes as in the class."""
        return self.features(x)


def create_backbone(backbone: str, in_channels: int, levels: int, **weights: Any) -> Any:
    """Return a backbone without what its first maps do not need.

    Args:
        backbone: a name of timm.
        in_channels: channels of the input.
        levels: how many maps.
        weights: what `timm.create_model` takes about published weights; nothing: random ones.

    Raises:
        InvalidInput: timm has no such backbone, or it gives no or too few maps.
    """
    import timm  # takes seconds, and most networks do without

    if not timm.is_model(backbone):
        raise InvalidInput(f"backbone must be one of timm.list_models(), got {backbone!r}")
    try:
        return timm.create_model(
            backbone,
            in_chans=in_channels,
            features_only=True,
            feature_cls="getter",  # the default of some backbones keeps layers that feed no map
            out_indices=tuple(range(levels)),
            **weights,
        )
    except (AssertionError, AttributeError, IndexError, RuntimeError) as error:
        raise InvalidInput(
            f"backbone must give {levels} maps of falling size, {backbone!r} does not: {error}"
        ) from error


def published_state(encoder: TimmEncoder, backbone: str, file: Path) -> dict[str, Tensor]:
    """Return the state of an encoder's backbone with published weights.

    Args:
        encoder: its first layer and its maps decide what is taken.
        backbone: its name.
        file: published weights, as timm stores them.
    """
    first = next(p for p in encoder.parameters() if p.ndim == 4)
    overlay = {"pretrained": True, "pretrained_cfg_overlay": {"file": str(file)}}
    levels = len(encoder.out_channels)
    with torch.random.fork_rng(devices=[]):  # what the training draws next must not change
        whole = create_backbone(backbone, first.shape[1], levels, **overlay)
    state: dict[str, Tensor] = whole.state_dict()
    return state
