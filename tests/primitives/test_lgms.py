"""Blocks of LGMSNet and of the networks beside it against the recorded published blocks."""

from typing import Any

import pytest
import torch
from torch import nn

from primitives.cmunext import CMUNeXtStage
from primitives.lgms import ConcatFusion, GlobalMultiScale, LocalBlock, LocalMultiScale
from primitives.plain import LinearConv
from primitives.tinyunet import CascadeMultiReceptiveFields
from tests.search_spaces.golden import difference, recorded


class OnConcatenation(nn.Module):
    """Give a merging block the two halves of what the published one takes as a whole."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        skip, below = x.chunk(2, 1)
        return torch.as_tensor(self.block(below, skip))


BLOCKS: dict[tuple[str, str], Any] = {
    ("lgms", "lms_block_64"): lambda: LocalBlock(64, (3, 5, 7, 9), 2),
    ("lgms", "lms_block_3d_32"): lambda: LocalBlock(32, (3, 5, 7, 9), 3),
    ("lgms", "lms_stage_32_64"): lambda: LocalMultiScale(32, 64),
    ("lgms", "gms_block_128"): lambda: GlobalMultiScale(128, 128),
    ("lgms", "gms_block_64_to_128"): lambda: GlobalMultiScale(64, 128),
    ("lgms", "gms_block_256_to_128"): lambda: GlobalMultiScale(256, 128),
    ("lgms", "gms_block_64"): lambda: GlobalMultiScale(64, 64),
    ("lgms", "gms_block_3d_128"): lambda: GlobalMultiScale(128, 128, ndim=3),
    ("lgms", "fusion_block_128_to_64"): lambda: OnConcatenation(ConcatFusion(64, 64)),
    ("lgms", "fusion_block_3d_128_to_64"): lambda: OnConcatenation(ConcatFusion(64, 64, ndim=3)),
    ("lgms", "up_block_128_to_64"): lambda: LinearConv(128, 64),
    ("lgms", "up_block_3d_128_to_64"): lambda: LinearConv(128, 64, norm="instance", ndim=3),
    ("baselines", "cmrf_64_128"): lambda: CascadeMultiReceptiveFields(64, 128),
    ("baselines", "cmrf_128_128"): lambda: CascadeMultiReceptiveFields(128, 128),
}


@pytest.mark.parametrize(("family", "name"), BLOCKS)
def test_blocks_compute_what_the_published_ones_do(family: str, name: str) -> None:
    assert difference(BLOCKS[family, name](), recorded(family)[name]) <= 1e-6


def test_a_large_kernel_stage_has_the_published_parameters() -> None:
    params = sum(p.numel() for p in CMUNeXtStage(32, 64).parameters())
    blocks = 32 * 49 + 32 + 64 + (32 * 128 + 128 + 256) + (128 * 32 + 32 + 64)
    assert params == blocks + 9 * 32 * 64 + 64 + 128


def test_tokens_of_one_offset_attend_to_each_other_alone() -> None:
    block = GlobalMultiScale(8, 8, tc="1:0").whole
    assert block is not None
    x = torch.randn(1, 8, 8, 8, requires_grad=True)
    block(x)[0, :, 2, 4].sum().backward()
    assert x.grad is not None
    seen = x.grad[0].abs().sum(0) > 0
    assert bool(seen[::2, ::2].all())
    assert int(seen.sum()) == 16
