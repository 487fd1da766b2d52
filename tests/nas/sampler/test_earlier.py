"""What a search learns from an earlier one: the line between them, and what it then proposes."""

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nas.handle import StudyHandle
from nas.sampler.earlier import Informed, _slope
from nas.sampler.history import Results
from nas.sampler.known_cost import START, KnownCostSampler
from nas.sampler.similarity import Inputs
from nas.sampler.surrogate import Parameters, Surrogate
from nas.study import StudyDriver
from nas.trained_table import add_entry, begin_table
from primitives.core.errors import InvalidInput
from search_spaces.ultralight import SPACE
from tests.nas.sampler.test_known_cost import PROBLEM, dice, make_study, params, run
from tests.nas.searches import evaluation, train, wanted
from tests.nas.test_trained_table import ENTRY, PLAN

Opener = Callable[..., StudyDriver]


def test_the_slope_is_one_until_results_say_otherwise() -> None:
    foretold = np.array([0.6, 0.6])
    assert _slope(foretold, np.array([0.7, 0.7]), usual=0.01) == 1
    # Sums of squares and products by hand: 0.02 and 0.04; 4 results of slope 1 weigh 0.04.
    values = np.array([0.3, 0.5])
    assert _slope(np.array([0.5, 0.6]), values, usual=0.0025) == pytest.approx(
        (0.01 + 0.01) / (0.005 + 0.01)
    )
    many = np.linspace(0.5, 0.6, 400)
    assert _slope(many, 2 * many - 0.3, usual=0.001) == pytest.approx(2, rel=0.01)
    assert _slope(many, -many, usual=0.001) == 0


def test_a_process_of_the_rest_is_added_to_the_line() -> None:
    parameters = Parameters(np.array([0.5]), 0.0, 0.1, 1.0, 0.05)
    similarity = PROBLEM.genes().similarity
    similarity = replace(similarity, tables=similarity.tables[:1])
    codes = np.arange(10)[:, None]
    inputs = Inputs(codes, np.empty((10, 0)))
    earlier = Surrogate(similarity, parameters, inputs, np.linspace(0, 1, 10), np.ones(10))
    few = inputs[np.array([0, 5, 9])]
    rest = Surrogate(similarity, parameters, few, np.array([0.1, -0.1, 0.2]), np.ones(3))
    informed = Informed(earlier, 2.0, rest)
    mean, sd = informed.predict(inputs)
    assert mean == pytest.approx(2 * earlier.predict(inputs)[0] + rest.predict(inputs)[0])
    assert sd == pytest.approx(rest.predict(inputs)[1])
    believed, certain = informed.believe(inputs[np.array([2])]).predict(inputs)
    assert believed[2] == pytest.approx(mean[2], abs=0.02)
    assert certain[2] < sd[2]


def earlier_results(shift: float) -> Results:
    rng = np.random.default_rng(0)
    sizes = {"width": 10, "depth": 5, "block": 4, "gate": 2}
    names = {"block": "abcd", "gate": (True, False)}
    points = [
        {n: names[n][rng.integers(k)] if n in names else int(rng.integers(k)) + 1
         for n, k in sizes.items()}
        for _ in range(60)
    ]  # fmt: skip
    values = np.array([[dice(p) + shift, params(p)] for p in points])
    return Results(points, values, np.ones(60))


@pytest.mark.parametrize("shift", [0.0, -0.3])
def test_it_proposes_what_was_good_elsewhere_from_the_fifth_point_on(shift: float) -> None:
    """Block "c" is best by far; without knowing, one point in four has it."""
    informed = replace(PROBLEM, earlier=earlier_results(shift))
    points = run(make_study(KnownCostSampler(informed, seed=0)), START)[4:]
    assert [point["block"] for point in points] == ["c"] * len(points)


def test_too_few_earlier_results_or_none_of_the_objective_teach_nothing() -> None:
    found = earlier_results(0.0)
    few = Results(found.points[:5], found.values[:5], found.counts[:5])
    missing = replace(found, values=np.full_like(found.values, np.nan))
    for results in (few, missing):
        problem = replace(PROBLEM, earlier=results)
        assert len(run(make_study(KnownCostSampler(problem, seed=0)), 6)) == 6


def test_a_study_hands_the_earlier_trainings_to_its_sampler(
    driver_of: Opener, tmp_path: Path
) -> None:
    first = driver_of(objectives=("iou", "dice", "params"))
    for score in (0.5, 0.6, 0.7):
        train(first, score)
    left = wanted(first)
    second = driver_of(
        name="w", sampler="known-cost", warm_start="s", objectives=("latency", "dice")
    )
    sampler = second.optuna_study.sampler
    assert isinstance(sampler, KnownCostSampler)
    found = sampler.problem.earlier
    assert found is not None
    assert np.isnan(found.values[:, 0]).all()
    assert sorted(found.values[:, 1]) == [0.5, 0.6, 0.7]
    with pytest.raises(InvalidInput, match=r"gone\.jsonl cannot be read"):
        driver_of(name="t", sampler="known-cost", warm_start=str(tmp_path / "gone.jsonl"))
    first.record(left, evaluation(left, 0.8), {"worker": 1, "began": 0, "ended": 1})
    assert len(StudyHandle(first.store, "s").front()) >= 1


def test_a_study_learns_from_a_table(driver_of: Opener, tmp_path: Path) -> None:
    table, rng = tmp_path / "table.jsonl", random.Random(0)
    begin_table(table, PLAN)
    for net, score in enumerate((0.5, 0.6, 0.7)):
        point = SPACE.sample(rng)
        for seed in (0, 1):
            luck = 0.01 * (2 * seed - 1)
            add_entry(table, replace(ENTRY, net=net, seed=seed, point=point, dice=score + luck))
    driver = driver_of(
        sampler="known-cost", warm_start=str(table), objectives=("params", "dice", "iou")
    )
    sampler = driver.optuna_study.sampler
    assert isinstance(sampler, KnownCostSampler)
    found = sampler.problem.earlier
    assert found is not None
    assert found.values[:, 1] == pytest.approx([0.5, 0.6, 0.7])
    assert np.isnan(found.values[:, [0, 2]]).all()
    assert list(found.counts) == [2, 2, 2]
    assert found.points[-1] == point
