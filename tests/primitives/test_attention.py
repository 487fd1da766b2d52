"""Channel and spatial attention against numpy and the published hidden widths."""

from typing import Any

import numpy as np
import pytest
import torch
from scipy.ndimage import correlate
from scipy.special import expit

from primitives.attention import ChannelAttention, SpatialAttention
from primitives.core.errors import InvalidInput

RATIOS = (16, 16, 16, 8, 4)  # of the decoder stages, deepest first


@pytest.mark.parametrize(
    ("widths", "hidden"),
    [
        ((4, 8, 16, 24, 32), (2, 1, 1, 1, 1)),
        ((8, 16, 32, 48, 80), (5, 3, 2, 2, 2)),
        ((16, 32, 64, 96, 160), (10, 6, 4, 4, 4)),
        ((32, 64, 128, 192, 320), (20, 12, 8, 8, 8)),
        ((64, 128, 256, 384, 512), (32, 24, 16, 16, 16)),
    ],
)
def test_hidden_widths_of_the_published_networks(
    widths: tuple[int, ...], hidden: tuple[int, ...]
) -> None:
    blocks = [ChannelAttention(c, ratio=r) for c, r in zip(widths[::-1], RATIOS, strict=True)]
    assert tuple(block.reduce.out_channels for block in blocks) == hidden
    counts = [sum(p.numel() for p in block.parameters()) for block in blocks]
    assert counts == [2 * c * h for c, h in zip(widths[::-1], hidden, strict=True)]


def test_a_ratio_above_the_channels_leaves_one_hidden_channel() -> None:
    assert ChannelAttention(6, ratio=16).reduce.out_channels == 1
    assert ChannelAttention(24, ratio=16).reduce.out_channels == 1


def test_channel_attention_equals_numpy() -> None:
    net = ChannelAttention(8, ratio=4).double()
    x = np.random.default_rng(0).standard_normal((2, 8, 5, 7))
    down, up = (layer.weight.detach().numpy()[..., 0, 0] for layer in (net.reduce, net.restore))

    def weigh(pooled: Any) -> Any:
        return np.maximum(pooled @ down.T, 0) @ up.T

    weights = expit(weigh(x.mean((2, 3))) + weigh(x.max((2, 3))))
    expected = x * weights[:, :, None, None]
    np.testing.assert_allclose(net(torch.from_numpy(x)).detach(), expected, rtol=1e-12)


@pytest.mark.parametrize("kernel", [3, 7, 11])
def test_spatial_attention_equals_scipy(kernel: int) -> None:
    net = SpatialAttention(6, kernel=kernel).double()
    x = np.random.default_rng(1).standard_normal((1, 6, 9, 8))
    mean_kernel, max_kernel = net.conv.weight.detach().numpy()[0]
    logits = correlate(x[0].mean(0), mean_kernel, mode="constant")
    logits += correlate(x[0].max(0), max_kernel, mode="constant")
    expected = x * expit(logits)
    np.testing.assert_allclose(net(torch.from_numpy(x)).detach(), expected, rtol=1e-10)


def test_published_spatial_attention_has_98_weights_and_serves_any_width() -> None:
    net = SpatialAttention(16)
    assert sum(p.numel() for p in net.parameters()) == 2 * 7 * 7 == 98
    for channels in (1, 5, 160):
        assert net(torch.zeros(1, channels, 8, 8)).shape == (1, channels, 8, 8)


def test_wrong_knobs_are_refused() -> None:
    with pytest.raises(InvalidInput, match="ratio must be 1 or more, got 0"):
        ChannelAttention(8, ratio=0)
    with pytest.raises(InvalidInput, match=r"kernel must all be odd and positive .* got 4"):
        SpatialAttention(8, kernel=4)
