"""Measured time of one forward pass, and the rig it was measured on."""

import hashlib
import json
import math
import os
import platform
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from nas.evaluation import Latency

_MIN_REPEATS = 20
_MAX_REPEATS = 400
_MAX_SECONDS = 10.0
_GOAL = 0.05  # width of the interval / median


def describe_rig(device: torch.device, threads: int) -> dict[str, Any]:
    """Return what a latency depends on beside the network: processor, device, threads, versions."""
    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else None
    return {
        "device": device.type,
        "processor": _processor(),
        "cores": os.cpu_count(),
        "gpu": gpu,
        "threads": threads,
        "runtime": "torch",
        "torch": torch.__version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
    }


def rig_key(rig: dict[str, Any]) -> str:
    """Return 12 hex digits that name a rig."""
    return hashlib.sha256(json.dumps(rig, sort_keys=True).encode()).hexdigest()[:12]


def measure_latency(
    net: nn.Module, shape: Sequence[int], *, threads: int = 1, warmup_seconds: float = 0.2
) -> Latency:
    """Time forward passes, one at a time, on the net's device in eval mode.

    Repeats until the 95 % interval of the median is narrower than 5 % of it, or after 400 passes
    or 10 s.
    The caller holds the device alone (`nas.slot`).

    Args:
        net: any network.
        shape: of the input, (N, C, H, W).
        threads: CPU threads during the measurement; restored afterwards.
        warmup_seconds: untimed passes, at least three.
    """
    device = next(net.parameters()).device
    x = torch.randn(tuple(shape), device=device)
    was_training = net.training
    net.eval()
    with torch.inference_mode(), cpu_threads(threads):
        _passes(net, x, warmup_seconds)
        times = _time(net, x)
    net.train(was_training)
    low, high = median_interval(times)
    rig = rig_key(describe_rig(device, threads))
    return Latency(statistics.median(times), low, high, len(times), rig)


def median_interval(values: Sequence[float]) -> tuple[float, float]:
    """Return the 95 % interval of the median by order statistics, in normal approximation."""
    ordered = sorted(values)
    half = 1.96 * math.sqrt(len(ordered)) / 2
    low = max(0, math.floor(len(ordered) / 2 - half))
    high = min(len(ordered) - 1, math.ceil(len(ordered) / 2 + half))
    return ordered[low], ordered[high]


def _time(net: nn.Module, x: torch.Tensor) -> list[float]:
    times: list[float] = []
    end = time.perf_counter() + _MAX_SECONDS
    while len(times) < _MAX_REPEATS:
        times.append(_one_pass_ms(net, x))
        if len(times) >= _MIN_REPEATS and len(times) % 10 == 0:
            low, high = median_interval(times)
            if high - low < _GOAL * statistics.median(times) or time.perf_counter() > end:
                break
    return times


def _passes(net: nn.Module, x: torch.Tensor, seconds: float) -> None:
    end = time.perf_counter() + seconds
    for i in range(_MAX_REPEATS):
        _one_pass_ms(net, x)
        if i >= 2 and time.perf_counter() > end:
            return


def _one_pass_ms(net: nn.Module, x: torch.Tensor) -> float:
    _synchronise(x.device)
    start = time.perf_counter()
    net(x)
    _synchronise(x.device)
    return (time.perf_counter() - start) * 1e3


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


@contextmanager
def cpu_threads(threads: int) -> Iterator[None]:
    """Let torch use so many threads of the CPU for a while."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _processor() -> str:
    """Return the processor's name; Linux keeps it in a file, other systems in `platform`."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
