"""Devices whose times are known by formula, and what a recording of one looks like."""

from collections.abc import Callable, Sequence
from functools import cache

import search_spaces
from nas.latency.operators import Operator, OperatorTable
from nas.latency.record import Probe, Recording, Wanted, choose_probes
from search_spaces.core.arch import Arch

SIZE = 64
RIG = {
    "device": "cpu",
    "processor": "Test 1",
    "cores": 1,
    "gpu": None,
    "threads": 1,
    "runtime": "torch",
}
Rule = Callable[[Operator], float]
_TABLE = OperatorTable(SIZE)


def affine(operator: Operator) -> float:
    """5 us a call, 20 us per million multiply-adds, 100 us per million numbers written, ms."""
    return 0.005 + 0.02 * operator.macs / 1e6 + 0.1 * operator.written / 1e6


def wide_is_fast(operator: Operator) -> float:
    """The same, but the arithmetic of narrow results takes up to twice as long."""
    extra = 0.02 * operator.macs / 1e6 * 8 / (8 + operator.channels)
    return affine(operator) + extra


@cache
def operators(arch: Arch) -> tuple[Operator, ...]:
    return tuple(_TABLE.operators(arch))


def seconds_of(arch: Arch, rule: Rule, factor: float = 1.0) -> float:
    """Return the time of a network on a device, ms."""
    return factor * sum(map(rule, operators(arch)))


@cache
def wanted(space: str, networks: int = 30, kept: int = 10) -> tuple[Wanted, ...]:
    return tuple(choose_probes([search_spaces.load(space)], networks, kept))


def recording(
    probes: Sequence[Wanted], rule: Rule, *, factor: float = 1.0, totals_only: bool = False
) -> Recording:
    """Return what a device tells whose networks take `factor` times the sum of their operators."""
    timed = []
    for one in probes:
        ms = seconds_of(one.arch, rule, factor)
        timed.append(Probe(one.space, one.arch, one.fitted, ms, ms, 5))
    seen = {o: rule(o) for one in probes if one.fitted for o in operators(one.arch)}
    return Recording(RIG, SIZE, (0.0, 0.0), 1.0, tuple(timed), {} if totals_only else seen)
