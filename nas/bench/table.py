"""Train many networks of one space alike, and keep their learning curves for `nas bench search`.

The first networks are the published ones. Then one is drawn evenly over log-parameters, and one is
a mutation of a network that is on the front by then, in turns: a table of random networks alone
says little about those that searches look for.

Source: NAS-Bench-301 (Siems et al., 2020; Zela et al., ICLR 2022) draws its networks likewise.
"""

import math
import random
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from itertools import count
from pathlib import Path
from statistics import mean

import numpy as np
import torch

import search_spaces
from nas.bench.table_training import Job, train_entry
from nas.cost_table import CostTable
from nas.data import Data, Prepared, open_data
from nas.folder import Progress
from nas.pareto import front_mask
from nas.processes import process_pool
from nas.task import TrainingFailed
from nas.trained_table import Entry, Plan, add_entry, begin_table, by_network
from primitives.core.errors import InvalidInput
from search_spaces.core.space import Point, Space

_DRAWN = 16  # random networks of which one is taken
_TRIES = 2000  # before it is said that there are none left
_MOVES = 3  # dimensions that a mutation moves at most
_FEWEST = 5e3  # parameters that the spread begins at
_GOLDEN = (math.sqrt(5) - 1) / 2  # multiples of it fill an interval evenly, however many there are


def build_table(
    path: Path,
    plan: Plan,
    prepared: Prepared,
    *,
    nets: int,
    seeds: int,
    device: torch.device,
    workers: int,
    progress: Progress,
    failed: Callable[[str], None],
) -> list[Entry]:
    """Train what the table lacks, in processes, and return all its entries.

    Args:
        path: of the table; trainings that it holds are not repeated.
        plan: of the table.
        prepared: the data.
        nets: networks that the table shall hold.
        seeds: trainings of each.
        device: that all workers train on.
        workers: processes; a CPU gives one thread to each.
        progress: called after each training.
        failed: told why a training has no result; the table then holds fewer.

    Raises:
        InvalidInput: the file is of another plan, or networks are used up.
        OSError: it cannot be written.
    """
    if not path.exists():
        next(_jobs(plan, [], 1, 1))  # refuses limits that leave no network, before a file is made
    entries = begin_table(path, plan)
    jobs = _jobs(plan, entries, nets, seeds)
    running: set[Future[Entry]] = set()
    progress("trainings", len(entries), nets * seeds)
    with process_pool(workers, _open_worker, prepared, plan, str(device)) as pool:
        while True:
            while len(running) < workers and (job := next(jobs, None)):
                running.add(pool.submit(_train, job))
            if not running:
                return entries
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                try:
                    entries.append(future.result())
                except TrainingFailed as error:  # such a network is left out, or tried again later
                    failed(str(error))
                    continue
                add_entry(path, entries[-1])
                progress("trainings", len(entries), nets * seeds)


def _jobs(plan: Plan, entries: Sequence[Entry], nets: int, seeds: int) -> Iterator[Job]:
    """Yield what is missing; a later job may depend on entries that came in since."""
    space, table = search_spaces.load(plan.space), CostTable(plan.size)
    first = {entry.net: entry for entry in entries}
    known = {entry.key for entry in entries}
    done = {(entry.net, entry.seed) for entry in entries}
    published = [
        point
        for point in (baseline.point for _, baseline in space.seeds())
        if plan.allows(*table.costs(space.arch(point, *plan.channels)))
    ]
    for net in range(nets):
        if net in first:
            origin, point = first[net].origin, first[net].point
        else:
            origin, point = _draw(net, published, space, table, plan, entries, known)
            known.add(space.arch(point, *plan.channels).key)
        for seed in range(seeds):
            if (net, seed) not in done:
                yield net, origin, point, seed


def _draw(
    net: int,
    published: Sequence[Point],
    space: Space,
    table: CostTable,
    plan: Plan,
    entries: Sequence[Entry],
    known: set[str],
) -> tuple[str, Point]:
    """Return the origin and point of a network that the table does not know."""
    if net < len(published):
        return "published", published[net]
    rng = random.Random(f"{plan.space}:{net}")
    low, high = math.log(_FEWEST), math.log(plan.most_params)
    wanted = low + (high - low) * (net * _GOLDEN % 1)
    parents = _front(entries) if net % 2 else []
    found: list[tuple[float, int, Point]] = []
    for drawn in count():
        if parents:
            point = parents[int(rng.random() * len(parents))]
            for _ in range(1 + int(rng.random() * _MOVES)):
                point = space.mutate(point, rng)
        else:
            point = space.sample(rng)
        arch = space.arch(point, *plan.channels)
        params, macs = table.costs(arch)
        if plan.allows(params, macs) and arch.key not in known:
            if parents:
                return "mutated", point
            found.append((abs(math.log(params) - wanted), drawn, point))
        if len(found) == _DRAWN or (found and drawn > _TRIES):
            break
        if drawn > _TRIES:
            raise InvalidInput(
                f"most-params and most-macs must leave networks of {plan.space!r} that the table "
                f"does not hold, got {plan.most_params} and {plan.most_macs or 'no limit'} and "
                f"none in {_TRIES} draws; raise them or lower --nets"
            )
    return "spread", min(found)[2]


def _front(entries: Sequence[Entry]) -> list[Point]:
    """Return the points on the front of mean Dice and parameters."""
    nets = by_network(entries)
    values = np.array([[mean(entry.dice for entry in net), net[0].params] for net in nets])
    mask = front_mask(values, ["maximize", "minimize"])
    return [net[0].point for net, on in zip(nets, mask, strict=True) if on]


_shared: tuple[Prepared, Plan, Data] | None = None  # of a worker


def _open_worker(prepared: Prepared, plan: Plan, device: str) -> None:
    global _shared
    _shared = prepared, plan, open_data(prepared, torch.device(device))


def _train(job: Job) -> Entry:
    assert _shared is not None
    prepared, plan, data = _shared
    return train_entry(job, plan, prepared, data)
