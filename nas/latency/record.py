"""Times of probe networks and of their operators on one rig: what a latency model is made of.

Needs torch, or ONNX Runtime and exported networks (`onnx_probes`); neither Ray nor Optuna. One
CPU thread is timed by its CPU time, which stands still while another program has the core; all else
by the wall clock, and CUDA by events.
"""

import random
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Self

import torch

from nas.latency.measure import describe_rig
from nas.latency.on_device import ROUNDS, load_average
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
        networks: to fit: the first published ones of each space and random ones.
        kept: random ones of each space that are not fitted.
        seed: of the random ones.
    """
    found: dict[str, Wanted] = {}
    for i, space in enumerate(spaces):
        share = networks // len(spaces) + (i < networks % len(spaces))
        archs = islice(_distinct(space, found, random.Random(seed)), share + kept)
        for j, arch in enumerate(archs):
            found[arch.key] = Wanted(space.name, arch, j < share)
    return list(found.values())


def _distinct(space: Space, known: Mapping[str, object], rng: random.Random) -> Iterator[Arch]:
    """Yield the first published networks of a space, then random ones, while there are new ones."""
    first = [baseline.point for _, baseline in space.seeds()][:_FIRST]
    tries = 0
    while tries < _TRIES:
        arch = space.arch(first.pop(0) if first else space.sample(rng))
        tries += 1
        if arch.key not in known:
            tries = 0
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
    # Elsewhere no clock tells single operators. Networks that are kept are watched as well, though
    # for nothing, so that all are equally warm when they are timed as a whole.
    watched = device.type in ("cpu", "cuda")
    rounds: list[list[tuple[Times, float]]] = [[] for _ in wanted]
    with DeviceSlot(device) as slot:
        pace = Pace(device, threads)
        for turn in range(ROUNDS):
            for i, one in enumerate(wanted):
                with slot.exclusive():
                    paces = [pace.ms()]
                    times = torch_times(one.arch, size, device, threads, operators=watched)
                    paces.append(pace.ms())
                rounds[i].append((times, statistics.mean(paces)))
                progress("timing", turn * len(wanted) + i + 1, ROUNDS * len(wanted))
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
