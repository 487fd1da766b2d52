"""Benchmarks that `nas bench` runs."""

from collections.abc import Iterable
from typing import Any

import torch

from nas.costs import measure_costs
from nas.fitting import check_size
from nas.folder import Progress
from nas.latency.measure import describe_rig, measure_latency, placed
from nas.plan import find_device
from nas.slot import DeviceSlot
from search_spaces.core.arch import Arch
from search_spaces.core.network import build
from search_spaces.core.space import Space


def bench_baselines(
    spaces: Iterable[Space], size: int, device: str, threads: int, progress: Progress
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Measure parameters, multiply-adds, activations and latency of 2D baselines, one at a time.

    Args:
        spaces: whose baselines to measure.
        size: side of the input, pixels.
        device: auto, cpu, cuda or mps.
        threads: on a CPU.
        progress: called after each network.

    Returns:
        The rig and one row for each distinct network.

    Raises:
        InvalidInput: the device is not there or the size does not fit.
    """
    where = torch.device(find_device(device))
    archs: dict[str, tuple[str, Arch]] = {}
    for space in spaces:
        if space.ndim != 2:  # volumes would need another size
            continue
        check_size(size, space)
        for name, baseline in space.baselines.items():
            arch = space.arch(baseline.point)
            archs.setdefault(arch.key, (name, arch))
    rows = []
    with DeviceSlot(where) as slot:
        for name, arch in archs.values():
            rows.append(_measure(name, arch, size, slot, where, threads))
            progress("measuring", len(rows), len(archs))
    return describe_rig(where, threads), rows


def _measure(
    name: str, arch: Arch, size: int, slot: DeviceSlot, where: torch.device, threads: int
) -> dict[str, Any]:
    costs = measure_costs(arch, size)
    net = placed(build(arch), where, arch.ndim)
    shape = (1, arch.in_channels, *[size] * arch.ndim)
    with slot.exclusive():
        latency = measure_latency(net, shape, threads=threads)
    return {
        "baseline": name,
        "arch_key": arch.key,
        "params": costs.params,
        "macs": costs.macs,
        "memory_mib": costs.memory_mib,
        "latency": latency.to_json(),
    }
