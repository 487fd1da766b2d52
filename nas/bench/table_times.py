"""Latency of every network of a table on one machine, in a file of its own.

Its head is the rig and the table's plan, as far as times depend on it; a line is one network, timed
at batch 1 while nothing of ours trains. So a table can have the times of many devices.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import spearmanr

import search_spaces
from nas.evaluation import Latency
from nas.folder import Progress
from nas.json_lines import add_line, begin_lines
from nas.latency.measure import describe_rig, measure_latency, placed
from nas.slot import DeviceSlot
from nas.trained_table import Entry, read_table
from search_spaces.core.network import build

VERSION = 1
_COMMAND = "nas bench times"


@dataclass(frozen=True, slots=True)
class Timed:
    """A network of a table and its time.

    Attributes:
        entry: its first training.
        latency: of one image.
    """

    entry: Entry
    latency: Latency


def time_table(
    table: Path, path: Path, device: torch.device, threads: int, progress: Progress
) -> list[Timed]:
    """Time what the file lacks, and return all networks of the table.

    Args:
        table: file of `nas bench table`.
        path: of the times; networks that it holds are not timed again.
        device: that networks run on.
        threads: on a CPU.
        progress: called after each network.

    Raises:
        InvalidInput: the table cannot be read, or the file holds the times of another one or rig.
        OSError: the file cannot be written.
    """
    plan, entries = read_table(table)
    nets = {entry.key: entry for entry in reversed(entries)}
    space = search_spaces.load(plan.space)
    rig = describe_rig(device, threads)
    shared = {"space": plan.space, "channels": plan.channels, "size": plan.size, "rig": rig}
    lines = begin_lines(path, {"version": VERSION, **shared}, _COMMAND)
    times: dict[str, dict[str, Any]] = {line["key"]: line["latency"] for line in lines}
    with DeviceSlot(device) as slot:
        for done, (key, entry) in enumerate(nets.items(), 1):
            if key not in times:
                arch = space.arch(entry.point, *plan.channels)
                net = placed(build(arch), device, arch.ndim)
                shape = (1, arch.in_channels, *[plan.size] * arch.ndim)
                with slot.exclusive():
                    times[key] = measure_latency(net, shape, threads=threads).to_json()
                add_line(path, {"key": key, "latency": times[key]})
            progress("timing", done, len(nets))
    return [Timed(entry, Latency.from_json(times[key])) for key, entry in nets.items()]


def summary(found: Sequence[Timed]) -> dict[str, Any]:
    """Return what can be said of the times, in milliseconds, as plain data."""
    ms = np.array([timed.latency.latency_ms for timed in found])
    costs = np.array([[timed.entry.params, timed.entry.macs] for timed in found])
    return {
        "networks": len(found),
        "least_ms": float(ms.min()),
        "median_ms": float(np.median(ms)),
        "most_ms": float(ms.max()),
        "spearman_params": float(spearmanr(costs[:, 0], ms).statistic),
        "spearman_macs": float(spearmanr(costs[:, 1], ms).statistic),
    }
