"""One training from arch to evaluation: the same to the bit, also when it is cut in two."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from nas import evaluate as evaluate_module
from nas.data import Data, DataSpec, Prepared, open_data, prepare
from nas.evaluate import Candidate, evaluate
from nas.evaluation import Evaluation
from nas.inheritance.lineage import Parent, short_epochs
from nas.losses import LOSSES
from nas.recipes import RECIPES, find_recipe
from nas.score import score
from nas.settings import Study
from nas.slot import DeviceSlot
from nas.task import Task, TrainingFailed
from search_spaces.core.network import build
from tests.commands import write_images
from tests.nas.searches import costs_of, decode, point

ARCH = replace(decode(point(4)), in_channels=1)  # grey images
EPOCHS = 2
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """An epoch has four steps in place of twenty."""
    monkeypatch.setattr("nas.recipes._MIN_STEPS", 4)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    folder = tmp_path_factory.mktemp("images")
    write_images(folder, 12)
    return prepare(DataSpec(str(folder), 32), folder / "cache", seed=0)


@pytest.fixture(scope="module")
def data(prepared: Prepared) -> Data:
    return open_data(prepared, CPU)


def task_in(folder: Path, prepared: Prepared, *, seed: int = 0, timed: bool = False) -> Task:
    study = Study(
        name="s",
        space="ultralight",
        objectives=("dice",),
        size=32,
        epochs=EPOCHS,
        seed=seed,
        recipe="ultralight",
    )
    for name in ("weights", "checkpoints"):
        (folder / name).mkdir(parents=True)
    return Task(study, prepared, str(folder / "weights"), str(folder / "checkpoints"), timed)


def weights(task: Task) -> dict[str, torch.Tensor]:
    (path,) = Path(task.weights).iterdir()
    return load_file(path)


def equal(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> bool:
    return one.keys() == two.keys() and all(torch.equal(one[k], two[k]) for k in one)


def test_the_same_task_and_arch_give_the_same_bits(
    tmp_path: Path, prepared: Prepared, data: Data
) -> None:
    tasks = [task_in(tmp_path / name, prepared) for name in ("a", "b")]
    torch.manual_seed(1)
    one = evaluate(tasks[0], ARCH, costs_of(ARCH), data)
    torch.manual_seed(2)  # what happened before does not matter
    two = evaluate(tasks[1], ARCH, costs_of(ARCH), open_data(prepared, CPU))
    assert equal(weights(tasks[0]), weights(tasks[1]))
    assert replace(one, train_seconds=0.0) == replace(two, train_seconds=0.0)


def test_another_seed_gives_other_weights(tmp_path: Path, prepared: Prepared, data: Data) -> None:
    tasks = [task_in(tmp_path / str(seed), prepared, seed=seed) for seed in (0, 1)]
    found = [evaluate(task, ARCH, costs_of(ARCH), data) for task in tasks]
    assert not equal(weights(tasks[0]), weights(tasks[1]))
    assert found[0].weights != found[1].weights
    assert found[0].seed != found[1].seed


@pytest.mark.parametrize("ema", [None, 0.9])
def test_a_training_cut_in_two_ends_as_one_in_one_piece(
    tmp_path: Path,
    prepared: Prepared,
    data: Data,
    monkeypatch: pytest.MonkeyPatch,
    ema: float | None,
) -> None:
    recipe = replace(find_recipe("ultralight"), ema=ema)
    monkeypatch.setattr(evaluate_module, "find_recipe", lambda name: recipe)
    whole, cut = task_in(tmp_path / "whole", prepared), task_in(tmp_path / "cut", prepared)
    candidate = Candidate(whole, ARCH, costs_of(ARCH), data)
    while not candidate.done:
        candidate.run_epoch()
    expected = candidate.finish()
    first = Candidate(cut, ARCH, costs_of(ARCH), data)
    first.run_epoch()
    first.close()
    torch.manual_seed(9)
    second = Candidate(cut, ARCH, costs_of(ARCH), open_data(prepared, CPU))
    assert second.training.epoch == 1
    while not second.done:
        second.run_epoch()
    assert equal(weights_of(second), weights_of(candidate))
    assert equal(second.training.scored.state_dict(), candidate.training.scored.state_dict())
    assert replace(second.finish(), train_seconds=0.0) == replace(expected, train_seconds=0.0)
    assert equal(weights(cut), weights(whole))
    curves = [[asdict(e) | {"seconds": 0} for e in c.training.curve] for c in (candidate, second)]
    assert len(curves[0]) == EPOCHS
    assert curves[0] == curves[1]
    second.close()
    candidate.close()


def weights_of(candidate: Candidate) -> dict[str, torch.Tensor]:
    """Return the last weights, which are not those of the best epoch."""
    return dict(candidate.training.net.state_dict())


def test_an_evaluation_says_what_was_trained(
    tmp_path: Path, prepared: Prepared, data: Data
) -> None:
    task = task_in(tmp_path, prepared)
    found = evaluate(task, ARCH, costs_of(ARCH), data)
    assert (found.epochs, found.full_epochs, found.full_budget) == (EPOCHS, EPOCHS, True)
    assert found.steps == EPOCHS * RECIPES["ultralight"].steps_per_epoch(len(data.train))
    assert found.arch_key == ARCH.key
    assert found.params == sum(p.numel() for p in build(ARCH).parameters())
    assert found.latency is None
    assert found.weights == next(Path(task.weights).iterdir()).name


def test_weights_load_into_the_arch_and_give_the_reported_scores(
    tmp_path: Path, prepared: Prepared, data: Data
) -> None:
    task = task_in(tmp_path, prepared)
    found = evaluate(task, ARCH, costs_of(ARCH), data)
    net = build(ARCH)
    net.load_state_dict(weights(task))
    with DeviceSlot(CPU, tmp_path) as slot:
        again = score(net, data.val, prepared, LOSSES[RECIPES["ultralight"].loss], slot)
    assert (again.dice, again.iou) == (found.dice, found.iou)


def test_a_loss_that_leaves_the_numbers_fails_the_training(
    tmp_path: Path, prepared: Prepared, data: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    wild = replace(find_recipe("ultralight"), lr=1e30)
    monkeypatch.setattr(evaluate_module, "find_recipe", lambda name: wild)
    task = task_in(tmp_path, prepared)
    with pytest.raises(TrainingFailed, match=r"loss is (nan|inf) in epoch [12]"):
        evaluate(task, ARCH, costs_of(ARCH), data)
    assert not list(Path(task.weights).iterdir())


def test_latency_is_measured_when_asked_for_and_only_once(
    tmp_path: Path, prepared: Prepared, data: Data
) -> None:
    candidate = Candidate(task_in(tmp_path, prepared, timed=True), ARCH, costs_of(ARCH), data)
    latency = candidate.latency()
    assert latency.latency_ms > 0
    while not candidate.done:
        candidate.run_epoch()
    assert candidate.finish().latency is latency
    candidate.close()


def test_a_task_survives_json(tmp_path: Path, prepared: Prepared) -> None:
    task = task_in(tmp_path, prepared, timed=True)
    assert Task.from_json(json.loads(json.dumps(task.to_json()))) == task


def test_an_evaluation_of_an_older_version_has_no_dice_per_class() -> None:
    made = Evaluation("k", 0.5, 0.4, 1, 2, 3.0, None, 1, 1, 1, 20, 1.0, 0, "w", (0.4, 0.6))
    stored = json.loads(json.dumps(made.to_json()))
    assert Evaluation.from_json(stored) == made
    del stored["dice_per_class"]
    assert Evaluation.from_json(stored) == replace(made, dice_per_class=())


def parent_in(task: Task, data: Data) -> Parent:
    """Return the arch, trained in full; its statistics and weights are its own."""
    found = evaluate(task, ARCH, costs_of(ARCH), data)
    return Parent(ARCH, found.weights, found.lineage_steps)


HEIR = replace(decode(point(4, depth=2)), in_channels=1)


def test_an_heir_begins_with_the_function_of_its_parent(
    tmp_path: Path, prepared: Prepared, data: Data
) -> None:
    task = task_in(tmp_path, prepared)
    parent = parent_in(task, data)
    candidate = Candidate(task, HEIR, costs_of(HEIR), data, parent=parent)
    net = build(ARCH)
    net.load_state_dict(load_file(Path(task.weights) / parent.weights))
    x = data.val.images[:, :1].float() / 255
    with torch.no_grad():
        old, new = net.eval()(x), candidate.training.net.eval()(x)
    torch.testing.assert_close(new, old, rtol=0, atol=1e-5)
    candidate.close()


def test_an_heir_has_a_third_of_the_plan_and_never_the_full_budget(
    tmp_path: Path, prepared: Prepared, data: Data
) -> None:
    task = task_in(tmp_path, prepared)
    parent = parent_in(task, data)
    found = evaluate(task, HEIR, costs_of(HEIR), data, parent)
    assert (found.epochs, found.full_epochs, found.full_budget) == (1, EPOCHS, False)
    assert found.steps == RECIPES["ultralight"].steps_per_epoch(len(data.train))
    assert found.lineage_steps == 3 * found.steps  # two epochs of the parent, one of its own
    assert found.parent == parent.weights
    stored = json.loads(json.dumps(found.to_json()))
    assert Evaluation.from_json(stored) == found
    full = evaluate(task, HEIR, costs_of(HEIR), data)
    assert full.full_budget
    assert full.weights != found.weights
    assert len(list(Path(task.weights).iterdir())) == 3


def test_the_peak_rate_of_an_heir_is_a_third(
    tmp_path: Path, prepared: Prepared, data: Data
) -> None:
    task = task_in(tmp_path, prepared)
    parents = (None, parent_in(task, data))
    rates = []
    for parent in parents:
        candidate = Candidate(task, HEIR, costs_of(HEIR), data, parent=parent)
        rates.append(candidate.training.optimizer.param_groups[0]["lr"])
        candidate.close()
    assert rates[1] == pytest.approx(rates[0] / 3)
    assert [short_epochs(n) for n in (1, 2, 3, 12, 40)] == [1, 1, 1, 4, 14]


def test_an_heir_cut_in_two_ends_as_one_in_one_piece(
    tmp_path: Path, prepared: Prepared, data: Data
) -> None:
    tasks = [task_in(tmp_path / name, prepared) for name in ("whole", "cut")]
    tasks = [replace(task, study=replace(task.study, epochs=4)) for task in tasks]
    parents = [parent_in(task, data) for task in tasks]
    expected = evaluate(tasks[0], HEIR, costs_of(HEIR), data, parents[0])
    assert expected.epochs == 2
    for epochs in (0, 1):  # killed before its first epoch, and after it
        first = Candidate(tasks[1], HEIR, costs_of(HEIR), data, parent=parents[1])
        for _ in range(epochs):
            first.run_epoch()
        first.close()
    torch.manual_seed(9)
    found = evaluate(tasks[1], HEIR, costs_of(HEIR), open_data(prepared, CPU), parents[1])
    assert replace(found, train_seconds=0.0) == replace(expected, train_seconds=0.0)
    files = [load_file(Path(task.weights) / expected.weights) for task in tasks]
    assert equal(*files)


def test_a_parent_survives_json() -> None:
    parent = Parent(ARCH, "a.safetensors", 60)
    assert Parent.from_json(json.loads(json.dumps(parent.to_json()))) == parent
    keys = {parent.key("r"), parent.key("s"), replace(parent, weights="b").key("r")}
    assert len(keys) == 3
