"""How long forward passes and their operators take; one network, one rig, one input."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from nas.dispatch import Operators
from nas.latency.measure import cpu_threads, one_pass_ms, placed
from nas.latency.on_device import repeat_passes
from nas.latency.operators import Operator, describe
from search_spaces.core.arch import Arch
from search_spaces.core.network import build

_PACE_SIDE, _PACE_PASSES = 128, 7


@dataclass(frozen=True, slots=True)
class Times:
    """What a stopwatch told of one network.

    Attributes:
        passes: milliseconds of each forward pass.
        operators: milliseconds of each operator, the median over its calls.
    """

    passes: Sequence[float]
    operators: Mapping[Operator, float]

    def scaled(self, factor: float) -> "Times":
        """Return all times multiplied."""
        operators = {operator: factor * ms for operator, ms in self.operators.items()}
        return Times([factor * ms for ms in self.passes], operators)


def torch_times(
    arch: Arch, size: int, device: torch.device, threads: int, *, operators: bool
) -> Times:
    """Time the network of an arch in torch, with fresh weights in eval mode.

    Args:
        arch: of the network.
        size: side of the input, pixels.
        device: that the caller holds alone.
        threads: on a CPU.
        operators: whether to time them as well.
    """
    net = placed(build(arch).eval(), device, arch.ndim)
    x = torch.randn(1, arch.in_channels, *[size] * arch.ndim, device=device)
    clock = thread_clock(device, threads)
    with cpu_threads(threads):
        with torch.inference_mode():
            net(x)  # warm-up: makes the kernels and fills the caches
        found = _operator_times(net, x, clock) if operators else {}
        with torch.inference_mode():
            return Times(repeat_passes(lambda: one_pass_ms(net, x, clock)), found)


class Pace:
    """How fast the machine is at the moment, by a small network that is always the same.

    Other work slows one CPU thread down by a quarter and more, for minutes, through the caches and
    the memory that they share; CPU time does not tell.

    Args:
        device: that the caller holds alone while it asks.
        threads: on a CPU.
    """

    def __init__(self, device: torch.device, threads: int) -> None:
        layers = [nn.Conv2d(16, 16, 3, padding=1), nn.Conv2d(16, 16, 3, padding=1, groups=16)]
        net = nn.Sequential(*layers, nn.BatchNorm2d(16), nn.ReLU()).eval()
        self._net = placed(net, device, 2)
        self._x = torch.randn(1, 16, _PACE_SIDE, _PACE_SIDE, device=device)
        self._threads, self._clock = threads, thread_clock(device, threads)

    def ms(self) -> float:
        """Return the median milliseconds of a few passes."""
        with torch.inference_mode(), cpu_threads(self._threads):
            passes = [one_pass_ms(self._net, self._x, self._clock) for _ in range(_PACE_PASSES + 1)]
        return statistics.median(passes[1:])


def thread_clock(device: torch.device, threads: int) -> Callable[[], float]:
    """Return the clock of this thread's CPU time where it does all the work, else the wall's."""
    return time.thread_time if device.type == "cpu" and threads == 1 else time.perf_counter


def _operator_times(net: nn.Module, x: Tensor, clock: Callable[[], float]) -> dict[Operator, float]:
    watch = _Stopwatch(x.device, clock)
    with (
        torch.no_grad(),
        Operators(watch.call),
    ):  # inference mode shows composite operators undivided
        net(x)
    calls: dict[Operator, list[float]] = {}
    for operator, ms in watch.times():
        calls.setdefault(operator, []).append(ms)
    return {operator: statistics.median(times) for operator, times in calls.items()}


class _Stopwatch:
    """Times every operator that it calls; on CUDA by events, which are read once all is done."""

    def __init__(self, device: torch.device, clock: Callable[[], float]) -> None:
        self._device = device
        self._mark: Callable[[], Any] = _event if device.type == "cuda" else clock
        self._calls: list[tuple[Operator, Any, Any]] = []

    def call(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Call an operator and time it."""
        start = self._mark()
        out = func(*args, **kwargs)
        end = self._mark()
        self._calls.append((describe(func, args, kwargs, out), start, end))
        return out

    def times(self) -> list[tuple[Operator, float]]:
        """Return the operators in the order of their calls, with their milliseconds."""
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
            return [(call, start.elapsed_time(end)) for call, start, end in self._calls]
        return [(call, (end - start) * 1e3) for call, start, end in self._calls]


def _event() -> torch.cuda.Event:
    event = torch.cuda.Event(enable_timing=True)
    event.record()
    return event
