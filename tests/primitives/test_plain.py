"""Stem, pooling, upsampling and head against numpy."""

from typing import Any

import numpy as np
import pytest
import torch

from primitives.plain import BilinearReLU, MaxPool, PointwiseHead, RepeatGrey


def test_stem_repeats_grey_and_passes_colour_on() -> None:
    grey, colour = torch.rand(2, 1, 4, 4), torch.rand(2, 4, 4, 4)
    np.testing.assert_array_equal(RepeatGrey(1, 8)(grey), np.repeat(grey.numpy(), 3, axis=1))
    assert RepeatGrey(4, 8)(colour) is colour
    assert [RepeatGrey(c, 8).out_channels for c in (1, 2, 3, 4)] == [3, 2, 3, 4]


def test_pooling_takes_the_maximum_of_each_window() -> None:
    x = torch.randn(2, 3, 6, 4)
    expected = x.numpy().reshape(2, 3, 3, 2, 2, 2).max((3, 5))
    np.testing.assert_array_equal(MaxPool(3, 3)(x), expected)


def test_upsampling_weighs_neighbours_3_to_1_and_then_clips_at_zero() -> None:
    row = torch.tensor([[[[4.0, -4.0, 8.0]]]])
    # Half-pixel centres: each new pixel is 3/4 the near one and 1/4 the other; edges repeat.
    expected = [4.0, 2.0, -2.0, -1.0, 5.0, 8.0]
    out = BilinearReLU(1, 1)(row)
    assert out.shape == (1, 1, 2, 6)
    assert out[0, 0].tolist() == [[max(v, 0.0) for v in expected]] * 2


def test_head_is_one_affine_map_per_pixel() -> None:
    head: Any = PointwiseHead(5, 3)
    x = torch.randn(2, 5, 4, 3)
    weight, bias = head.conv.weight.detach()[..., 0, 0], head.conv.bias.detach()
    expected = np.einsum("kc,nchw->nkhw", weight, x) + bias.numpy()[:, None, None]
    np.testing.assert_allclose(head(x).detach(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("block", [MaxPool, BilinearReLU])
def test_size_changes_without_weights_keep_the_channels(block: type) -> None:
    assert block(8, 12).out_channels == 8
    assert block(8, 12)(torch.randn(1, 8, 4, 4)).shape[1] == 8
