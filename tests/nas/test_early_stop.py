"""What is kept of rungs, and what follows from it, in a study without training."""

from collections.abc import Callable

import pytest
from optuna.trial import TrialState

from nas.handle import StudyHandle
from nas.study import Proposal, StudyDriver
from tests.nas.searches import enqueue, evaluation, point, wanted

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
    driver.record(first, evaluation(first, 0.7), {"worker": 1, "began": 0, "ended": 1})
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


def test_another_rule_is_another_study(driver_of: Opener) -> None:
    driver_of()
    with pytest.raises(ValueError, match="made with fidelity='none', got fidelity='mo-asha'"):
        driver_of(fidelity="mo-asha")


@pytest.mark.parametrize(("sign", "stopped"), [(1, True), (-1, False)])
def test_a_rung_that_foretells_nothing_stops_nobody(
    driver_of: Opener, monkeypatch: pytest.MonkeyPatch, sign: int, stopped: bool
) -> None:
    monkeypatch.setattr("nas.rungs.ENOUGH", 4)
    driver = driver_of(trials=9, fidelity="mo-asha")
    enqueue(driver, *(point(width, depth) for width in (4, 8, 12) for depth in (2, 3)))
    for i in range(4):  # each has the lowest loss so far
        proposal, goes_on = reach(driver, 0.9 - 0.01 * i)
        assert goes_on
        work = {"worker": 1, "began": 0, "ended": 1}
        driver.record(proposal, evaluation(proposal, 0.5 + sign * 0.01 * i), work)
    assert [reach(driver, loss)[1] for loss in (0.1, 2.0)] == [True, not stopped]
    (rung,) = handle(driver).rungs()
    assert rung.foresight == pytest.approx(sign)
    assert ("nobody is stopped there any more" in str(rung)) is not stopped
