"""What is kept of rungs, and what follows from it, in a study without training."""

import json
from collections.abc import Callable, Sequence

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState

from nas.fidelity.ceiling import two_seeds
from nas.fidelity.early_stop import EarlyStop
from nas.handle import StudyHandle
from nas.objectives import find_objectives
from nas.study import Proposal, StudyDriver
from tests.nas.searches import SPACE, WORK, enqueue, evaluation, point, train, wanted

Opener = Callable[..., StudyDriver]

RUNG = 1  # of three epochs


def handle(driver: StudyDriver) -> StudyHandle:
    return StudyHandle(driver.store, driver.study.name)


def reach(driver: StudyDriver, loss: float) -> tuple[Proposal, bool]:
    """Bring the next candidate to the rung, as a search does."""
    proposal = wanted(driver)
    assert driver.early_stop.ahead(proposal.trial) == [RUNG]
    goes_on = driver.early_stop.goes_on(proposal.trial, RUNG, loss)
    if not goes_on:
        driver.stop(proposal, RUNG)
    return proposal, goes_on


def to_key(driver: StudyDriver, values: dict[str, int]) -> str:
    return SPACE.arch(values, driver.prepared.in_channels, driver.prepared.classes).key


def test_without_a_rule_there_are_no_rungs(driver_of: Opener) -> None:
    driver = driver_of()
    assert driver.early_stop.ahead(wanted(driver).trial) == []
    assert handle(driver).rungs() == []


def test_a_candidate_that_is_beaten_at_a_rung_is_pruned_and_counts(driver_of: Opener) -> None:
    driver = driver_of(trials=2, fidelity="mo-asha")
    enqueue(driver, point(4, 2), point(8, 2))
    first, goes_on = reach(driver, 0.5)
    assert goes_on
    _, goes_on = reach(driver, 0.6)
    assert not goes_on
    driver.record(first, evaluation(first, 0.7), WORK)
    assert driver.ended
    complete, stopped = handle(driver).trials()
    assert (complete.state, stopped.state) == ("complete", "stopped")
    assert stopped.reason == "not in the better half after 1 of 3 epochs"
    assert driver.optuna_study.get_trials()[1].state == TrialState.PRUNED
    assert [t.number for t in handle(driver).front()] == [0]
    (rung,) = handle(driver).rungs()
    assert (rung.epoch, rung.reached, rung.stopped, rung.foresight) == (RUNG, 2, 1, None)


def test_a_cheaper_candidate_with_a_worse_loss_goes_on(driver_of: Opener) -> None:
    """With three at the rung two go on: the best loss, and the cheapest of the front."""
    driver = driver_of(fidelity="mo-asha")
    enqueue(driver, point(12, 2), point(8, 2), point(4, 2))
    assert [reach(driver, loss)[1] for loss in (0.5, 0.55, 0.6)] == [True, False, True]


def test_latency_is_not_known_at_a_rung_and_multiply_adds_stand_for_it(driver_of: Opener) -> None:
    driver = driver_of(fidelity="mo-asha", objectives=("dice", "latency"))
    enqueue(driver, point(12, 2), point(8, 2), point(4, 2))
    assert [reach(driver, loss)[1] for loss in (0.5, 0.55, 0.6)] == [True, False, True]


def test_published_networks_are_never_stopped(driver_of: Opener) -> None:
    driver = driver_of(fidelity="mo-asha", baselines=True)
    assert [reach(driver, loss)[1] for loss in (0.5, 0.6, 0.7)] == [True] * 3


def test_a_continued_search_knows_what_reached_a_rung(driver_of: Opener) -> None:
    driver = driver_of(fidelity="mo-asha")
    enqueue(driver, point(4, 2), point(8, 2))
    running, _ = reach(driver, 0.5)
    again = driver_of(fidelity="mo-asha")
    taken_up = wanted(again)
    assert taken_up.number == running.number
    assert again.early_stop.ahead(taken_up.trial) == []
    assert not reach(again, 0.6)[1]


def test_a_paused_candidate_is_resumed_when_it_has_come_into_the_better_half(
    driver_of: Opener,
) -> None:
    """Of three the better half is two; the second is in it, and only the first went on."""
    driver = driver_of(trials=3, fidelity="mo-asha")
    enqueue(driver, point(4, 2), point(8, 2), point(12, 2))
    first, _ = reach(driver, 0.5)
    assert not reach(driver, 0.6)[1]
    assert not reach(driver, 0.7)[1]
    driver.record(first, evaluation(first, 0.7), WORK)
    assert driver.ended, "a resumed candidate has counted already"
    again = driver_of(trials=4, fidelity="mo-asha")  # also after a restart
    resumed = wanted(again)
    assert (resumed.number, resumed.arch.key) == (3, to_key(again, point(8, 2)))
    assert again.early_stop.ahead(resumed.trial) == [], "it goes on behind the rung"
    again.record(resumed, evaluation(resumed, 0.8), WORK)
    assert handle(again).counted == 3
    assert [t.state for t in handle(again).trials()] == [
        "complete",
        "stopped",
        "stopped",
        "complete",
    ]
    (rung,) = handle(again).rungs()
    assert (rung.reached, rung.stopped) == (3, 1)


def test_a_stop_that_was_decided_is_told_by_the_next_driver(driver_of: Opener) -> None:
    driver = driver_of(fidelity="mo-asha")
    enqueue(driver, point(4, 2), point(8, 2))
    reach(driver, 0.5)
    beaten = wanted(driver)
    assert not driver.early_stop.goes_on(beaten.trial, RUNG, 0.6)  # and then a kill
    again = driver_of(fidelity="mo-asha")
    enqueue(again, point(12, 2))
    assert wanted(again).number == 0
    assert wanted(again).number == 2
    told = handle(again).trials()[1]
    assert (told.state, told.reason) == ("stopped", "not in the better half after 1 of 3 epochs")
    assert handle(again).counted == 1


def test_a_rung_without_a_decision_is_decided_by_the_next_driver(driver_of: Opener) -> None:
    driver = driver_of(fidelity="mo-asha")
    enqueue(driver, point(4, 2), point(8, 2))
    reach(driver, 0.5)
    wanted(driver).trial.set_user_attr("rungs", {str(RUNG): [0.6, None]})
    again = driver_of(fidelity="mo-asha")
    assert wanted(again).number == 0
    assert not reach(again, 0.6)[1]


def test_another_rule_is_another_study(driver_of: Opener) -> None:
    driver_of()
    with pytest.raises(ValueError, match="made with fidelity='none', got fidelity='mo-asha'"):
        driver_of(fidelity="mo-asha")


@pytest.mark.parametrize(("sign", "stopped"), [(1, True), (-1, False)])
def test_a_rung_that_foretells_nothing_stops_nobody(
    driver_of: Opener, monkeypatch: pytest.MonkeyPatch, sign: int, stopped: bool
) -> None:
    monkeypatch.setattr("nas.fidelity.rungs.ENOUGH", 4)
    driver = driver_of(trials=9, fidelity="mo-asha")
    enqueue(driver, *(point(width, depth) for width in (4, 8, 12) for depth in (2, 3)))
    for i in range(4):  # each has the lowest loss so far
        proposal, goes_on = reach(driver, 0.9 - 0.01 * i)
        assert goes_on
        driver.record(proposal, evaluation(proposal, 0.5 + sign * 0.01 * i), WORK)
    assert [reach(driver, loss)[1] for loss in (0.1, 2.0)] == [True, not stopped]
    (rung,) = handle(driver).rungs()
    assert rung.foresight == pytest.approx(sign)
    off = "early stopping after epoch 1: 0 of 5 stopped; Spearman with the final Dice -1.00, "
    off += "ceiling of two seeds unknown, so nobody is stopped there any more"
    told = [line for line in driver.ledger.lines if line.startswith("early stopping")]
    assert told == ([] if stopped else [off]), "it is told once"


def test_the_ceiling_is_the_agreement_of_two_seeds_of_the_same_archs(
    driver_of: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ranks 1 2 3 4 and 2 1 3 4: Spearman's correlation is 1 - 6 * 2 / 60 = 0.8."""
    monkeypatch.setattr("nas.fidelity.ceiling.ENOUGH", 4)
    points = [point(width, depth) for width in (4, 8) for depth in (2, 3)]
    studies = {
        "s": (0, (0.5, 0.6, 0.7, 0.8)),
        "other": (1, (0.6, 0.5, 0.7, 0.8)),
        "longer": (2, (0.8, 0.7, 0.6, 0.5)),
    }
    for name, (seed, scores) in studies.items():
        epochs = 4 if name == "longer" else 3  # another budget is another score
        driver = driver_of(name=name, seed=seed, fidelity="mo-asha", epochs=epochs)
        enqueue(driver, *points)
        for score in scores:
            train(driver, score)
    assert handle(driver_of(fidelity="mo-asha")).rungs()[0].ceiling == pytest.approx(0.8)
    assert two_seeds(driver.store, "longer") is None


def test_with_a_model_the_most_promising_of_all_that_wait_goes_on_one_in_two(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("nas.fidelity.early_stop.ENOUGH", 0)
    study = optuna.create_study(directions=["maximize", "minimize"])
    objectives = find_objectives(["dice", "params"])

    def promise(waiting: Sequence[FrozenTrial]) -> list[float]:
        return [trial.params["promise"] for trial in waiting]

    rule = EarlyStop(study, objectives, [RUNG], gains=promise)
    happened = []
    for value in (0.1, 0.5, 0.2, 0.9, 0.3, 0.0, 0.95):
        trial = study.ask()
        trial.suggest_float("promise", value, value)
        trial.set_user_attr("evaluation", json.dumps({"dice": value}))
        if goes_on := rule.goes_on(trial, RUNG, 1.0):
            study.tell(trial, [0.5, 1.0])
        else:
            study.tell(trial, state=TrialState.PRUNED)
        resumed = study.get_trials(states=[TrialState.WAITING])
        happened.append((goes_on, [t.system_attrs["fixed_params"]["promise"] for t in resumed]))
        for _ in resumed:
            again = study.ask()
            again.suggest_float("promise", 0, 1)
            assert rule.ahead(again) == []
            again.set_user_attr("evaluation", json.dumps({"dice": 0.5}))
            study.tell(again, [0.5, 1.0])
    assert happened == [
        (True, []),
        (False, []),
        (False, [0.5]),
        (False, []),
        (False, [0.9]),
        (False, []),
        (True, []),
    ]
    assert [(r.reached, r.stopped) for r in rule.rungs()] == [(7, 3)]
