"""Which probes are timed how often in the time that there is."""

import time
from collections import Counter

import pytest

from nas.latency import on_device
from nas.latency.on_device import affordable, in_rounds


def test_the_cheapest_probes_that_fit_are_affordable() -> None:
    assert affordable([4.0, 1.0, 3.0, 2.0], 6.0) == [1, 2, 3]
    assert affordable([4.0, 1.0, 3.0, 2.0], 5.9) == [1, 3]
    assert affordable([4.0, 1.0], 0.5) == []


def test_all_probes_are_timed_once_and_the_cheap_ones_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 0.0
    costs = [50.0, 10.0, 20.0]
    counts: Counter[int] = Counter()

    def probe(i: int) -> None:
        nonlocal now
        now += costs[i]
        counts[i] += 1

    monkeypatch.setattr(time, "perf_counter", lambda: now)
    monkeypatch.setattr(on_device, "BUDGET", 145.0)
    told: list[tuple[int, int]] = []
    in_rounds(3, probe, lambda done, total: told.append((done, total)))
    # 80 s for all, then 32.5 s for a half of what is left, then 35 s
    assert counts == {0: 1, 1: 3, 2: 3}
    assert told[-1] == (2, 2)
    assert now <= 145.0
