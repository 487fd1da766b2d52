"""A study's settings: JSON, what counts as the same study, and what derives from them."""

import dataclasses
import json

import pytest

from nas.recipes import RECIPES
from nas.settings import Run, Study, StudyMismatch
from primitives.core.errors import InvalidInput

STUDY = Study(
    name="a",
    space="ultralight",
    objectives=("dice", "params"),
    constraints=("params<=0.5M",),
    size=64,
    epochs=8,
    seed=3,
)


def test_settings_survive_json() -> None:
    again = Study.from_json(json.loads(json.dumps(STUDY.to_json())))
    assert again == STUDY
    assert again.objectives == ("dice", "params")
    assert hash(again) == hash(STUDY)


def test_settings_left_out_get_their_defaults() -> None:
    needed = {"name": "b", "space": "x", "objectives": ["dice"], "size": 32, "epochs": 1}
    study = Study.from_json(needed)
    assert (study.constraints, study.data, study.seed) == ((), "phantom", 0)


def test_an_unknown_setting_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(InvalidInput, match=r"no setting 'epoch'; did you mean 'epochs'\?"):
        Study.from_json({**STUDY.to_json(), "epoch": 3})


def test_equal_settings_are_the_same_study() -> None:
    STUDY.check_same(Study.from_json(STUDY.to_json()))


def test_every_changed_setting_is_listed() -> None:
    changed = dataclasses.replace(STUDY, seed=4, objectives=("dice", "macs"))
    with pytest.raises(StudyMismatch) as caught:
        changed.check_same(STUDY)
    assert str(caught.value) == (
        "study 'a' was made with objectives=('dice', 'params'), got objectives=('dice', 'macs'); "
        "seed=3, got seed=4; use another --study name"
    )
    assert isinstance(caught.value, InvalidInput)


@pytest.mark.parametrize("field", [f.name for f in dataclasses.fields(Study)])
def test_no_setting_may_change(field: str) -> None:
    with pytest.raises(StudyMismatch, match=f"{field}="):
        Study.from_json({**STUDY.to_json(), field: "other"}).check_same(STUDY)


def test_training_seeds_differ_by_arch_and_by_study_seed() -> None:
    seeds = {STUDY.seed_of(f"{i:012x}") for i in range(1000)}
    assert len(seeds) == 1000
    assert all(0 <= seed < 2**32 for seed in seeds)
    assert STUDY.seed_of("ab") == dataclasses.replace(STUDY, name="b", epochs=9).seed_of("ab")
    assert STUDY.seed_of("ab") != dataclasses.replace(STUDY, seed=4).seed_of("ab")


def test_training_seeds_of_stored_studies_stay() -> None:
    # First four bytes, big-endian, of SHA-256 of "3:54b12d9e3985".
    assert STUDY.seed_of("54b12d9e3985") == 0xEF987FFB


@pytest.mark.parametrize(
    "change",
    [{"recipe": "ultralight"}, {"epochs": 9}, {"seed": 4}, {"size": 96}, {"device": "cuda"}],
    ids=lambda change: next(iter(change)),
)
def test_evaluations_are_reused_only_under_one_recipe(change: dict[str, object]) -> None:
    key = STUDY.recipe_key("f" * 12)
    assert len(key) == 12
    assert dataclasses.replace(STUDY, **change).recipe_key("f" * 12) != key  # type: ignore[arg-type]
    assert STUDY.recipe_key("e" * 12) != key


def test_evaluations_of_an_older_version_of_a_recipe_are_not_reused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    key = STUDY.recipe_key("f" * 12)
    newer = dataclasses.replace(RECIPES["fast"], version=RECIPES["fast"].version + 1)
    monkeypatch.setitem(RECIPES, "fast", newer)  # type: ignore[arg-type]
    assert STUDY.recipe_key("f" * 12) != key


def test_evaluations_are_reused_across_samplers_and_objectives() -> None:
    other = dataclasses.replace(STUDY, name="b", sampler="random", objectives=("iou",))
    assert other.recipe_key("f" * 12) == STUDY.recipe_key("f" * 12)


def test_a_run_is_one_worker_without_limits_unless_told() -> None:
    assert Run(trials=5) == Run(
        trials=5, seconds=None, workers=1, gpus_per_trial=0.0, trial_timeout=None
    )
