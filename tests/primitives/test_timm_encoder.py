"""Backbones of timm: what the table says of them, and names outside of it."""

import pytest
import timm
import torch

from primitives.core.errors import InvalidInput
from primitives.timm_encoder import CHANNELS, TimmEncoder
from search_spaces.core.arch import BlockSpec


@pytest.mark.parametrize("backbone", CHANNELS)
def test_the_table_agrees_with_the_library(backbone: str) -> None:
    with torch.device("meta"):
        info = timm.create_model(backbone, features_only=True).feature_info
    assert tuple(info.channels()) == CHANNELS[backbone]
    strides = [BlockSpec.of("timm", backbone=backbone).stride * 2**i for i in range(len(info))]
    assert info.reduction() == strides
    assert strides[-1] == 32
    assert timm.get_pretrained_cfg(backbone).hf_hub_id


def test_resnet18_up_to_its_third_map_has_the_papers_layers() -> None:
    # 7x7 stem 64, two basic blocks of 64 and two of 128; norms have two parameters a channel.
    stem = 3 * 64 * 49 + 2 * 64
    first = 4 * (64 * 64 * 9 + 2 * 64)
    second = 64 * 128 * 9 + 3 * 128 * 128 * 9 + 64 * 128 + 5 * 2 * 128
    with torch.device("meta"):
        net = TimmEncoder(3, 3, backbone="resnet18")
    assert sum(p.numel() for p in net.parameters()) == stem + first + second
    assert net.out_channels == (64, 64, 128)


@pytest.mark.parametrize("name", ["hgnetv2_b0", "test_resnet", "swin_tiny_patch4_window7_224"])
def test_other_backbones_work_by_their_name(name: str) -> None:
    spec = BlockSpec.of("timm", backbone=name)
    assert spec.stride == {"test_resnet": 2}.get(name, 4)


@pytest.mark.parametrize(
    ("levels", "backbone", "message"),
    [
        (1, "lcnet_050", "levels must be 2 or more, got 1"),
        (6, "lcnet_050", "backbone must give 6 maps of falling size, 'lcnet_050' does not"),
        (2, "resnet81", "backbone must be one of timm.list_models"),
    ],
)
def test_what_timm_cannot_give_is_refused(levels: int, backbone: str, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        TimmEncoder(3, levels, backbone=backbone)
