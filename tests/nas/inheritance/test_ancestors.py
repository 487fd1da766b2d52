"""Who inherits in a study, and that only full trainings from scratch come to its front."""

from collections.abc import Callable

import numpy as np
import pytest
from optuna.trial import FrozenTrial, TrialState

from nas.evaluation import Evaluation
from nas.handle import StudyHandle
from nas.inheritance.lineage import Parent, lineage
from nas.inheritance.nearest import nearest, overlap
from nas.records import count_states
from nas.sampler.history import read_history
from nas.study import Proposal, StudyDriver
from search_spaces.core.network import build
from tests.nas.searches import SPACE, decode, enqueue, evaluation, point, wanted

Opener = Callable[..., StudyDriver]


def told(driver: StudyDriver) -> list[FrozenTrial]:
    return driver.optuna_study.get_trials()


def handle(driver: StudyDriver) -> StudyHandle:
    return StudyHandle(driver.store, driver.study.name)


def states(driver: StudyDriver) -> dict[str, int]:
    return {name: n for name, n in count_states(handle(driver).trials()).items() if n}


def measured(driver: StudyDriver, proposal: Proposal, dice: float) -> Evaluation:
    """What a worker measures, and the weights that it leaves; a third of three epochs is one."""
    recipe, parent = driver.recipe_key, proposal.parent
    name = f"{proposal.arch.key}-{parent.key(recipe) if parent else recipe}.safetensors"
    driver.store.path("weights", name).touch()
    if parent is None:
        return evaluation(proposal, dice, weights=name)
    past = {"parent": parent.weights, "ancestor_steps": parent.lineage_steps}
    return evaluation(proposal, dice, weights=name, epochs=1, best_epoch=1, steps=20, **past)


def train(driver: StudyDriver, dice: float) -> Proposal:
    proposal = wanted(driver)
    driver.record(proposal, measured(driver, proposal, dice), {})
    return proposal


@pytest.fixture
def heir_of(driver_of: Opener) -> Callable[..., StudyDriver]:
    """A study with one full training, and a child of it that waits."""

    def opened(**settings: object) -> StudyDriver:
        driver = driver_of(inherit=True, trials=2, **settings)
        enqueue(driver, point(8), point(8, depth=2))
        train(driver, 0.5)
        return driver

    return opened


def test_the_first_is_trained_in_full_and_the_next_begins_with_its_weights(
    driver_of: Opener,
) -> None:
    driver = driver_of(inherit=True)
    enqueue(driver, point(8), point(8, depth=2))
    first = train(driver, 0.5)
    assert first.parent is None
    second = wanted(driver)
    weights = f"{first.arch.key}-{driver.recipe_key}.safetensors"
    assert second.parent == Parent(first.arch, weights, 60)


def test_without_the_setting_nobody_inherits(driver_of: Opener) -> None:
    driver = driver_of()
    enqueue(driver, point(8), point(8, depth=2))
    train(driver, 0.5)
    assert wanted(driver).parent is None
    assert "parent" not in told(driver)[1].user_attrs


def test_a_beaten_heir_ends_there_and_never_comes_to_the_front(heir_of: Opener) -> None:
    driver = heir_of()
    train(driver, 0.4)  # worse and larger than the first
    assert states(driver) == {"complete": 1, "inherited": 1}
    assert driver.ended
    child = handle(driver).trial(1)
    parent = decode(point(8)).key
    params = child.costs["params"]
    assert child.reason == (
        f"dice 0.4, params {params:.4g} after 1 epochs with the weights of arch {parent}"
    )
    assert told(driver)[1].state == TrialState.PRUNED
    assert not child.full_budget
    assert [t.number for t in handle(driver).front()] == [0]


def test_what_no_full_training_beats_is_trained_from_scratch_and_counts_once(
    heir_of: Opener,
) -> None:
    driver = heir_of()
    heir = train(driver, 0.9)
    assert [t.number for t in handle(driver).front()] == [0], "its own score says nothing there"
    assert not driver.finished
    again = wanted(driver)
    assert (again.arch, again.parent, again.number) == (heir.arch, None, 2)
    driver.record(again, measured(driver, again, 0.6), {})
    assert driver.ended
    assert states(driver) == {"complete": 2, "inherited": 1}
    front = handle(driver).front()
    assert {(t.number, t.values["dice"], t.full_budget) for t in front} == {
        (0, 0.5, True),
        (2, 0.6, True),
    }


def test_an_heir_of_an_heir_has_the_steps_of_all(driver_of: Opener) -> None:
    driver = driver_of(inherit=True)
    enqueue(driver, point(8), point(8, depth=2), point(8, depth=3))
    train(driver, 0.5)
    second, third = train(driver, 0.4), train(driver, 0.4)
    assert second.parent is not None
    assert third.parent is not None
    assert third.parent.arch == second.arch, "the nearest"
    assert third.parent.lineage_steps == 60 + 20
    found = handle(driver).trial(2).evaluation
    assert found is not None
    assert (found.steps, found.lineage_steps) == (20, 100)
    assert lineage(found) == pytest.approx(1 + np.log(100 / 60))


def test_an_arch_is_inherited_once(heir_of: Opener) -> None:
    driver = heir_of()
    enqueue(driver, point(8, depth=2, idle=20))
    train(driver, 0.4)
    assert driver.propose() is None
    assert states(driver) == {"complete": 1, "inherited": 2}
    assert driver.ledger.counted == 2


def test_a_twin_in_training_is_told_with_it(heir_of: Opener) -> None:
    driver = heir_of()
    enqueue(driver, point(8, depth=2, idle=20))
    proposal = wanted(driver)
    assert driver.propose() is None
    driver.record(proposal, measured(driver, proposal, 0.4), {})
    assert states(driver) == {"complete": 1, "inherited": 2}
    assert driver.ledger.counted == 2


def test_published_networks_are_trained_in_full(driver_of: Opener) -> None:
    driver = driver_of(inherit=True, baselines=True)
    assert [train(driver, 0.5).parent for _ in range(3)] == [None] * 3


def test_a_stranger_is_trained_in_full(driver_of: Opener) -> None:
    driver = driver_of(inherit=True)
    enqueue(driver, point(4), point(12))
    train(driver, 0.5)
    assert wanted(driver).parent is None


def test_weights_that_are_gone_are_not_inherited(heir_of: Opener) -> None:
    driver = heir_of()
    for file in (driver.store.folder / "weights").iterdir():
        file.unlink()
    assert wanted(driver).parent is None


def test_a_killed_heir_begins_again_with_the_same_parent(
    heir_of: Opener, driver_of: Opener
) -> None:
    dead = heir_of()
    before = wanted(dead)
    enqueue(dead, point(8, depth=3))
    closer = dead.propose()
    assert closer is not None
    dead.record(closer, measured(dead, closer, 0.45), {})
    driver = driver_of(inherit=True, trials=2)
    after = wanted(driver)
    assert (after.number, after.parent) == (before.number, before.parent)
    share = overlap(after.arch, closer.arch)
    assert share > overlap(after.arch, decode(point(8))), "though a nearer one has ended"


def test_an_heir_that_was_measured_but_not_told_is_told(heir_of: Opener, driver_of: Opener) -> None:
    dead = heir_of()
    heir = wanted(dead)
    assert heir.parent is not None
    found = measured(dead, heir, 0.9)
    dead.store.add_evaluation(found, heir.parent.key(dead.recipe_key), "s", heir.number)
    dead.ancestors.counts(heir.trial, found)  # it waits already, the telling did not come
    driver = driver_of(inherit=True, trials=2)
    assert driver.propose() is None
    assert states(driver) == {"complete": 1, "inherited": 1}
    waiting = [t for t in told(driver) if t.state == TrialState.WAITING]
    assert len(waiting) == 1
    assert wanted(driver).parent is None


def test_the_sampler_is_told_inherited_values_with_their_lineage(heir_of: Opener) -> None:
    driver = heir_of()
    train(driver, 0.9)
    again = wanted(driver)
    driver.record(again, measured(driver, again, 0.6), {})
    history = read_history(
        driver.optuna_study, lambda p: driver.space.arch(p).key, list(SPACE.dimensions), -1
    )
    assert history.complete.values[:, 0].tolist() == [0.5, 0.6]
    assert history.told.values[:, 0].tolist() == [0.5, 0.9, 0.6]
    past = 1 + np.log(80 / 60)
    assert history.lineage.tolist() == pytest.approx([0.0, past, 0.0])
    assert [p["depth"] for p in history.told.points] == [1, 2, 2]


def test_without_inheritance_a_sampler_is_told_what_is_complete(driver_of: Opener) -> None:
    driver = driver_of()
    enqueue(driver, point(8), point(8, depth=2))
    train(driver, 0.5)
    train(driver, 0.6)
    history = read_history(
        driver.optuna_study, lambda p: driver.space.arch(p).key, list(SPACE.dimensions), -1
    )
    assert history.told.points == history.complete.points
    assert np.array_equal(history.told.values, history.complete.values)
    assert not history.lineage.any()


def test_the_overlap_is_the_share_of_parameters_with_a_namesake() -> None:
    one, deeper = decode(point(8)), decode(point(8, depth=2))
    counts = [sum(p.numel() for p in build(arch).parameters()) for arch in (one, deeper)]
    assert overlap(one, one) == 1
    assert overlap(one, deeper) == 1
    assert overlap(deeper, one) == pytest.approx(counts[0] / counts[1])
    others = [decode(point(4)), one, decode(point(12))]
    assert nearest(deeper, others) == (1, pytest.approx(counts[0] / counts[1]))
