"""What searches were worth, by hand."""

import numpy as np
import pytest

from dashboard.shares import shares_figure
from nas.bench.judge import Replay, summary, to_match, to_shares
from primitives.core.errors import InvalidInput

PACE = 90.0  # seconds of a training and its proposal


def replay_of(*shares: float, pace: float = PACE) -> Replay:
    """A run whose trainings all take as long."""
    ends = pace * np.arange(1, len(shares) + 1)
    return Replay(
        shares=np.array(shares),
        steps=np.stack([ends, shares], axis=1),
        seconds=ends[-1],
        thought=0.2,
        infeasible=1,
        repeats=0,
    )


def test_trainings_to_match_are_counted_per_seed() -> None:
    ours = [replay_of(0.1, 0.5, 0.9), replay_of(0.3, 0.4, 0.5), replay_of(0.2, 0.2, 0.2)]
    theirs = [replay_of(0.1, 0.2, 0.5), replay_of(0.1, 0.1, 0.2), replay_of(0.1, 0.2, 0.3)]
    found = to_match(ours, theirs)
    assert (found["median"], found["worst"], found["each"]) == (2, None, [2, 1, None])
    found = to_match(ours[:2], theirs[:2])
    assert (found["median"], found["worst"], found["each"]) == (1.5, 2, [2, 1])


def test_time_to_match_counts_to_the_training_that_got_there() -> None:
    ours = [replay_of(0.1, 0.5), replay_of(0.6, 0.6), replay_of(0.1, 0.2)]
    theirs = [
        replay_of(0.1, 0.5, 0.5, 0.5, pace=270.0),  # there after 9 minutes; ours after 3
        replay_of(0.1, 0.3, 0.5, 0.5, pace=60.0),  # there after 3 minutes; ours after 1.5
        replay_of(0.1, 0.3, pace=60.0),  # ours never
    ]
    found = to_match(ours, theirs)
    assert (found["minutes"], found["faster"]) == (3.0, pytest.approx(2.0))
    assert to_match(ours[1:], theirs[1:])["faster"] is None  # the median is between 2 and never


def test_shares_are_medians_over_seeds() -> None:
    found = summary([replay_of(*[0.2] * 10), replay_of(*[0.4] * 10), replay_of(*[0.9] * 10)])
    assert (found["share"], found["mean"]) == ({10: 0.4}, {10: 0.5})
    assert (found["seconds_per_proposal"], found["infeasible"]) == (0.2, 3)


def test_shares_of_nothing_are_refused() -> None:
    assert to_shares(np.array([0.0, 0.5, 2.0]), 2.0).tolist() == [0.0, 0.25, 1.0]
    with pytest.raises(InvalidInput, match=r"better than the reference .* got none"):
        to_shares(np.zeros(3), 0.0)


def test_shares_over_time_go_as_far_as_every_run_lasted() -> None:
    slow, fast = replay_of(0.1, 0.2, 0.4, pace=300.0), replay_of(*[0.6] * 13, pace=60.0)
    found = summary([slow])
    assert found["minutes"] == {5: 0.1, 10: 0.2}
    times, low, middle, high = found["clock"]
    assert (times[0], middle[0]) == (0, 0)
    assert (times[-1], low[-1], middle[-1], high[-1]) == (15, 0.4, 0.4, 0.4)
    assert max(time for time, share in zip(times, middle, strict=True) if share < 0.1) < 5
    assert summary([fast])["minutes"] == {5: 0.6, 10: 0.6}


def test_the_figure_draws_medians_and_quartiles() -> None:
    runs = [replay_of(0.1, 0.2), replay_of(0.3, 0.4), replay_of(0.5, 0.9)]
    task = {"name": "synthetic", "noise": 0.0, "tight": True}
    found = {"task": task, "seeds": [0, 1, 2], "samplers": {"random": summary(runs)}}
    band, line, _, later = shares_figure(found).data
    assert (list(line.x), list(line.y), line.name) == ([1, 2], [0.3, 0.4], "random")
    assert list(band.y) == [0.4, 0.65, 0.3, 0.2]
    assert (later.x[-1], later.y[-1]) == (3, 0.4)  # minutes


@pytest.mark.parametrize(
    ("task", "title"),
    [
        ({"name": "synthetic", "noise": 0.02, "tight": True}, "noise 0.02, tight, 1 seeds"),
        ({"name": "tabular", "trainings": 146, "tight": False}, "146 real trainings, 1 seeds"),
        ({"name": "live", "data": "cells", "tight": False}, "trainings on cells, 1 seeds"),
        ({"name": "studies", "data": "cells", "tight": False}, "studies of cells, 1 seeds"),
    ],
)
def test_a_figure_says_what_was_searched(task: dict[str, object], title: str) -> None:
    rows = {"random": summary([replay_of(0.2)])}
    figure = shares_figure({"task": task, "seeds": [0], "samplers": rows})
    assert title in figure.layout.title.text
