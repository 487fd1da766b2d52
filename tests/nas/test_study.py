"""The study's driver against a real database, without workers."""

import math
from collections.abc import Callable
from dataclasses import replace

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState

from nas.costs import measure_costs
from nas.dimensions import suggest
from nas.handle import StudyHandle, open_storage
from nas.records import count_states
from nas.sampler.by_name import SAMPLERS
from nas.settings import StudyMismatch
from nas.study import StudyDriver
from primitives.core.errors import InvalidInput
from tests.nas.searches import (
    PREPARED,
    SPACE,
    decode,
    enqueue,
    evaluation,
    latency,
    point,
    train,
    wanted,
)

Opener = Callable[..., StudyDriver]


def told(driver: StudyDriver) -> list[FrozenTrial]:
    return driver.optuna_study.get_trials()


def handle(driver: StudyDriver) -> StudyHandle:
    return StudyHandle(driver.store, driver.study.name)


def states(driver: StudyDriver) -> dict[str, int]:
    return {name: n for name, n in count_states(handle(driver).trials()).items() if n}


def params(width: int, depth: int = 1) -> int:
    return measure_costs(decode(point(width, depth)), 32).params


def test_baselines_are_the_first_trials_in_their_order(driver_of: Opener) -> None:
    driver = driver_of(baselines=True)
    proposals = [wanted(driver) for _ in range(4)]
    assert [p.number for p in proposals] == [0, 1, 2, 3]
    names = [t.user_attrs.get("baseline") for t in told(driver)]
    assert names == ["small-4", "small-8", "small-12", None]
    assert [p.arch for p in proposals[:3]] == [decode(point(w)) for w in (4, 8, 12)]


def test_baselines_can_be_left_out(driver_of: Opener) -> None:
    driver = driver_of(baselines=False)
    wanted(driver)
    assert "baseline" not in told(driver)[0].user_attrs


def test_the_study_is_complete_when_its_trials_are(driver_of: Opener) -> None:
    driver = driver_of(trials=2)
    first = wanted(driver)
    assert not driver.finished
    enqueue(driver, point(8 if first.trial.params["width"] != 8 else 12))
    second = wanted(driver)
    assert driver.finished, "both trials are in training"
    assert not driver.ended
    driver.record(first, evaluation(first, 0.75), {"worker": 1, "began": 1.0, "ended": 2.0})
    driver.record(second, evaluation(second, 0.25), {"worker": 1, "began": 1.0, "ended": 2.0})
    assert driver.ended
    assert [t.state for t in told(driver)] == [TrialState.COMPLETE] * 2
    assert [t.values for t in told(driver)] == [
        [0.75, first.costs.params],
        [0.25, second.costs.params],
    ]
    assert told(driver)[0].user_attrs["work"] == {"worker": 1, "began": 1.0, "ended": 2.0}
    scores = f"dice 0.75, params {first.costs.params:.4g}"
    assert driver.ledger.lines[0] == f"trial 0 complete: {scores}"


def test_what_breaks_a_limit_is_told_as_pruned_and_never_handed_out(driver_of: Opener) -> None:
    bound = (params(4) + params(8)) / 2
    driver = driver_of(constraints=(f"params<={bound / 1e3}k",))
    enqueue(driver, point(8), point(4))
    assert driver.propose() is None
    proposal = driver.propose()
    assert proposal is not None
    assert proposal.arch == decode(point(4))
    driver.record(proposal, evaluation(proposal), {})
    infeasible, feasible = told(driver)
    assert infeasible.state == TrialState.PRUNED
    assert infeasible.constraints["params"] == pytest.approx(params(8) / bound - 1)
    assert feasible.constraints["params"] == pytest.approx(params(4) / bound - 1)
    assert infeasible.user_attrs["state"] == "infeasible"
    assert infeasible.user_attrs["reason"].startswith(f"params is {params(8)}, the limit")
    assert driver.ledger.counted == 1


def test_two_limits_on_one_cost_both_hold(driver_of: Opener) -> None:
    bound = (params(4) + params(8)) / 2
    limits = (f"params<={bound / 1e3}k", f"params<={bound / 500}k")
    driver = driver_of(constraints=limits)
    enqueue(driver, point(8))
    assert driver.propose() is None
    assert told(driver)[0].constraints == {"params": pytest.approx(params(8) / bound - 1)}


def test_a_search_under_an_impossible_limit_ends(driver_of: Opener) -> None:
    driver = driver_of(trials=1, constraints=("params<=0.001k",))
    count = 0
    while not driver.finished:
        assert driver.propose() is None
        count += 1
    assert driver.ended
    assert count == driver.proposals == 50
    assert states(driver) == {"infeasible": 50}
    assert driver_of(trials=1, constraints=("params<=0.001k",)).ended, "and stays ended"


def test_a_repeated_arch_is_reused_and_not_counted(driver_of: Opener) -> None:
    driver = driver_of()
    enqueue(driver, point(8), point(8, idle=20))
    first = train(driver, 0.625)
    assert driver.propose() is None
    assert told(driver)[1].values == told(driver)[0].values == [0.625, params(8)]
    assert states(driver) == {"complete": 1, "reused": 1}
    assert driver.ledger.counted == 1
    assert handle(driver).trial(1).evaluation == evaluation(first, 0.625)


def test_a_training_of_another_study_is_reused_and_counted(driver_of: Opener) -> None:
    other = driver_of(name="other")
    enqueue(other, point(8))
    train(other, 0.625)
    driver = driver_of(trials=1)
    enqueue(driver, point(8))
    assert driver.propose() is None
    assert told(driver)[0].values == [0.625, params(8)]
    assert states(driver) == {"reused": 1}
    assert driver.ended


@pytest.mark.parametrize(
    "changes",
    [{"seed": 1}, {"epochs": 4}, {"recipe": "ultralight"}, {"prepared": "other"}],
    ids=str,
)
def test_a_training_under_other_conditions_is_not_reused(
    driver_of: Opener, changes: dict[str, object]
) -> None:
    other = driver_of(name="other")
    enqueue(other, point(8))
    train(other)
    if "prepared" in changes:
        changes = {"prepared": replace(PREPARED, fingerprint="e" * 12)}
    driver = driver_of(**changes)
    enqueue(driver, point(8))
    proposal = driver.propose()
    assert proposal is not None
    assert proposal.known is None


def test_a_twin_of_a_running_trial_gets_its_values(driver_of: Opener) -> None:
    driver = driver_of()
    enqueue(driver, point(8), point(8, idle=10), point(8, idle=20))
    proposal = wanted(driver)
    assert driver.propose() is None
    assert driver.propose() is None
    assert states(driver) == {"running": 3}
    driver.record(proposal, evaluation(proposal, 0.75), {})
    assert [t.values for t in told(driver)] == [[0.75, params(8)]] * 3
    assert states(driver) == {"complete": 1, "reused": 2}
    assert driver.ledger.counted == 1


def test_a_twin_of_a_failed_trial_fails(driver_of: Opener) -> None:
    driver = driver_of()
    enqueue(driver, point(8), point(8, idle=10))
    proposal = wanted(driver)
    driver.propose()
    driver.fail(proposal, "out of memory: 1 GB")
    assert [t.state for t in told(driver)] == [TrialState.FAIL] * 2
    assert [t.reason for t in handle(driver).trials()] == ["out of memory: 1 GB"] * 2
    assert driver.ledger.counted == 1


@pytest.mark.parametrize("dice", [math.nan, math.inf])
def test_an_objective_that_is_not_a_number_is_a_failure(driver_of: Opener, dice: float) -> None:
    driver = driver_of()
    train(driver, dice)
    assert told(driver)[0].state == TrialState.FAIL
    assert f"an objective is not a number: [{dice}," in handle(driver).trial(0).reason
    assert handle(driver).front() == []


def test_what_ended_before_its_budget_is_stopped_and_never_on_a_front(driver_of: Opener) -> None:
    driver = driver_of()
    train(driver, 0.99, epochs=2)
    train(driver, 0.5)
    stopped, full = handle(driver).trials()
    assert told(driver)[0].state == TrialState.PRUNED
    assert (stopped.state, stopped.reason) == ("stopped", "it ended after 2 of 3 epochs")
    assert [t.number for t in handle(driver).front()] == [full.number]


def test_running_trials_are_taken_up_under_their_numbers(driver_of: Opener) -> None:
    dead = driver_of(baselines=True)
    done = train(dead, 0.75)
    left = [wanted(dead), wanted(dead)]
    driver = driver_of(baselines=True)
    assert driver.ledger.counted == 1
    taken = [wanted(driver), wanted(driver)]
    assert [(p.number, p.arch) for p in taken] == [(p.number, p.arch) for p in left]
    for proposal in taken:
        driver.record(proposal, evaluation(proposal), {})
    train(driver)
    assert driver.ended
    assert states(driver) == {"complete": 4}
    assert told(driver)[0].values == [0.75, done.costs.params]


@pytest.mark.parametrize("known", [(), ("width",), ("width", "depth", "idle")], ids=str)
def test_a_proposal_cut_short_is_completed_under_its_number(
    driver_of: Opener, known: tuple[str, ...]
) -> None:
    dead = driver_of(baselines=True)
    trial = dead.optuna_study.ask()  # the driver dies before it has suggested every dimension
    for name in known:
        if name == "width":
            trial.suggest_categorical(name, SPACE.dimensions[name].values)
        else:
            low, *_, high = SPACE.dimensions[name].values
            trial.suggest_int(name, int(low), int(high), step=10 if name == "idle" else 1)
    driver = driver_of(baselines=True)
    first, second = wanted(driver), wanted(driver)
    assert (first.number, first.arch) == (0, decode(point(4)))
    assert (second.number, second.arch) == (1, decode(point(8)))


def test_an_evaluation_that_was_stored_but_not_told_completes_its_trial(driver_of: Opener) -> None:
    dead = driver_of()
    proposal = wanted(dead)
    dead.store.add_evaluation(evaluation(proposal, 0.75), dead.recipe_key, "s", proposal.number)
    driver = driver_of()
    assert driver.propose() is None
    assert told(driver)[0].values == [0.75, proposal.costs.params]
    assert states(driver) == {"complete": 1}
    assert driver.ledger.counted == 1


def test_a_trial_whose_telling_was_cut_short_is_told_again(driver_of: Opener) -> None:
    limits = ("params<=100k", "macs<=1G")
    dead = driver_of(constraints=limits)
    proposal = wanted(dead)
    proposal.trial.set_constraint("params", proposal.costs.params / 100e3 - 1)
    proposal.trial.set_user_attr("state", "failed")
    proposal.trial.set_user_attr("reason", "it had failed")
    driver = driver_of(constraints=limits)
    train(driver)
    (trial,) = handle(driver).trials()
    assert (trial.state, trial.reason) == ("complete", "")
    assert told(driver)[0].constraints == {
        "params": pytest.approx(proposal.costs.params / 100e3 - 1),
        "macs": pytest.approx(proposal.costs.macs / 1e9 - 1),
    }


def test_a_continued_study_takes_up_where_it_stopped(driver_of: Opener) -> None:
    first = driver_of(trials=1)
    train(first)
    assert driver_of(trials=1).ended
    second = driver_of(trials=2)
    assert not second.ended
    train(second)
    assert second.ended
    assert [t.number for t in told(second)] == [0, 1]


def test_a_continued_study_knows_what_its_trials_cost(
    driver_of: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counting what hundreds of trials cost takes a minute."""
    first = driver_of(trials=2)
    points = [dict(train(first).trial.params) for _ in range(2)]
    monkeypatch.setattr("nas.cost_table.CostTable.costs", lambda *_: pytest.fail("counted again"))
    second = driver_of(trials=4)
    expected = [measure_costs(decode(point), 32) for point in points]
    found = second._problem.cost(points)
    assert found["params"].tolist() == [costs.params for costs in expected]
    assert found["macs"].tolist() == [costs.macs for costs in expected]


def test_a_continued_study_does_not_repeat_its_proposals(driver_of: Opener) -> None:
    first = driver_of(trials=20)
    before = [first.optuna_study.ask() for _ in range(6)]
    points = [first.space.arch(_suggested(first, t)) for t in before]
    second = driver_of(trials=20)
    second._orphans.clear()
    after = [second.space.arch(_suggested(second, second.optuna_study.ask())) for _ in range(6)]
    assert [a.key for a in points] != [a.key for a in after]


def _suggested(driver: StudyDriver, trial: optuna.Trial) -> dict[str, object]:
    return dict(suggest(trial, driver.space))


def test_another_run_of_the_same_settings_proposes_the_same(driver_of: Opener) -> None:
    one, two = driver_of(name="one"), driver_of(name="two")
    archs = [[wanted(driver).arch.key for _ in range(3)] for driver in (one, two)]
    assert archs[0] == archs[1]


def test_other_settings_are_refused_with_their_differences(driver_of: Opener) -> None:
    driver_of()
    message = "study 's' was made with epochs=3, got epochs=4; seed=0, got seed=1; use another"
    with pytest.raises(StudyMismatch, match=message):
        driver_of(seed=1, epochs=4)
    driver_of()


def test_a_study_that_was_left_half_made_is_made_anew(driver_of: Opener) -> None:
    storage = open_storage(driver_of(name="other").store)
    optuna.create_study(study_name="s", storage=storage)
    driver = driver_of()
    assert [d.name for d in driver.optuna_study.directions] == ["MAXIMIZE", "MINIMIZE"]
    assert driver.optuna_study.metric_names == ["dice", "params"]
    assert driver.optuna_study.user_attrs["revision"] == "r1"


def test_a_study_of_somebody_else_is_refused(driver_of: Opener) -> None:
    storage = open_storage(driver_of(name="other").store)
    optuna.create_study(study_name="s", storage=storage).ask()
    with pytest.raises(InvalidInput, match="study 's' was not made by `nas search`; use another"):
        driver_of()


TIMED = {"objectives": ("dice", "latency")}


def test_a_latency_that_is_known_for_the_rig_is_handed_out(driver_of: Opener) -> None:
    driver = driver_of(**TIMED)
    enqueue(driver, point(8), point(4))
    driver.store.add_latency(decode(point(8)).key, 32, latency(5.0))
    driver.store.add_latency(decode(point(4)).key, 32, latency(5.0, rig="another"))
    assert wanted(driver).latency == latency(5.0)
    assert wanted(driver).latency is None


def test_a_training_without_latency_is_handed_out_to_be_timed_only(driver_of: Opener) -> None:
    untimed = driver_of(name="other")
    enqueue(untimed, point(8))
    source = train(untimed, 0.75)
    driver = driver_of(trials=1, **TIMED)
    enqueue(driver, point(8))
    proposal = wanted(driver)
    assert proposal.known is not None
    assert proposal.known.evaluation == evaluation(source, 0.75)
    driver.record(proposal, evaluation(proposal, 0.75, latency=latency(5.0)), {})
    assert told(driver)[0].values == [0.75, 5.0]
    assert states(driver) == {"reused": 1}
    assert driver.ended
    known = driver.store.evaluation(proposal.arch.key, driver.recipe_key)
    assert known is not None
    assert known.study == "other", "it stays the training of the study that trained it"
    assert driver.store.latency(proposal.arch.key, 32, "this-rig") == latency(5.0)


def test_a_measured_latency_is_not_asked_for_twice(driver_of: Opener) -> None:
    driver = driver_of(**TIMED)
    enqueue(driver, point(8), point(8, idle=10))
    train(driver, latency=latency(5.0))
    assert driver.propose() is None
    assert [t.values for t in told(driver)] == [[0.5, 5.0]] * 2


def test_what_was_measured_to_be_too_slow_is_infeasible(driver_of: Opener) -> None:
    settings = {"constraints": ("latency<=4ms", "params<=1M")}
    driver = driver_of(**settings)
    enqueue(driver, point(8), point(8, idle=10), point(8, idle=20))
    proposal = wanted(driver)
    driver.propose()
    driver.reject(proposal, latency(5.0))
    assert driver.propose() is None, "the third is known to be too slow"
    assert states(driver) == {"infeasible": 3}
    for trial in told(driver):
        assert trial.constraints["latency"] == pytest.approx(0.25)
        assert trial.user_attrs["reason"] == "latency is 5 ms, the limit 4 ms"
    assert not driver.ended


def test_every_told_trial_names_every_constraint(driver_of: Opener) -> None:
    bound = (params(4) + params(8)) / 2
    driver = driver_of(constraints=("latency<=4ms", f"params<={bound / 1e3}k"))
    enqueue(driver, point(8), point(4))
    assert driver.propose() is None
    train(driver, latency=latency(3.0))
    expected = [{"latency": 0.0}, {"latency": pytest.approx(-0.25)}]
    for trial, values, width in zip(told(driver), expected, (8, 4), strict=True):
        excess = pytest.approx(params(width) / bound - 1)
        assert trial.constraints == {**values, "params": excess}


def test_trials_in_training_are_not_lost_by_a_larger_total(driver_of: Opener) -> None:
    dead = driver_of(trials=1)
    left = wanted(dead)
    driver = driver_of(trials=1)
    assert not driver.finished
    assert wanted(driver).number == left.number
    assert driver.finished


def test_known_cost_wastes_no_proposal(driver_of: Opener) -> None:
    limit = f"params<={params(8, 3) / 1e3}k"
    driver = driver_of(trials=6, sampler="known-cost", constraints=(limit,))
    trained = {train(driver, dice=0.5 + 0.01 * i).arch.key for i in range(6)}
    assert trained == {decode(point(w, d)).key for w in (4, 8) for d in (1, 2, 3)}
    assert states(driver) == {"complete": 6}
    assert driver.proposals == 6


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_study_goes_on_with_the_sampler_that_it_was_made_with(
    driver_of: Opener, sampler: str
) -> None:
    for trials in (2, 4):
        driver = driver_of(trials=trials, sampler=sampler)
        while not driver.finished:
            train(driver)
    assert states(driver)["complete"] == 4
