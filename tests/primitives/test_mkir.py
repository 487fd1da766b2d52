"""Multi-kernel inverted residual: counts, values and groups against the paper's equations."""

import itertools
from collections.abc import Callable
from math import gcd
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from primitives.core.errors import InvalidInput
from primitives.core.layers import channel_shuffle, parse_kernels
from primitives.mkir import KERNEL_SETS, MultiKernelDepthwise, MultiKernelInvertedResidual

BASE_INPUTS = (3, 16, 32, 64, 96, 160, 96, 64, 32, 16)  # input widths of the ten blocks of base


def randomised(net: nn.Module) -> Any:
    """In eval mode and double precision, with norms and weights that make a mistake visible."""
    generator = torch.Generator().manual_seed(3)
    for tensor in (*net.parameters(), *net.buffers()):
        if tensor.is_floating_point():
            tensor.data.normal_(generator=generator)
    for name, buffer in net.named_buffers():
        if name.endswith("running_var"):
            buffer.abs_().add_(0.5)
    return net.double().eval()


def norm(x: Tensor, layer: Any) -> Any:
    """Batch norm in eval mode, written out."""
    mean, var, scale, shift = (
        t.view(1, -1, 1, 1)
        for t in (layer.running_mean, layer.running_var, layer.weight, layer.bias)
    )
    return (x - mean) / torch.sqrt(var + 1e-5) * scale + shift


@pytest.mark.parametrize("channels", [(6, 6), (6, 10)])
@pytest.mark.parametrize("expansion", [1, 2, 4])
@pytest.mark.parametrize("kernels", ["3", "1-3-5", "5-5"])
def test_parameters_follow_the_formula(
    channels: tuple[int, int], expansion: int, kernels: str
) -> None:
    c_in, c_out = channels
    hidden = expansion * c_in
    branches = sum(hidden * (int(k) ** 2 + 2) for k in kernels.split("-"))
    expand, project = hidden * c_in + 2 * hidden, c_out * hidden + 2 * c_out
    shortcut = 0 if c_in == c_out else c_in * c_out
    block = MultiKernelInvertedResidual(c_in, c_out, kernels=kernels, expansion=expansion)
    expected = expand + branches + project + shortcut
    assert sum(p.numel() for p in block.parameters()) == expected


@pytest.mark.parametrize("kernel", [1, 3, 5, 7])
def test_one_more_branch_in_all_blocks_of_base_costs_1158_times_k2_plus_2(kernel: int) -> None:
    def count(kernels: str) -> int:
        blocks = [MultiKernelInvertedResidual(c, 8, kernels=kernels) for c in BASE_INPUTS]
        return sum(p.numel() for block in blocks for p in block.parameters())

    assert count(f"1-3-{kernel}") - count("1-3") == 1158 * (kernel**2 + 2)


@pytest.mark.parametrize("series", [False, True])
@pytest.mark.parametrize("concat", [False, True])
@pytest.mark.parametrize("act", ["relu6", "relu", "hardswish", "gelu"])
def test_depthwise_filter_equals_hand_computation(series: bool, concat: bool, act: str) -> None:
    net = randomised(
        MultiKernelDepthwise(4, (1, 3, 5), series=series, concat=concat, act=act, ndim=2)
    )
    x = torch.randn(2, 4, 7, 6, dtype=torch.float64) * 3
    functions: dict[str, Callable[[Tensor], Tensor]] = {
        "relu6": lambda y: y.clamp(0, 6),
        "relu": lambda y: y.clamp(min=0),
        "hardswish": lambda y: y * (y + 3).clamp(0, 6) / 6,
        "gelu": lambda y: y * (1 + torch.erf(y / 2**0.5)) / 2,
    }
    outputs: list[Tensor] = []
    source = x
    for side, (conv, bn, _) in zip((1, 3, 5), net.branches, strict=True):
        y = F.conv2d(F.pad(source, [side // 2] * 4), conv.weight, groups=4)
        outputs.append(functions[act](norm(y, bn)))
        source = source + outputs[-1] if series else source
    expected = torch.cat(outputs, 1) if concat else outputs[0] + outputs[1] + outputs[2]
    torch.testing.assert_close(net(x), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("channels", [(6, 6), (6, 9)])
@pytest.mark.parametrize("fuse", ["sum", "concat"])
def test_block_equals_hand_computation(channels: tuple[int, int], fuse: str) -> None:
    net = randomised(MultiKernelInvertedResidual(*channels, kernels="1-3", fuse=fuse))
    x = torch.randn(2, channels[0], 5, 6, dtype=torch.float64)
    y = net.filter(norm(F.conv2d(x, net.expand[0].weight), net.expand[1]).clamp(0, 6))
    y = shuffled(y, gcd(y.shape[1], channels[1]))
    y = norm(F.conv2d(y, net.project[0].weight), net.project[1])
    same = channels[0] == channels[1]
    expected = y + (x if same else F.conv2d(x, net.shortcut.weight))
    torch.testing.assert_close(net(x), expected, rtol=1e-10, atol=1e-10)


def shuffled(x: Tensor, groups: int) -> Tensor:
    """Channel j of the output is channel (j mod g) * C/g + j div g of the input."""
    c = x.shape[1]
    order = [(j % groups) * (c // groups) + j // groups for j in range(c)]
    return x[:, order]


@pytest.mark.parametrize("groups", [1, 2, 3, 4, 12])
def test_shuffle_moves_channels_as_numpy_does(groups: int) -> None:
    x = torch.arange(2 * 12 * 3 * 2.0).view(2, 12, 3, 2)
    expected = x.numpy().reshape(2, groups, 12 // groups, 3, 2).swapaxes(1, 2).reshape(2, 12, 3, 2)
    np.testing.assert_array_equal(channel_shuffle(x, groups).numpy(), expected)
    np.testing.assert_array_equal(shuffled(x, groups).numpy(), expected)


@pytest.mark.parametrize(
    ("widths", "groups"),
    [
        ((4, 8, 16, 24, 32), (2, 8, 16, 8, 16, 8, 16, 8, 4, 4)),
        ((8, 16, 32, 48, 80), (2, 16, 32, 16, 16, 16, 32, 16, 8, 8)),
        ((16, 32, 64, 96, 160), (2, 32, 64, 32, 32, 32, 64, 32, 16, 16)),
        ((32, 64, 128, 192, 320), (2, 64, 128, 64, 64, 64, 128, 64, 32, 32)),
        ((64, 128, 256, 384, 512), (2, 128, 256, 128, 256, 128, 256, 128, 64, 64)),
    ],
)
def test_shuffle_groups_of_the_published_networks(
    widths: tuple[int, ...], groups: tuple[int, ...]
) -> None:
    path = (3, *widths, *widths[-2::-1], widths[0])
    with torch.device("meta"):
        blocks = [MultiKernelInvertedResidual(a, b) for a, b in itertools.pairwise(path)]
    assert tuple(block.groups for block in blocks) == groups


def test_concatenation_shuffles_by_the_joined_channels() -> None:
    block: Any = MultiKernelInvertedResidual(4, 12, kernels="1-3-5", fuse="concat")
    assert block.groups == gcd(3 * 2 * 4, 12) == 12
    assert MultiKernelInvertedResidual(4, 12).groups == gcd(2 * 4, 12) == 4
    assert block.project[0].in_channels == 24


def test_block_without_projection_passes_its_input_on() -> None:
    block: Any = MultiKernelInvertedResidual(4, 4).eval()
    nn.init.zeros_(block.project[0].weight)
    x = torch.randn(1, 4, 6, 6)
    torch.testing.assert_close(block(x), x, rtol=0, atol=0)


def test_kernel_sets_are_all_multisets_of_one_to_three_sides() -> None:
    expected = {
        "-".join(sides)
        for n in (1, 2, 3)
        for sides in itertools.combinations_with_replacement("1357", n)
    }
    assert set(KERNEL_SETS) == expected
    assert len(KERNEL_SETS) == 4 + 10 + 20


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"kernels": "1-2"}, "kernels must all be odd and positive .* got '1-2'"),
        ({"kernels": "0"}, "kernels must all be odd and positive"),
        ({"kernels": ""}, "kernels must be odd numbers joined by '-', got ''"),
        ({"kernels": "3,5"}, "kernels must be odd numbers joined by '-', got '3,5'"),
        ({"expansion": 0}, "expansion must be 1 or more, got 0"),
        ({"mode": "serial"}, "mode must be 'parallel' or 'series', got 'serial'"),
        ({"fuse": "mean"}, "fuse must be 'sum' or 'concat', got 'mean'"),
        ({"activation": "swish"}, "activation must be one of relu6, relu, .* got 'swish'"),
    ],
)
def test_a_wrong_knob_is_refused(knobs: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        MultiKernelInvertedResidual(4, 4, **knobs)


def test_kernels_are_read_in_order_with_repeats() -> None:
    assert parse_kernels("5-1-5") == (5, 1, 5)
