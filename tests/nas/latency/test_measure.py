"""Measured latency: its interval, its order, and that it changes nothing."""

import random
import statistics

import pytest
import torch
from scipy.stats import binom
from torch import Tensor, nn

from nas.evaluation import Latency
from nas.latency import measure as latency_module
from nas.latency import on_device
from nas.latency.measure import describe_rig, measure_latency, rig_key
from nas.latency.on_device import median_interval
from nas.latency.operators import OperatorTable
from nas.latency.stopwatch import torch_times
from tests.nas.searches import decode, point

SHAPE = (1, 3, 32, 32)


def test_the_interval_of_the_median_by_hand() -> None:
    # 25 values: ranks (counted from 0) floor(12.5 - 4.9) = 7 and ceil(12.5 + 4.9) = 18
    values = [float(v) for v in range(25)]
    random.Random(0).shuffle(values)
    assert median_interval(values) == (7.0, 18.0)


def test_the_interval_of_very_few_values_is_their_range() -> None:
    assert median_interval([3.0, 1.0, 2.0]) == (1.0, 3.0)


@pytest.mark.parametrize("count", [20, 30, 57, 100, 400])
def test_the_interval_covers_the_median_with_95_percent(count: int) -> None:
    # The median lies between two order statistics as often as a fair coin says.
    low, high = median_interval([float(v) for v in range(count)])
    below = binom(count, 0.5)
    covered = below.cdf(high) - below.cdf(low)
    assert 0.95 <= covered <= 0.98


class Slow(nn.Module):
    """Repeats one convolution."""

    def __init__(self, repeats: int) -> None:
        super().__init__()
        self.conv, self.repeats = nn.Conv2d(3, 3, 3, padding=1), repeats
        self.seen: list[tuple[bool, int]] = []

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append((self.training, torch.get_num_threads()))
        for _ in range(self.repeats):
            x = self.conv(x)
        return x


def test_ten_times_the_work_takes_longer() -> None:
    quick, slow = (measure_latency(Slow(n), SHAPE, warmup_seconds=0.02) for n in (5, 100))
    assert slow.latency_ms > quick.latency_ms
    assert slow.low_ms > quick.high_ms


def test_a_latency_lies_in_its_interval_and_names_its_rig() -> None:
    found = measure_latency(Slow(1), SHAPE, threads=1, warmup_seconds=0.0)
    assert found.low_ms <= found.latency_ms <= found.high_ms
    assert 20 <= found.repeats <= 400
    assert found.rig == rig_key(describe_rig(torch.device("cpu"), 1))
    assert found.rig != rig_key(describe_rig(torch.device("cpu"), 2))


@pytest.mark.parametrize("training", [True, False])
def test_a_measurement_leaves_mode_and_threads_as_they_were(training: bool) -> None:
    net = Slow(1).train(training)
    torch.set_num_threads(2)
    try:
        measure_latency(net, SHAPE, threads=1, warmup_seconds=0.0)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)
    assert net.training is training
    assert set(net.seen) == {(False, 1)}, "it ran in eval mode with one thread"
    assert all(p.grad is None for p in net.parameters())


class Clock:
    """A clock that is set by hand."""

    now = 0.0

    def perf_counter(self) -> float:
        return self.now


def measured_with(monkeypatch: pytest.MonkeyPatch, milliseconds: list[float]) -> Latency:
    """Measure where each pass takes the next of these times, over and over."""
    passes = iter(milliseconds * 400)
    clock = Clock()

    def one_pass(net: nn.Module, x: Tensor) -> float:
        took = next(passes)
        clock.now += took / 1e3
        return took

    monkeypatch.setattr(latency_module, "one_pass_ms", one_pass)
    monkeypatch.setattr(on_device, "time", clock)
    return measure_latency(Slow(1), SHAPE, warmup_seconds=0.0)


def test_a_steady_clock_needs_20_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    found = measured_with(monkeypatch, [2.0])
    assert (found.latency_ms, found.low_ms, found.high_ms, found.repeats) == (2.0, 2.0, 2.0, 20)


def test_an_unsteady_clock_stops_at_400_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    found = measured_with(monkeypatch, [1.0, 2.0])
    assert found.repeats == 400
    assert found.high_ms - found.low_ms > 0.05 * found.latency_ms


def test_a_slow_and_unsteady_net_stops_after_10_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    found = measured_with(monkeypatch, [100.0, 200.0])
    assert found.repeats == 70, "67 passes of 0.15 s, looked at every tenth"


@pytest.mark.gpu
def test_cuda_is_timed_by_events_that_see_the_work() -> None:
    device = torch.device("cuda")
    few, many = (measure_latency(Slow(n).to(device), SHAPE) for n in (5, 100))
    assert many.latency_ms > 5 * few.latency_ms
    assert few.rig == rig_key(describe_rig(device, 1))


@pytest.mark.gpu
def test_operators_on_cuda_take_about_as_long_as_the_network() -> None:
    arch = decode(point(8))
    times = torch_times(arch, 256, torch.device("cuda"), 1, operators=True)
    listed = OperatorTable(256).operators(arch)
    total = sum(times.operators[o] for o in listed)
    assert 0.2 < total / statistics.median(times.passes) < 5
