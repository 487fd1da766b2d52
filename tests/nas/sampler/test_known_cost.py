"""The sampler in plain Optuna studies: no Ray, no training, a space of 400 points."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState

from nas.pareto import Floats
from nas.sampler.front_mutation import FrontMutationSampler
from nas.sampler.history import read_history
from nas.sampler.known_cost import START, KnownCostSampler
from nas.sampler.point_sampler import PointSampler
from nas.sampler.problem import Goal, Problem
from primitives.core.errors import InvalidInput

optuna.logging.set_verbosity(optuna.logging.ERROR)
SPACE = {
    "width": IntDistribution(1, 10),
    "depth": IntDistribution(1, 5),
    "block": CategoricalDistribution(["a", "b", "c", "d"]),
    "gate": CategoricalDistribution([True, False]),
}


def params(point: Mapping[str, Any]) -> float:
    return 100.0 * point["width"] ** 2 * point["depth"]


def cost(points: Sequence[Mapping[str, Any]]) -> Mapping[str, Floats]:
    return {"params": np.array([params(point) for point in points])}


def dice(point: Mapping[str, Any]) -> float:
    good = 0.1 * (point["block"] == "c") + 0.02 * point["depth"] - 0.01 * abs(point["width"] - 6)
    return 0.7 + float(good)


PROBLEM = Problem(
    space=SPACE,
    goals=[Goal(), Goal("params")],
    cost=cost,
    limits={"params": 10_000},
    conditions={"gate": ("block", frozenset({"a"}))},
)


def make_study(
    sampler: PointSampler, directions: Sequence[str] = ("maximize", "minimize")
) -> optuna.Study:
    return optuna.create_study(directions=list(directions), sampler=sampler)


def run(study: optuna.Study, trials: int) -> list[dict[str, Any]]:
    points = []
    for _ in range(trials):
        trial = study.ask(SPACE)
        points.append(trial.params)
        study.tell(trial, [dice(trial.params), params(trial.params)])
    return points


def sampler(seed: int = 0, **changes: Any) -> KnownCostSampler:
    return KnownCostSampler(replace(PROBLEM, **changes), seed=seed)


@pytest.mark.parametrize("dear", [False, True])
def test_it_proposes_new_networks_within_the_limits(dear: bool) -> None:
    points = run(make_study(sampler(dear=dear)), START + 10)
    assert all(params(point) <= 10_000 for point in points)
    networks = {
        (p["width"], p["depth"], p["block"], p["block"] == "a" or p["gate"]) for p in points
    }
    assert len(networks) == len(points)
    assert sum(point["block"] == "c" for point in points[START:]) >= 5  # what is good is found


def test_the_first_points_spread_evenly_over_what_random_points_cost() -> None:
    study = make_study(KnownCostSampler(PROBLEM, seed=0, start=10))
    first = [params(point) for point in run(study, 10)]
    each = [100.0 * width**2 * depth for width in range(1, 11) for depth in range(1, 6)]
    within = np.array([cost for cost in each if cost <= 10_000])
    ranks = sorted(np.mean(within <= cost) for cost in first)
    assert ranks[0] <= 0.2
    assert ranks[-1] >= 0.8
    assert max(np.diff(ranks)) < 0.2  # so even are ten random points in one case of five


def test_the_first_points_are_spread_and_the_next_are_the_models() -> None:
    def asked(results: int, **start: int) -> dict[str, Any]:
        sampler = KnownCostSampler(PROBLEM, seed=0, **start)
        return told(sampler, PROBLEM, results).ask(PROBLEM.space).params

    assert asked(START) == asked(START, start=1), "by the model"
    assert asked(START - 1) == asked(START - 1, start=sys.maxsize), "evenly spread"
    assert asked(START - 1) != asked(START - 1, start=1)


def told(sampler: PointSampler, problem: Problem, trials: int) -> optuna.Study:
    """Return a study that knows random results."""
    study, rng = make_study(sampler), np.random.default_rng(0)
    for _ in range(trials):
        point = {
            name: d.choices[rng.integers(len(d.choices))]
            if isinstance(d, CategoricalDistribution)
            else int(rng.integers(d.low, d.high + 1))
            for name, d in problem.space.items()
            if isinstance(d, CategoricalDistribution | IntDistribution)
        }
        distributions = dict(problem.space)
        values = [dice(point), params(point)]
        study.add_trial(
            optuna.trial.create_trial(params=point, distributions=distributions, values=values)
        )
    return study


def test_equal_seeds_propose_equal_points_also_after_a_restart() -> None:
    first = make_study(sampler(seed=3))
    points = run(first, START + 4)
    second = make_study(sampler(seed=3))
    early = run(second, START + 2)
    second.sampler = sampler(seed=3)  # as if the process had died
    assert [*early, *run(second, 2)] == points
    assert run(make_study(sampler(seed=4)), 3) != points[:3]


def test_running_trials_are_not_proposed_again() -> None:
    study = make_study(sampler())
    run(study, START)
    asked = [study.ask(SPACE).params for _ in range(4)]
    assert len({str(point) for point in asked}) == 4


def test_fixed_points_are_taken_and_counted() -> None:
    study = make_study(sampler())
    fixed = {"width": 2, "depth": 1, "block": "b", "gate": True}
    study.enqueue_trial(fixed)
    points = run(study, 4)
    assert points[0] == fixed
    assert fixed not in points[1:]


def test_what_was_pruned_or_failed_is_not_proposed_again() -> None:
    study = make_study(sampler())
    run(study, START)
    points = []
    for state in (TrialState.PRUNED, TrialState.FAIL) * 3:
        trial = study.ask(SPACE)
        points.append(str(trial.params))
        study.tell(trial, state=state)
    assert len(set(points)) == 6


@pytest.mark.parametrize(
    ("goals", "directions"),
    [
        ([Goal()], ["maximize"]),
        ([Goal("params")], ["minimize"]),
        ([Goal(), Goal(), Goal("params")], ["maximize", "maximize", "minimize"]),
        ([Goal(), Goal(log=True)], ["maximize", "minimize"]),
    ],
)
def test_it_takes_any_mix_of_measured_and_exact_objectives(
    goals: list[Goal], directions: list[str]
) -> None:
    study = make_study(sampler(goals=goals), directions)
    for _ in range(START + 3):
        trial = study.ask(SPACE)
        signs = {"maximize": dice(trial.params), "minimize": params(trial.params)}
        study.tell(trial, [signs[direction] for direction in directions])
    assert len(study.trials) == START + 3


def test_measured_limits_are_learned() -> None:
    study = make_study(sampler(limits={}, measured_limits=["latency"]))
    kept = []
    for _ in range(START + 12):
        trial = study.ask(SPACE)
        excess = 3.0 if trial.params["block"] in "cd" else -0.5
        trial.set_constraint("latency", excess)
        kept.append(excess < 0)
        study.tell(trial, [dice(trial.params), params(trial.params)])
    assert sum(kept[START:]) >= 9


def test_a_space_that_is_used_up_is_proposed_again() -> None:
    space = {"depth": IntDistribution(1, 2)}

    def depths(points: Sequence[Mapping[str, Any]]) -> Mapping[str, Floats]:
        return {"params": np.array([float(point["depth"]) for point in points])}

    study = make_study(sampler(space=space, cost=depths, conditions={}))
    asked = [study.ask(space).params["depth"] for _ in range(3)]
    assert sorted(asked[:2]) == [1, 2]


def test_continuous_dimensions_are_refused() -> None:
    with pytest.raises(InvalidInput, match=r"needs dimensions with a list of values, 'rate' has"):
        KnownCostSampler(replace(PROBLEM, space={"rate": FloatDistribution(0, 1)}), seed=0)


def test_front_mutation_moves_one_or_two_genes() -> None:
    points = run(make_study(FrontMutationSampler(PROBLEM, seed=0)), 14)
    for i in range(10, len(points)):  # after as many at random
        moves = [sum(points[i][name] != old[name] for name in SPACE) for old in points[:i]]
        assert 1 <= min(moves) <= 2


class Widths:
    """Designs of one gene, whose costs are measured one by one and are limited."""

    def __init__(self, limit: float) -> None:
        self.measured: list[int] = []
        self.sampler = KnownCostSampler(
            Problem(
                space={"width": IntDistribution(1, 300)},
                goals=[Goal(), Goal("params")],
                cost=self._cost,
                limits={"params": limit},
                dear=True,
            ),
            seed=0,
        )
        self.searches = 0

    def _cost(self, points: Sequence[Mapping[str, Any]]) -> Mapping[str, Floats]:
        self.measured += [point["width"] for point in points]
        return {"params": np.array(self.measured[-len(points) :], dtype=float)}

    def choose(self, widest: Sequence[int]) -> int:
        """Return the width that is chosen where searches find those from a widest one down."""

        def candidates() -> tuple[np.ndarray, Floats]:
            first = widest[min(self.searches, len(widest) - 1)]
            self.searches += 1
            return np.arange(first - 1, first - 31, -1)[:, None], np.linspace(2, 1, 30)

        study = optuna.create_study(directions=["maximize", "minimize"])
        history = read_history(study, self.sampler.key, ["width"], -1)
        chosen = self.sampler._first_legal(candidates, history, None)
        return int(self.sampler.genes.decode(chosen)["width"])


def test_where_all_that_look_best_are_too_large_they_are_searched_again() -> None:
    widths = Widths(limit=100)
    assert widths.choose([300, 200, 110]) == 100
    refused = [width for width in widths.measured if width > 100]
    assert refused == [*range(300, 280, -1), *range(200, 180, -1), *range(110, 100, -1)]


def test_where_nothing_keeps_a_limit_the_search_ends_and_the_study_refuses_what_it_gets() -> None:
    widths = Widths(limit=0.5)
    assert widths.choose([300]) == 300
    assert widths.searches == 15
    assert len(widths.measured) <= 30  # what was measured is known
