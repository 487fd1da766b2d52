"""Times of probe networks and of their operators on one rig: what a latency model is made of.

Needs torch, or ONNX Runtime and exported networks (`onnx_probes`); neither Ray nor Optuna. One
CPU thread is timed by its CPU time, which stands still while another program has the core; all else
by the wall clock, and CUDA by events.
"""

import random
import statistics
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch

from nas.cost_table import CostTable
from nas.latency.measure import describe_rig
from nas.latency.on_device import in_rounds, load_average
from nas.latency.operators import Operator
from nas.latency.stopwatch import Pace, Times, torch_times
from nas.slot import DeviceSlot
from search_spaces.core.arch import Arch
from search_spaces.core.space import Space

if TYPE_CHECKING:
    from nas.folder import Progress

NETWORKS = 50  # that a model is fitted to
KEPT = 20  # random ones of each space that tell its accuracy
_FIRST = 3  # published networks of each space that are fitted first, as a search begins with them
_POOL = 4  # random networks for each that is fitted
_COST_SIZE = 64  # pixels: multiply-adds are only ranked

_TRIES = 100  # known networks in a row after which a space counts as used up


@dataclass(frozen=True, slots=True)
class Probe:
    """A network that was timed.

    Attributes:
        space: it is of.
        arch: what it is.
        fitted: whether a model is fitted to it; else it tells the model's accuracy.
        ms: of a forward pass: of the rounds' medians torch's middle one, which is scaled to one
            pace of the machine, or ONNX Runtime's least.
        slowest_ms: the largest of these medians.
        passes: timed.
    """

    space: str
    arch: Arch
    fitted: bool
    ms: float
    slowest_ms: float
    passes: int


@dataclass(frozen=True)
class Recording:
    """What was timed on one rig.

    Attributes:
        rig: the machine, as `measure.describe_rig` says it.
        size: side of the input, pixels.
        load: of the machine over the last minute before and after, as Unix tells it; () elsewhere.
        seconds: that it took.
        probes: the networks.
        operators: milliseconds of each operator in the networks that are fitted; none where the
            runtime tells totals alone.
    """

    rig: Mapping[str, Any]
    size: int
    load: tuple[float, ...]
    seconds: float
    probes: tuple[Probe, ...]
    operators: Mapping[Operator, float]

    def to_json(self) -> dict[str, Any]:
        """Return plain data that `from_json` reads back."""
        probes = [{**asdict(p), "arch": p.arch.to_json()} for p in self.probes]
        operators = [[*asdict(o).values(), ms] for o, ms in self.operators.items()]
        fields = {"rig": dict(self.rig), "size": self.size, "load": list(self.load)}
        return {**fields, "seconds": self.seconds, "probes": probes, "operators": operators}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read the JSON form."""
        probes = tuple(Probe(**{**p, "arch": Arch.from_json(p["arch"])}) for p in data["probes"])
        operators = {Operator(*fields): ms for *fields, ms in data["operators"]}
        return cls(
            data["rig"], data["size"], tuple(data["load"]), data["seconds"], probes, operators
        )


@dataclass(frozen=True, slots=True)
class Wanted:
    """A network that is to be timed."""

    space: str
    arch: Arch
    fitted: bool


def choose_probes(
    spaces: Sequence[Space], networks: int = NETWORKS, kept: int = KEPT, seed: int = 0
) -> list[Wanted]:
    """Return distinct networks: `networks` in all to fit, `kept` random ones of each space.

    Args:
        spaces: of images, each of which gets its share of the networks.
        networks: to fit: the first published ones of each space, and of random ones those that
            are spread evenly over the order of their multiply-adds, from the least to the most.
        kept: random ones of each space that are not fitted.
        seed: of the random ones.
    """
    found: dict[str, Wanted] = {}
    for i, space in enumerate(spaces):
        share = networks // len(spaces) + (i < networks % len(spaces))
        archs = _distinct(space, found, random.Random(seed))
        first = list(islice(archs, min(share, _FIRST)))
        random_ones = list(islice(archs, kept + _POOL * (share - len(first))))
        spread = _spread(random_ones[kept:], share - len(first))
        for fitted, some in ((True, first + spread), (False, random_ones[:kept])):
            found |= {arch.key: Wanted(space.name, arch, fitted) for arch in some}
    return list(found.values())


def _spread(archs: Sequence[Arch], count: int) -> list[Arch]:
    """Return so many of them that are evenly spread over the order of their multiply-adds.

    What is larger than all that was fitted is predicted worst: large maps can take several times as
    long per number as small ones.
    """
    costs = CostTable(_COST_SIZE)
    ranked = sorted(archs, key=lambda arch: costs.costs(arch)[1])
    if len(ranked) <= count:
        return ranked
    return [ranked[round(i)] for i in np.linspace(0, len(ranked) - 1, count)]


def _distinct(space: Space, known: Iterable[str], rng: random.Random) -> Iterator[Arch]:
    """Yield the first published networks of a space, then random ones, while there are new ones."""
    first = [baseline.point for _, baseline in space.seeds()][:_FIRST]
    tries, seen = 0, set(known)
    while tries < _TRIES:
        arch = space.arch(first.pop(0) if first else space.sample(rng))
        tries += 1
        if arch.key not in seen:
            tries = 0
            seen.add(arch.key)
            yield arch


def record_torch(
    wanted: Sequence[Wanted], size: int, *, device: torch.device, threads: int, progress: "Progress"
) -> Recording:
    """Time networks in torch, one at a time, with the device held alone.

    Args:
        wanted: networks.
        size: side of the input, pixels.
        device: that they run on.
        threads: on a CPU.
        progress: called after each network of each round.
    """
    start, before = time.perf_counter(), load_average()
    clocked = device.type in ("cpu", "cuda")  # elsewhere no clock tells single operators
    rounds: list[list[tuple[Times, float]]] = [[] for _ in wanted]
    with DeviceSlot(device) as slot:
        pace = Pace(device, threads)

        def probe(i: int) -> None:
            arch, watched = wanted[i].arch, clocked and wanted[i].fitted
            with slot.exclusive():
                paces = [pace.ms()]
                times = torch_times(arch, size, device, threads, operators=watched)
                paces.append(pace.ms())
            rounds[i].append((times, statistics.mean(paces)))

        in_rounds(len(wanted), probe, lambda done, total: progress("timing", done, total))
    even = at_one_pace(rounds)
    return Recording(
        describe_rig(device, threads),
        size,
        (*before, *load_average()),
        time.perf_counter() - start,
        tuple(_probe(one, each) for one, each in zip(wanted, even, strict=True)),
        _operators([each for one, each in zip(wanted, even, strict=True) if one.fitted]),
    )


def at_one_pace(rounds: Sequence[Sequence[tuple[Times, float]]]) -> list[list[Times]]:
    """Return times as if the machine had always been as fast as in its fastest tenth.

    Args:
        rounds: of each network: its times, and what `Pace` told at that moment.
    """
    paces = [pace for each in rounds for _, pace in each]
    fast = sorted(paces)[len(paces) // 10]
    return [[times.scaled(fast / pace) for times, pace in each] for each in rounds]


def _probe(wanted: Wanted, rounds: Sequence[Times]) -> Probe:
    medians = [statistics.median(times.passes) for times in rounds]
    passes = sum(len(times.passes) for times in rounds)
    middle = statistics.median(medians)
    return Probe(wanted.space, wanted.arch, wanted.fitted, middle, max(medians), passes)


def _operators(rounds: Sequence[Sequence[Times]]) -> dict[Operator, float]:
    """Return the median over networks and rounds of each operator's time."""
    calls: dict[Operator, list[float]] = {}
    for each in rounds:
        for times in each:
            for operator, ms in times.operators.items():
                calls.setdefault(operator, []).append(ms)
    return {operator: statistics.median(found) for operator, found in calls.items()}
