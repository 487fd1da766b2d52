"""Facts of the MedNeXt reference: parameters of blocks and stem, what the attention leaves."""

import pytest
import torch

from primitives.mednext import (
    AxisMixing,
    LinearAttention,
    MedBlock,
    MedStem,
    StridedConv,
    perceptron,
)


def count(net: torch.nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


@pytest.mark.parametrize(
    ("channels", "side", "params"),
    [(64, 56, 62_016), (128, 28, 219_552), (256, 14, 862_344), (512, 7, 3_427_938)],
)
def test_blocks_have_the_derived_parameters(channels: int, side: int, params: int) -> None:
    assert count(MedBlock(channels, channels, side=side)) == params


def test_perceptrons_have_the_published_parameters() -> None:
    assert count(perceptron(512, 3, 1)) == 2 * 512**2 + 9 * 512
    assert count(perceptron(512, 0, 4)) == 8 * 512**2


def test_stem_and_size_changes_have_the_derived_parameters() -> None:
    assert count(MedStem(3, 64)) == 28_768
    assert [count(StridedConv(c, 2 * c)) for c in (64, 128, 256)] == [73_984, 295_424, 1_180_672]


def test_the_scale_brings_the_attention_from_nothing_to_the_size_of_its_input() -> None:
    torch.manual_seed(0)
    plain, scaled = (LinearAttention(64, scaled=s) for s in (False, True))
    scaled.load_state_dict(plain.state_dict())
    x = torch.randn(2, 64, 56, 56)
    with torch.no_grad():
        assert plain(x).std() < 1e-4 * x.std()
        torch.testing.assert_close(scaled(x), plain(x) * 64 * 56 * 56, rtol=1e-3, atol=1e-4)


def test_axis_matrices_keep_a_constant_when_they_are_resized() -> None:
    mixing = AxisMixing(4, "resize", 8)
    torch.nn.init.constant_(mixing.rows, 1 / 8)
    torch.nn.init.constant_(mixing.columns, 1 / 8)
    x = torch.ones(1, 4, 24, 16)
    expected = mixing.join(torch.ones(1, 8, 24, 16))
    torch.testing.assert_close(mixing(x), expected)
