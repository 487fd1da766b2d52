"""Measured time of one forward pass, and the rig it was measured on."""

import hashlib
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import nn

from nas.evaluation import Latency
from nas.latency import on_device
from nas.latency.on_device import median_interval, processor, repeat_passes

Net = TypeVar("Net", bound=nn.Module)

RUNTIMES = ("torch", "onnxruntime")
_MIN_REPEATS = 20
_MAX_REPEATS = 400
_MAX_SECONDS = 10.0


def describe_rig(device: torch.device, threads: int, runtime: str = "torch") -> dict[str, Any]:
    """Return what a latency depends on beside the network: processor, device, threads, versions.

    Args:
        device: that networks run on.
        threads: on a CPU.
        runtime: one of `RUNTIMES`.
    """
    if runtime == "onnxruntime":
        return on_device.describe_rig(threads)
    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else None
    return {
        "device": device.type,
        "processor": processor(),
        "cores": os.cpu_count(),
        "gpu": gpu,
        "threads": threads,
        "runtime": "torch",
        "torch": torch.__version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
    }


def rig_key(rig: Mapping[str, Any]) -> str:
    """Return 12 hex digits that name a rig."""
    return hashlib.sha256(json.dumps(dict(rig), sort_keys=True).encode()).hexdigest()[:12]


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
        found = time_passes(
            lambda: one_pass_ms(net, x),
            rig=rig_key(describe_rig(device, threads)),
            warmup_seconds=warmup_seconds,
        )
    net.train(was_training)
    return found


def time_passes(one_pass: Callable[[], float], *, rig: str, warmup_seconds: float = 0.2) -> Latency:
    """Repeat a pass as `measure_latency` says.

    Args:
        one_pass: returns the milliseconds that it took.
        rig: key of the machine.
        warmup_seconds: untimed passes, at least three.
    """
    _warm_up(one_pass, warmup_seconds)
    times = repeat_passes(
        one_pass, least=_MIN_REPEATS, most=_MAX_REPEATS, seconds=_MAX_SECONDS, step=10
    )
    low, high = median_interval(times)
    return Latency(statistics.median(times), low, high, len(times), rig)


def one_pass_ms(
    net: nn.Module, x: torch.Tensor, clock: Callable[[], float] = time.perf_counter
) -> float:
    """Return the milliseconds of one forward pass; on CUDA by events."""
    if x.device.type == "cuda":
        return _cuda_pass_ms(net, x)
    _synchronise(x.device)
    start = clock()
    net(x)
    _synchronise(x.device)
    return (clock() - start) * 1e3


def memory_format(device: torch.device, ndim: int) -> torch.memory_format:
    """Return channels last where it is faster: 1.5 to 1.8 times for small nets on a CPU."""
    if device.type == "mps":
        return torch.contiguous_format
    return torch.channels_last if ndim == 2 else torch.channels_last_3d


def placed(net: Net, device: torch.device, ndim: int) -> Net:
    """Return a network where and how it is trained and timed; see `memory_format`."""
    return net.to(device).to(memory_format=memory_format(device, ndim))


def _warm_up(one_pass: Callable[[], float], seconds: float) -> None:
    end = time.perf_counter() + seconds
    for i in range(_MAX_REPEATS):
        one_pass()
        if i >= 2 and time.perf_counter() > end:
            return


def _cuda_pass_ms(net: nn.Module, x: torch.Tensor) -> float:
    """Time from the first kernel's launch to the last one's end, as the GPU sees it."""
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize(x.device)
    start.record()
    net(x)
    end.record()
    end.synchronize()
    return float(start.elapsed_time(end))


def _synchronise(device: torch.device) -> None:
    if device.type == "mps":
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
