"""Facts of the UConvNeXt reference: reach, bijection of the shift, parameter formulas."""

import pytest
import torch

from primitives.core.layers import segment_sizes
from primitives.uconvnext import InvertedDepthwise, LFWFPerceptron, WeightedFusion, roll_segments


def count(net: torch.nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


def test_segments_have_the_published_sizes() -> None:
    assert segment_sizes(128, 5) == [26, 26, 26, 26, 24]
    assert segment_sizes(256, 5) == [52, 52, 52, 52, 48]
    assert segment_sizes(8, 5) == [2, 2, 2, 1, 1]  # ceil would give four segments


@pytest.mark.parametrize("axis", [2, 3])
def test_restore_undoes_the_shift_to_the_bit(axis: int) -> None:
    x = torch.randn(2, 128, 7, 9)
    shifted = roll_segments(x, axis, 5, 1)
    assert not torch.equal(shifted, x)
    assert torch.equal(roll_segments(shifted, axis, 5, -1), x)


def test_one_module_sees_a_cross_of_17_positions() -> None:
    net = WeightedFusion(
        20,
        segments=5,
        shift="both",
        branches="hwc",
        fc_depth=1,
        fc_hidden=4,
        fusion="position",
        reduction=4,
    ).double()
    x = torch.randn(1, 20, 15, 15, dtype=torch.float64, requires_grad=True)
    net(x)[0, :, 7, 7].sum().backward()
    assert x.grad is not None
    seen = x.grad[0].abs().sum(0) > 0
    cross = torch.zeros(15, 15, dtype=torch.bool)
    cross[3:12, 7] = cross[7, 3:12] = True
    assert torch.equal(seen, cross)
    assert int(seen.sum()) == 17


@pytest.mark.parametrize(("channels", "params"), [(128, 198_816), (256, 790_848)])
def test_perceptron_blocks_have_the_published_parameters(channels: int, params: int) -> None:
    assert count(LFWFPerceptron(channels, channels)) == params


@pytest.mark.parametrize(("a", "b", "params"), [(256, 128, 258_560), (8, 16, 1_520)])
def test_depthwise_blocks_have_the_published_parameters(a: int, b: int, params: int) -> None:
    assert count(InvertedDepthwise(a, b)) == params
