"""A study, read: its front, its trials, its networks."""

from collections.abc import Callable

import optuna
import pytest
import torch
from safetensors.torch import save_file

from nas.handle import StudyHandle, open_storage, open_study, study_names
from nas.objectives import parse_limit
from nas.study import StudyDriver
from primitives.core.errors import InvalidInput
from search_spaces.core.network import build
from tests.nas.searches import decode, enqueue, evaluation, latency, point, train, wanted

Opener = Callable[..., StudyDriver]


def numbers(handle: StudyHandle, *under: str) -> list[int]:
    return [t.number for t in handle.front([parse_limit(text, "=") for text in under])]


def handle(driver: StudyDriver) -> StudyHandle:
    return open_study(driver.store.folder, driver.study.name)


def test_a_front_holds_what_no_other_beats(driver_of: Opener) -> None:
    driver = driver_of(trials=5)
    enqueue(driver, point(4), point(8), point(12), point(4, 2), point(8, 2))
    for dice in (0.5, 0.75, 0.75, 0.375, 0.875):  # params rise with width, then depth
        train(driver, dice)
    assert numbers(handle(driver)) == [0, 1, 4]


def test_a_front_holds_complete_trials_with_the_full_budget_alone(driver_of: Opener) -> None:
    driver = driver_of(trials=6, constraints=("params<=4k",))
    enqueue(driver, point(4), point(8), point(4, 2), point(4, 3), point(12))
    assert train(driver, 0.5, epochs=3).number == 0
    train(driver, 0.99, epochs=2)  # stopped
    driver.fail(wanted(driver), "it died")
    wanted(driver)  # running
    assert driver.propose() is None  # infeasible
    states = [t.state for t in handle(driver).trials()]
    assert states == ["complete", "stopped", "failed", "running", "infeasible"]
    assert numbers(handle(driver)) == [0]


def test_a_front_names_an_arch_once(driver_of: Opener) -> None:
    driver = driver_of()
    enqueue(driver, point(8), point(8, idle=10))
    train(driver)
    driver.propose()
    assert [t.state for t in handle(driver).trials()] == ["complete", "reused"]
    assert numbers(handle(driver)) == [0]


def test_a_reused_training_is_on_the_front(driver_of: Opener) -> None:
    other = driver_of(name="other")
    enqueue(other, point(8))
    train(other)
    driver = driver_of()
    enqueue(driver, point(8))
    driver.propose()
    assert numbers(handle(driver)) == [0]


def test_a_front_without_trials_is_empty(driver_of: Opener) -> None:
    assert handle(driver_of()).front() == []


def test_a_limit_narrows_a_front_and_brings_up_what_it_hid(driver_of: Opener) -> None:
    driver = driver_of(objectives=("dice", "latency"))
    enqueue(driver, point(4), point(8), point(12))
    train(driver, 0.5, latency=latency(6.0))
    train(driver, 0.75, latency=latency(5.0))
    train(driver, 0.625, latency=latency(5.5))
    opened = handle(driver)
    assert numbers(opened) == [1]
    params = {t.number: t.costs["params"] for t in opened.trials()}
    assert params[0] < params[1] < params[2]
    assert numbers(opened, f"params={params[0] / 1e3}k") == [0]
    assert numbers(opened, "latency=5.2ms") == [1]
    assert numbers(opened, "latency=1ms") == []


def test_a_limit_on_what_was_not_measured_is_not_met(driver_of: Opener) -> None:
    driver = driver_of()
    train(driver)
    assert numbers(handle(driver), "latency=1s") == []


def test_an_unknown_study_is_answered_with_the_nearest_name(driver_of: Opener) -> None:
    driver = driver_of(name="lesions")
    driver_of(name="other")
    message = r"one of those in .*store \(lesions, other\), got 'lesion'; did you mean 'lesions'\?"
    with pytest.raises(InvalidInput, match=message):
        open_study(driver.store.folder, "lesion")


def test_a_study_that_no_search_made_is_not_one_of_ours(driver_of: Opener) -> None:
    driver = driver_of()
    optuna.create_study(study_name="half", storage=open_storage(driver.store))
    assert study_names(driver.store) == ["s"]
    with pytest.raises(InvalidInput, match="got 'half'"):
        open_study(driver.store.folder, "half")


def test_an_unknown_trial_is_refused(driver_of: Opener) -> None:
    driver = driver_of()
    train(driver)
    assert handle(driver).trial(0).state == "complete"
    with pytest.raises(InvalidInput, match="study 's' has 1 trials, got trial 7"):
        handle(driver).trial(7)


def test_trials_that_wait_are_not_shown(driver_of: Opener) -> None:
    driver = driver_of(baselines=True)
    assert handle(driver).trials() == []


def test_a_net_comes_back_with_its_weights_in_eval_mode(driver_of: Opener) -> None:
    driver = driver_of()
    enqueue(driver, point(8))
    weights = train(driver)
    arch = decode(point(8))
    with pytest.raises(InvalidInput, match="weights of trial 0 are gone"):
        handle(driver).net(0)
    torch.manual_seed(5)
    net = build(arch)
    path = driver.store.path("weights", evaluation(weights).weights)
    save_file(net.state_dict(), path)
    found = handle(driver).net(0)
    assert not found.training
    assert all(torch.equal(a, net.state_dict()[k]) for k, a in found.state_dict().items())
    save_file({"layers of an older program": torch.zeros(1)}, path)
    with pytest.raises(InvalidInput, match="weights of trial 0 are of another version"):
        handle(driver).net(0)


def test_a_trial_without_training_has_no_weights(driver_of: Opener) -> None:
    driver = driver_of()
    wanted(driver)
    message = "only a trained trial has weights, trial 0 is running"
    with pytest.raises(InvalidInput, match=message):
        handle(driver).net(0)
