"""Times exported networks with ONNX Runtime on the device that this file lies on.

    python on_device.py OUT.json --threads 1

It lies beside the networks that `nas latency probes` wrote, and needs onnxruntime and numpy alone:
neither torch nor this project. One thread is timed by its CPU time, which stands still while
another program has the core; several by the wall clock.
"""

import argparse
import json
import math
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

VERSION = 1
_GOAL = 0.05  # width of the interval / median
_ROUNDS = 3  # over the probes: other work slows a whole minute down, but seldom the same one thrice
BUDGET = 200.0  # seconds in which rounds after the first must fit
_LEAST, _MOST, _SECONDS = 2, 20, 0.15  # passes of a probe in a round, and when the least are enough


def median_interval(values: Sequence[float]) -> tuple[float, float]:
    """Return the 95 % interval of the median by order statistics, in normal approximation."""
    ordered = sorted(values)
    half = 1.96 * math.sqrt(len(ordered)) / 2
    low = max(0, math.floor(len(ordered) / 2 - half))
    high = min(len(ordered) - 1, math.ceil(len(ordered) / 2 + half))
    return ordered[low], ordered[high]


def repeat_passes(
    one_pass: Callable[[], float],
    *,
    least: int = _LEAST,
    most: int = _MOST,
    seconds: float = _SECONDS,
    step: int = 1,
) -> list[float]:
    """Return the times of passes until the 95 % interval of their median is under 5 % of it, ms.

    Args:
        one_pass: returns the milliseconds that it took.
        least: passes in any case.
        most: passes.
        seconds: after which `least` are enough.
        step: how often to look.
    """
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < most:
        times.append(one_pass())
        if len(times) >= least and len(times) % step == 0:
            low, high = median_interval(times)
            if high - low < _GOAL * statistics.median(times) or time.perf_counter() > end:
                break
    return times


def affordable(costs: Sequence[float], seconds: float) -> list[int]:
    """Return the cheapest probes that fit into a time together, in order.

    Short passes vary most, so that these gain most by another round.

    Args:
        costs: seconds that each probe took.
        seconds: for all.
    """
    chosen: list[int] = []
    for i in sorted(range(len(costs)), key=costs.__getitem__):
        seconds -= costs[i]
        if seconds < 0:
            break
        chosen.append(i)
    return sorted(chosen)


def in_rounds(count: int, probe: Callable[[int], None], tell: Callable[[int, int], None]) -> None:
    """Time probes in turn: all of them once, then again those that there is time for.

    Args:
        count: probes.
        probe: times one.
        tell: called after each with how many are done, and of how many.
    """
    began, costs = time.perf_counter(), [0.0] * count
    for turn in range(_ROUNDS):
        left = BUDGET - (time.perf_counter() - began)
        chosen = affordable(costs, left / (_ROUNDS - turn)) if turn else range(count)
        for done, i in enumerate(chosen, 1):
            start = time.perf_counter()
            probe(i)
            costs[i] = time.perf_counter() - start
            tell(done, len(chosen))


def processor() -> str:
    """Return the processor's name; Linux keeps it in a file, other systems in `platform`."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def load_average() -> list[float]:
    """Return the machine's load over the last minute; nothing where no system tells it."""
    return [os.getloadavg()[0]] if hasattr(os, "getloadavg") else []


def describe_rig(threads: int) -> dict[str, Any]:
    """Return what a latency in ONNX Runtime depends on beside the network."""
    return {
        "device": "cpu",
        "processor": processor(),
        "cores": os.cpu_count(),
        "gpu": None,
        "threads": threads,
        "runtime": "onnxruntime",
        "onnxruntime": version("onnxruntime"),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
    }


def sum_up(rounds: Sequence[Sequence[float]]) -> dict[str, Any]:
    """Return ms, slowest_ms and passes of a network.

    Other work only ever adds time, so the round with the least median counts; the largest
    of the medians tells how much there was.

    Args:
        rounds: milliseconds of the passes of each.
    """
    medians = [statistics.median(passes) for passes in rounds]
    least, count = min(medians), sum(map(len, rounds))
    return {"ms": least, "slowest_ms": max(medians), "passes": count}


def time_probe(file: Path, channels: int, size: int, threads: int) -> list[float]:
    """Return the milliseconds of passes of one exported network.

    Args:
        file: maps "image" to "logits".
        channels: of the image.
        size: its side, pixels.
        threads: of the CPU.
    """
    import numpy as np
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    image = np.random.default_rng(0).standard_normal((1, channels, size, size), np.float32)
    clock = time.thread_time if threads == 1 else time.perf_counter

    def one_pass() -> float:
        start = clock()
        session.run(["logits"], {"image": image})
        return (clock() - start) * 1e3

    one_pass()
    return repeat_passes(one_pass)


def probe_file(key: str, size: int) -> str:
    """Return the name of the file of one network for images of `size` pixels."""
    return f"{key}_{size}.onnx"


def record_probes(folder: Path, threads: int, tell: Callable[[int, int], None]) -> dict[str, Any]:
    """Time all networks of a folder and return the recording as plain data.

    Args:
        folder: holds probes.json and the files that it names.
        threads: of the CPU.
        tell: called after each network of each round with how many are done, and of how many.
    """
    start, before = time.perf_counter(), load_average()
    told = json.loads((folder / "probes.json").read_text())
    size, wanted = told["size"], told["probes"]
    times: list[list[list[float]]] = [[] for _ in wanted]

    def probe(i: int) -> None:
        file, channels = probe_file(wanted[i]["key"], size), wanted[i]["arch"]["in_channels"]
        times[i].append(time_probe(folder / file, channels, size, threads))

    in_rounds(len(wanted), probe, tell)
    probes = [
        {name: entry[name] for name in ("space", "arch", "fitted")} | sum_up(rounds)
        for entry, rounds in zip(wanted, times, strict=True)
    ]
    return {
        "rig": describe_rig(threads),
        "size": size,
        "load": before + load_average(),
        "seconds": time.perf_counter() - start,
        "probes": probes,
        "operators": [],
    }


def main() -> None:
    """Time the networks beside this file."""
    parser = argparse.ArgumentParser(description="Time the networks beside this file.")
    parser.add_argument("out", type=Path, help="file to write")
    parser.add_argument("--threads", type=int, default=1, help="of the CPU")
    given = parser.parse_args()

    def tell(done: int, total: int) -> None:
        print(f"timing {done}/{total}", end="\r", file=sys.stderr, flush=True)

    found = record_probes(Path(__file__).parent, given.threads, tell)
    given.out.write_text(json.dumps({"version": VERSION, "recording": found}) + "\n")


if __name__ == "__main__":
    main()
