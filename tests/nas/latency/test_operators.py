"""The operators of networks: counted by hand, by torch, and as a CPU runs them."""

import random

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import search_spaces
from nas.latency.operators import OperatorTable, list_operators
from nas.latency.stopwatch import torch_times
from search_spaces.core.network import build

SIZE = 64


def only(block: nn.Module, *shapes: tuple[int, ...]):
    (found,), outputs = list_operators(block.to("meta").eval(), shapes)
    return found, outputs


def test_a_convolution_by_hand() -> None:
    found, outputs = only(nn.Conv2d(3, 8, 3, padding=1), (1, 3, 16, 16))
    assert outputs == ((1, 8, 16, 16),)
    assert (found.name, found.group, found.kernel, found.channels) == ("dense", "dense", 9, 8)
    assert found.macs == 8 * 3 * 9 * 256
    assert found.read == 3 * 256 + 8 * 3 * 9 + 8
    assert found.written == 8 * 256
    assert found.terms == (1.0, found.macs / 1e6, found.read / 1e6, found.written / 1e6)


@pytest.mark.parametrize(
    ("block", "group"),
    [
        (nn.Conv2d(8, 8, 1), "pointwise"),
        (nn.Conv2d(8, 8, 3, groups=8), "depthwise"),
        (nn.Conv2d(8, 8, 3, groups=2), "grouped"),
        (nn.ConvTranspose2d(8, 8, 2, stride=2), "transposed"),
        (nn.ReLU(), "map"),
        (nn.Flatten(2), "view"),
    ],
    ids=str,
)
def test_groups(block: nn.Module, group: str) -> None:
    assert only(block, (1, 8, 8, 8))[0].group == group


def test_a_matrix_product_is_one() -> None:
    found, _ = list_operators(nn.Linear(8, 4).to("meta"), [(5, 8)])
    (product,) = [o for o in found if o.macs]
    assert (product.group, product.macs) == ("product", 5 * 8 * 4)


def test_strides_tell_calls_apart_and_weights_do_not() -> None:
    one, same, other = (
        only(nn.Conv2d(4, 4, 3, stride=stride, padding=1), (1, 4, 8, 8))[0] for stride in (1, 1, 2)
    )
    assert one == same
    assert one.key == same.key
    assert one != other
    assert one.key != other.key


def sample(name: str, count: int) -> list:
    space, rng = search_spaces.load(name), random.Random(5)
    return [space.arch(space.sample(rng)) for _ in range(count)]


def assert_as_a_cpu_runs_them(name: str, count: int) -> None:
    table = OperatorTable(SIZE)
    for arch in sample(name, count):
        times = torch_times(arch, SIZE, torch.device("cpu"), 1, operators=True)
        listed = table.operators(arch)
        assert set(times.operators) == set(listed)
        assert all(ms > 0 for ms in times.operators.values())


@pytest.mark.parametrize("name", ["ultralight", "unet"])
def test_the_list_is_what_a_cpu_runs(name: str) -> None:
    assert_as_a_cpu_runs_them(name, 1)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["lgms", "medunext", "mixed", "timm", "uconvnext"])
def test_the_list_of_any_space_is_what_a_cpu_runs(name: str) -> None:
    assert_as_a_cpu_runs_them(name, 3)


@pytest.mark.parametrize("name", ["unet", "uconvnext"])
def test_multiply_adds_add_up_to_torchs_count(name: str) -> None:
    (arch,) = sample(name, 1)
    net = build(arch).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net(torch.zeros(1, 3, SIZE, SIZE))
    listed = sum(o.macs for o in OperatorTable(SIZE).operators(arch))
    assert listed == counter.get_total_flops() // 2
