"""Benchmarks that `nas bench` runs."""

from typing import Any

import torch

import search_spaces
from nas.costs import measure_costs
from nas.latency import describe_rig, measure_latency
from nas.plan import check_size, find_device
from nas.slot import DeviceSlot
from search_spaces.core.network import build


def bench_baselines(
    name: str | None, *, size: int, device: str = "auto", threads: int = 1
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Measure parameters, multiply-adds, activations and latency of all baselines, one at a time.

    Args:
        name: of a space; None: all spaces.
        size: side of the input, pixels.
        device: auto, cpu, cuda or mps.
        threads: on a CPU.

    Returns:
        The rig and one row for each distinct baseline.

    Raises:
        InvalidInput: the space is unknown, the device is not there or the size does not fit.
    """
    where = torch.device(find_device(device))
    rows: dict[str, dict[str, Any]] = {}
    with DeviceSlot(where) as slot:
        for space in map(search_spaces.load, [name] if name else search_spaces.names()):
            check_size(size, space)
            for baseline, published in space.baselines.items():
                arch = space.arch(published.point)
                if arch.key not in rows:
                    with slot.exclusive():
                        net = build(arch).to(where)
                        shape = (1, arch.in_channels, *[size] * arch.ndim)
                        latency = measure_latency(net, shape, threads=threads)
                    costs = measure_costs(arch, size)
                    rows[arch.key] = {
                        "baseline": baseline,
                        "arch_key": arch.key,
                        "params": costs.params,
                        "macs": costs.macs,
                        "memory_mib": costs.memory_mib,
                        "latency": latency.to_json(),
                    }
    return describe_rig(where, threads), list(rows.values())
