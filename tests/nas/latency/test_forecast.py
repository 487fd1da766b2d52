"""Predicted latencies inside studies, without workers."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState

from nas.evaluation import Latency
from nas.handle import StudyHandle
from nas.latency import timing
from nas.latency.calibration import Calibration
from nas.latency.forecast import Forecast, choose_calibration, make_forecast, study_rig
from nas.latency.model import Accuracy, LatencyModel
from nas.latency.render import front_notes, front_rows
from nas.latency.timing import time_front
from nas.objectives import parse_limit
from nas.settings import Study
from nas.study import StudyDriver
from primitives.core.errors import InvalidInput
from search_spaces.core.arch import Arch
from tests.nas.devices import RIG
from tests.nas.searches import RIG as HERE
from tests.nas.searches import decode, enqueue, evaluation, latency, point, train, wanted

Opener = Callable[..., StudyDriver]
TIMED = {"objectives": ("dice", "latency")}
MS = {4: 10.0, 8: 20.0, 12: 40.0}  # what the models here predict for each width


class Foretold(LatencyModel):
    """Predicts by the width of the first stage."""

    def predict(self, arch: Arch) -> float:
        return MS[arch.encoder[0].width]


MODEL = Foretold(rig=RIG, size=32, table={}, kinds={}, groups={})


def forecast(*, final: bool = False, error: float = 0.1) -> Forecast:
    return Forecast(MODEL, error, final)


def infeasible(driver: StudyDriver) -> list[Any]:
    trials = driver.optuna_study.get_trials()
    return [t for t in trials if t.state == TrialState.PRUNED]


def test_the_interval_holds_every_time_within_the_error() -> None:
    # 20 ms and 10 %: measured times from 20 / 1.1 to 20 / 0.9 err by 10 % at most
    found = forecast().latency(decode(point(8)))
    assert (found.latency_ms, found.low_ms, found.high_ms) == pytest.approx(
        (20, 18.182, 22.222), 1e-4
    )
    assert found.predicted
    assert not latency(20.0).predicted


def test_clearly_slow_candidates_are_not_built_and_unclear_ones_are(driver_of: Opener) -> None:
    driver = driver_of(constraints=("latency<=19ms",), forecast=forecast(), **TIMED)
    enqueue(driver, point(12), point(8), point(4))
    first, second = wanted(driver), wanted(driver)
    assert [p.arch for p in (first, second)] == [decode(point(8)), decode(point(4))]
    assert first.latency is None, "20 ms may be 19 ms: it is measured"
    (told,) = infeasible(driver)
    assert told.user_attrs["reason"] == "predicted latency is 40 ms, the limit 19 ms"
    assert told.constraints["latency"] == pytest.approx(40 / 19 - 1)
    assert driver.store.latency(decode(point(12)).key, 32, HERE) is None


def test_what_was_measured_counts_more_than_a_prediction(driver_of: Opener) -> None:
    driver = driver_of(constraints=("latency<=19ms",), forecast=forecast(), **TIMED)
    driver.store.add_latency(decode(point(12)).key, 32, latency(15.0))
    enqueue(driver, point(12))
    proposal = wanted(driver)
    assert proposal.latency == latency(15.0)


def test_the_latency_of_another_device_is_the_predicted_one(driver_of: Opener) -> None:
    foretold = forecast(final=True)
    driver = driver_of(constraints=("latency<=21ms",), forecast=foretold, **TIMED)
    enqueue(driver, point(12), point(8))
    proposal = train(driver, 0.625)
    assert proposal.latency == foretold.latency(decode(point(8)))
    assert driver.optuna_study.get_trials()[1].values == [0.625, 20.0]
    assert len(infeasible(driver)) == 1
    rig = proposal.latency.rig
    assert driver.store.latency(proposal.arch.key, 32, rig) is None, (
        "only what was measured is kept"
    )


def test_a_training_of_another_study_is_reused_with_the_predicted_latency(
    driver_of: Opener,
) -> None:
    other = driver_of(name="other")
    enqueue(other, point(8))
    train(other, 0.5)
    driver = driver_of(forecast=forecast(final=True), **TIMED)
    enqueue(driver, point(8))
    assert driver.propose() is None
    assert driver.optuna_study.get_trials()[0].values == [0.5, 20.0]


@pytest.mark.parametrize("final", [False, True])
def test_the_sampler_never_proposes_what_is_predicted_to_be_too_slow(
    driver_of: Opener, final: bool
) -> None:
    driver = driver_of(
        trials=6,
        sampler="known-cost",
        constraints=("latency<=21ms",),
        forecast=forecast(final=final),
        **TIMED,
    )
    widths = []
    for _ in range(6):
        proposal = wanted(driver)
        ms = proposal.latency or latency(MS[proposal.arch.encoder[0].width])
        driver.record(proposal, evaluation(proposal, latency=ms), {})
        widths.append(proposal.arch.encoder[0].width)
    assert set(widths) == {4, 8}
    assert infeasible(driver) == []


def test_the_samplers_limit_leaves_room_for_the_error(driver_of: Opener) -> None:
    (limit,) = (parse_limit("latency<=19ms"),)
    assert forecast().bound(limit.bound) == pytest.approx(20.9)
    assert forecast(final=True).bound(limit.bound) == 19


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Time networks by their width, and note which."""
    timed: list[str] = []

    def measured(net: object, arch: Arch, study: Study, slot: object) -> Latency:
        timed.append(arch.key)
        if len(timed) == 2:
            raise KeyboardInterrupt
        return latency(MS[arch.encoder[0].width] * 1.05)

    monkeypatch.setattr(timing, "time_network", measured)
    return timed


def ended(driver_of: Opener) -> StudyHandle:
    driver = driver_of(trials=3, constraints=("latency<=41ms",), forecast=forecast(), **TIMED)
    enqueue(driver, point(4), point(8), point(12))
    for width, dice in ((4, 0.25), (8, 0.5), (12, 0.75)):
        train(driver, dice, latency=latency(MS[width]))
    return StudyHandle(driver.store, driver.study.name)


def test_the_front_is_timed_again_once_also_when_that_is_interrupted(
    driver_of: Opener, clock: list[str]
) -> None:
    handle = ended(driver_of)
    with pytest.raises(KeyboardInterrupt):
        time_front(handle, lambda *_: None)
    assert list(handle.timed_again()) == clock[:1]
    for _ in range(2):
        time_front(StudyHandle(handle.store, handle.name), lambda *_: None)
    assert len(clock) == 4, "one was cut short and timed anew"
    again = StudyHandle(handle.store, handle.name)
    assert set(again.timed_again()) == {t.arch.key for t in handle.front() if t.arch}
    key = decode(point(8)).key
    assert handle.store.latency(key, 32, HERE) == again.timed_again()[key] == latency(21.0)
    assert again.front()[0].values["latency"] == 10.0, "trials keep what the search saw"


def test_what_was_timed_again_is_told(driver_of: Opener, clock: list[str]) -> None:
    clock += ["x", "y"]
    handle = ended(driver_of)
    assert front_notes(handle, handle.front()) == []
    time_front(handle, lambda *_: None)
    handle = StudyHandle(handle.store, handle.name)
    assert front_notes(handle, handle.front()) == [
        "latency of the front timed again, end to end [95 %]:",
        "  trial 0: 10.5 [9.45, 11.6] ms, +5.0%",
        "  trial 1: 21 [18.9, 23.1] ms, +5.0%",
        "  trial 2: 42 [37.8, 46.2] ms, +5.0%, beyond the limit of 41 ms",
    ]
    rows = front_rows(handle, handle.front())
    assert [row["latency_again_ms"] for row in rows] == [10.5, 21.0, 42.0]
    assert not rows[0]["latency_predicted"]


STUDY = Study(name="s", space="small", objectives=("dice", "latency"), size=32, epochs=1)


def calibration(rig: dict[str, Any] = RIG, space: str = "small", **changes: Any) -> Calibration:
    kept = Accuracy(space, 20, 0.03, 0.08, 0.99)
    model = LatencyModel(**{
        "rig": rig, "size": 32, "table": {}, "kinds": {}, "groups": {},
        "accuracy": (replace(kept, space=""), kept), **changes,
    })  # fmt: skip
    return Calibration({"probes": [], "rig": rig}, model)


def my_rig(study: Study = STUDY) -> dict[str, Any]:
    import torch

    from nas.latency.measure import describe_rig

    return describe_rig(torch.device("cpu"), study.latency_threads, study.latency_runtime)


def choose(tmp_path: Path, study: Study = STUDY, file: Path | None = None, new: bool = True):
    return choose_calibration(study, tmp_path, file, new=new)


def test_a_new_study_takes_the_calibration_of_this_machine(tmp_path: Path) -> None:
    assert choose(tmp_path) == (STUDY, None)
    mine = calibration(my_rig())
    mine.keep(tmp_path)
    study, found = choose(tmp_path)
    assert found is not None
    assert study == replace(STUDY, latency_model=mine.key)
    assert choose(tmp_path, study, new=False)[0] == study
    assert choose(tmp_path, new=False) == (STUDY, None), "one that began without goes on without"
    untimed = replace(STUDY, objectives=("dice", "params"))
    assert choose(tmp_path, untimed) == (untimed, None)
    other = replace(STUDY, latency_runtime="onnxruntime")
    assert choose(tmp_path, other) == (other, None)
    made = make_forecast(study, found)
    assert made is not None
    assert (made.error, made.final) == (0.08, False)


def test_a_file_of_another_device_is_used_as_told(tmp_path: Path) -> None:
    file = tmp_path / "phone.json"
    theirs = calibration()
    theirs.write(file)
    study, found = choose(tmp_path, file=file)
    assert study == replace(STUDY, latency_from=theirs.key)
    made = make_forecast(study, found)
    assert made is not None
    assert made.final
    theirs.keep(tmp_path)
    file.unlink()
    assert choose(tmp_path, study, new=False)[0] == study, "the store keeps it"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"objectives": ("dice", "params")}, "latency_from needs latency among objectives or"),
        ({"size": 64}, "was recorded at size 32, the study has size 64; use --size 32"),
        ({"space": "unet"}, "has no networks of space 'unet'; record with --space unet"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(tmp_path: Path, changes: Any, said: str) -> None:
    file = tmp_path / "phone.json"
    calibration().write(file)
    with pytest.raises(InvalidInput) as caught:
        choose(tmp_path, replace(STUDY, **changes), file)
    assert said in str(caught.value)


def test_the_rig_of_a_study_names_its_runtime() -> None:
    rigs = [STUDY, replace(STUDY, latency_runtime="onnxruntime"), replace(STUDY, latency_threads=2)]
    assert len({study_rig(study) for study in rigs}) == 3
    assert json.dumps(my_rig(rigs[1])).count("onnxruntime") == 2
