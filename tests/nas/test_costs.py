"""Costs against hand computation, hooks, torch's own counter and the reference's table."""

import gc
import random

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from nas.costs import measure_costs, trace
from primitives.core.errors import InvalidInput
from primitives.core.layers import ChannelScale2d, depthwise_conv
from search_spaces import load
from search_spaces.core.arch import Arch
from search_spaces.core.network import build

SPACE = load("ultralight")
MIB = 2**20

# Multiply-adds of convolutions at 256 x 256 in G, with the heads that the program discards.
TABLE = {
    "ultralight-t": 0.04965,
    "ultralight-s": 0.10439,
    "ultralight-base": 0.27805,
    "ultralight-m": 0.88441,
    "ultralight-l": 3.06665,
}


def meta(net: nn.Module) -> nn.Module:
    return net.to("meta").eval()


def arch_of(name: str) -> Arch:
    return SPACE.arch(SPACE.baseline(name).point)


def hooked(
    arch: Arch, size: int, kind: type[nn.Conv2d] = nn.Conv2d
) -> tuple[int, list[int], list[int]]:
    """Multiply-adds of a kind of layers by formula; bytes of leaves' inputs and outputs."""
    macs, both, outputs = 0, [], []

    def see(module: nn.Module, args: tuple[Tensor, ...], out: Tensor) -> None:
        nonlocal macs
        if isinstance(module, kind):
            k = module.kernel_size[0]
            positions = out.shape[2] * out.shape[3]
            macs += module.in_channels // module.groups * k * k * module.out_channels * positions
        if out is not args[0]:  # an identity makes nothing
            both.append(4 * (sum(x.numel() for x in args) + out.numel()))
            outputs.append(4 * out.numel())

    net = meta(build(arch))
    for module in net.modules():
        if not list(module.children()):
            module.register_forward_hook(see)
    with torch.no_grad():
        net(torch.empty(1, arch.in_channels, size, size, device="meta"))
    return macs, both, outputs


def test_multiply_adds_of_single_layers_by_hand() -> None:
    image = (1, 3, 16, 12)
    assert trace(meta(nn.Conv2d(3, 8, 3, padding=1)), image).macs == 3 * 9 * 8 * 16 * 12
    assert trace(meta(nn.Conv2d(3, 3, 5, padding=2, groups=3)), image).macs == 25 * 3 * 16 * 12
    assert trace(meta(depthwise_conv(3, 1)), image).macs == 3 * 16 * 12
    assert trace(meta(depthwise_conv(3, 1, ndim=3)), (1, 3, 4, 6, 8)).macs == 3 * 4 * 6 * 8
    assert trace(meta(nn.Conv2d(3, 8, 2, stride=2)), image).macs == 3 * 4 * 8 * 8 * 6
    assert trace(meta(nn.Linear(12, 7)), image).macs == 3 * 16 * 12 * 7
    assert trace(meta(nn.Sequential(nn.BatchNorm2d(3), nn.GELU())), image).macs == 0


def test_parameters_count_learned_numbers_once() -> None:
    conv = nn.Conv2d(3, 3, 3, padding=1)
    net = nn.Sequential(conv, nn.BatchNorm2d(3), conv)
    assert trace(meta(net), (1, 3, 8, 8)).params == 3 * 3 * 9 + 3 + 2 * 3


def test_peak_memory_of_a_small_net_by_hand() -> None:
    pixels = 16 * 12
    net = meta(nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU()))
    # The caller holds the input; at the end the convolution's output and the ReLU's are alive.
    assert trace(net, (1, 3, 16, 12)).memory_mib == (3 + 8 + 8) * pixels * 4 / MIB
    in_place = meta(nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(inplace=True)))
    assert trace(in_place, (1, 3, 16, 12)).memory_mib == (3 + 8) * pixels * 4 / MIB
    views = meta(nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.Flatten()))
    assert trace(views, (1, 3, 16, 12)).memory_mib == (3 + 8) * pixels * 4 / MIB


def test_memory_of_a_long_chain_is_freed_on_the_way() -> None:
    chain = meta(nn.Sequential(*(nn.Conv2d(4, 4, 1) for _ in range(30))))
    assert trace(chain, (1, 4, 8, 8)).memory_mib == (4 + 4 + 4) * 64 * 4 / MIB


class Residual(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        a = x.relu()
        b = a + x
        return a * b


def test_memory_counts_what_is_still_needed() -> None:
    assert trace(Residual(), (1, 4, 8, 8)).memory_mib == 4 * (4 * 64) * 4 / MIB


@pytest.mark.parametrize("name", TABLE)
def test_multiply_adds_of_the_published_networks(name: str) -> None:
    arch = arch_of(name)
    costs = measure_costs(arch, 256)
    sides = (128, 64, 32)  # of the maps that the discarded heads read, shallowest first
    heads = sum(c * s * s for c, s in zip(arch.widths, sides, strict=False))
    assert round((costs.macs + heads) / 1e9, 5) == TABLE[name]


@pytest.mark.parametrize("seed", range(6))
def test_costs_of_random_points_agree_with_formula_and_torch(seed: int) -> None:
    arch = SPACE.arch(SPACE.sample(random.Random(seed)), in_channels=1 + 2 * (seed % 2), classes=3)
    costs = measure_costs(arch, 64)
    macs, both, outputs = hooked(arch, 64)
    assert costs.macs == macs
    net = build(arch).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net(torch.zeros(1, arch.in_channels, 64, 64))
    # Torch's counter does not see the 1x1 depthwise convolutions, which are computed as products.
    assert costs.macs * 2 == counter.get_total_flops() + 2 * hooked(arch, 64, ChannelScale2d)[0]
    assert costs.params == sum(p.numel() for p in net.parameters())
    # No less than what one layer reads and writes, no more than if nothing were ever freed;
    # sums, shuffles and pools between layers make at most as many maps again.
    image = 4 * arch.in_channels * 64 * 64
    assert max(both) <= costs.memory_mib * MIB <= image + 2 * sum(outputs)


def test_batch_and_area_scale_the_costs() -> None:
    arch = arch_of("ultralight-t")
    small, large = measure_costs(arch, 64), measure_costs(arch, 128)
    assert large.params == small.params
    assert large.memory_mib == pytest.approx(4 * small.memory_mib, rel=1e-3)
    assert 3.99 < large.macs / small.macs <= 4  # channel attention does not grow with the area


def test_tracing_keeps_no_tensors_and_repeats() -> None:
    arch = arch_of("ultralight-t")

    def tensors() -> int:
        gc.collect()
        return sum(issubclass(type(thing), Tensor) for thing in gc.get_objects())

    first = measure_costs(arch, 64)
    before = tensors()
    assert measure_costs(arch, 64) == first
    assert tensors() == before


def test_a_size_that_does_not_fit_is_refused() -> None:
    with pytest.raises(InvalidInput, match=r"must be multiples of 32, got \(48, 48\)"):
        measure_costs(arch_of("ultralight-t"), 48)
