"""Skip gates: wiring and counts against equation 6 and the published differences."""

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from primitives.core.errors import InvalidInput
from primitives.gates import Add, AttentionGate, GroupedAttentionGate

BASE_SKIPS = (96, 64, 32, 16)


def count(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


def maps(channels: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(2)
    shape = (2, channels, 6, 5)
    x, skip = (torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(2))
    return x, skip


@pytest.mark.parametrize("channels", [2, 16, 96])
@pytest.mark.parametrize("kernel", [3, 5])
def test_grouped_gate_parameters_follow_the_formula(channels: int, kernel: int) -> None:
    inner = channels // 2
    side = inner * 2 * kernel**2 + inner + 2 * inner  # two inputs per output, bias, norm
    expected = 2 * side + (inner + 1 + 2)
    assert count(GroupedAttentionGate(channels, channels, kernel=kernel)) == expected


def test_gates_of_base_cost_what_the_ablations_differ_by() -> None:
    grouped = sum(count(GroupedAttentionGate(c, c)) for c in BASE_SKIPS)
    classic = sum(count(AttentionGate(c, c)) for c in BASE_SKIPS)
    assert grouped == 310_220 - 305_736
    assert classic == 326_414 - 311_082
    assert sum(count(Add(c, c)) for c in BASE_SKIPS) == 0


@pytest.mark.parametrize(
    ("net", "groups", "kernel"),
    [
        (GroupedAttentionGate(8, 8), 4, 3),
        (GroupedAttentionGate(8, 8, kernel=5), 4, 5),
        (AttentionGate(8, 8), 1, 1),
    ],
)
def test_gate_equals_hand_computation(net: Any, groups: int, kernel: int) -> None:
    torch.manual_seed(0)
    for tensor in (*net.parameters(), *net.buffers()):
        tensor.data = torch.rand(tensor.shape) + 0.1 if tensor.is_floating_point() else tensor
    net = net.double().eval()
    x, skip = maps(8)
    gate = net.gate

    def norm(y: torch.Tensor, bn: Any) -> Any:
        mean, var, scale, shift = (
            t.view(-1, 1, 1) for t in (bn.running_mean, bn.running_var, bn.weight, bn.bias)
        )
        return (y - mean) / (var + bn.eps).sqrt() * scale + shift

    def side(y: torch.Tensor, part: Any) -> Any:
        conv, bn = part
        return norm(F.conv2d(y, conv.weight, conv.bias, padding=kernel // 2, groups=groups), bn)

    inner = (side(x, gate.from_x) + side(skip, gate.from_skip)).clamp(min=0)
    to_map, bn, _ = gate.to_map
    weight = 1 / (1 + (-norm(F.conv2d(inner, to_map.weight, to_map.bias), bn)).exp())
    assert weight.shape == (2, 1, 6, 5)
    torch.testing.assert_close(net(x, skip), x + skip * weight, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("gate_type", [GroupedAttentionGate, AttentionGate])
def test_only_the_skip_is_gated(gate_type: type[nn.Module]) -> None:
    net: Any = gate_type(8, 8).double().eval()
    x, skip = maps(8)
    norm = net.gate.to_map[1]
    nn.init.constant_(norm.bias, -1e3)
    torch.testing.assert_close(net(x, skip), x, rtol=0, atol=0)
    nn.init.constant_(norm.bias, 1e3)
    torch.testing.assert_close(net(x, skip), x + skip, rtol=0, atol=0)


def test_plain_sum_adds_the_skip() -> None:
    x, skip = maps(3)
    torch.testing.assert_close(Add(3, 3)(x, skip), x + skip, rtol=0, atol=0)


def test_wrong_channels_and_kernels_are_refused() -> None:
    for gate in (GroupedAttentionGate, AttentionGate):
        with pytest.raises(InvalidInput, match="needs an even number of channels, got 7"):
            gate(7, 7)
    with pytest.raises(InvalidInput, match=r"kernel must all be odd and positive .* got 2"):
        GroupedAttentionGate(8, 8, kernel=2)
