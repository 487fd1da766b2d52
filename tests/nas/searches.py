"""A space of nine small networks, and searches over it without training."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

import search_spaces
from nas import study as study_module
from nas.costs import Costs, measure_costs
from nas.data import Prepared
from nas.evaluation import Evaluation, Latency
from nas.latency.forecast import Forecast
from nas.settings import Study
from nas.store import Store
from nas.study import Proposal, StudyDriver
from search_spaces.core.arch import Arch, BlockSpec
from search_spaces.core.space import Baseline, Choice, Int, Point, Space
from search_spaces.nets.ultralight import ultralight

RIG = "this-rig"
SIZE = 32


def decode(point: Point) -> Arch:
    """Return a small network; "idle" has no effect."""
    width = int(point["width"])
    return ultralight(
        [width] * 4,
        depths=[int(point["depth"]), 1, 1, 1],
        encoder_kernels=["1"] * 4,
        decoder_kernels=["1"] * 4,
        encoder_attention=["none"] * 4,
        decoder_attention=["none"] * 4,
        ratios=[8] * 4,
        skip=BlockSpec.of("add"),
    )


def point(width: int, depth: int = 1, idle: int = 0) -> dict[str, int]:
    return {"width": width, "depth": depth, "idle": idle}


def _baseline(width: int) -> Baseline:
    return Baseline(point(width), "a test", "", "", "", seed=True)


SPACE = Space(
    name="small",
    source="a test",
    dimensions={"width": Choice(4, 8, 12), "depth": Int(1, 3), "idle": Int(0, 30, 10)},
    decode=decode,
    baselines={"small-4": _baseline(4), "small-8": _baseline(8), "small-12": _baseline(12)},
    multiple=32,
)
PREPARED = Prepared(
    cache="none",
    fingerprint="f" * 12,
    in_channels=3,
    classes=1,
    size=SIZE,
    fit="resize",
    mean=(0.5,) * 3,
    std=(0.25,) * 3,
    split={"train": ("a",), "val": ("b",), "test": ()},
    skipped=(),
    deep=False,
)


@cache
def costs_of(arch: Arch) -> Costs:
    return measure_costs(arch, SIZE)


@pytest.fixture
def driver_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., StudyDriver]:
    """Return a function that opens a driver on one store, as another start of the program would."""
    monkeypatch.setattr(search_spaces, "load", {"small": SPACE}.__getitem__)
    monkeypatch.setattr(study_module, "measure_costs", lambda arch, size: costs_of(arch))

    def opened(
        trials: int = 4,
        rig: str = RIG,
        prepared: Prepared = PREPARED,
        forecast: Forecast | None = None,
        **settings: object,
    ) -> StudyDriver:
        chosen = {
            "name": "s",
            "space": "small",
            "objectives": ("dice", "params"),
            "size": SIZE,
            "epochs": 3,
            "sampler": "random",
            "baselines": False,
        }
        study = Study.from_json({**chosen, **settings})
        store = Store(tmp_path / "store", create=True)
        return StudyDriver(
            store, study, prepared, rig=rig, trials=trials, revision="r1", forecast=forecast
        )

    return opened


def enqueue(driver: StudyDriver, *points: dict[str, int]) -> None:
    for values in points:
        driver.optuna_study.enqueue_trial(values)


def wanted(driver: StudyDriver) -> Proposal:
    """Return the next proposal that needs training."""
    while not driver.finished:
        proposal = driver.propose()
        if proposal is not None:
            return proposal
    pytest.fail("nothing is left to train")


def latency(milliseconds: float, rig: str = RIG) -> Latency:
    return Latency(milliseconds, milliseconds * 0.9, milliseconds * 1.1, 20, rig)


def evaluation(proposal: Proposal, dice: float = 0.5, **changes: object) -> Evaluation:
    """Return what a worker would have measured."""
    measured = Evaluation(
        arch_key=proposal.arch.key,
        dice=dice,
        iou=dice / 2,
        params=proposal.costs.params,
        macs=proposal.costs.macs,
        memory_mib=proposal.costs.memory_mib,
        latency=proposal.latency,
        epochs=3,
        full_epochs=3,
        best_epoch=2,
        steps=60,
        train_seconds=1.5,
        seed=7,
        weights=f"{proposal.arch.key}.safetensors",
    )
    return replace(measured, **changes)  # type: ignore[arg-type]


def train(driver: StudyDriver, dice: float = 0.5, **changes: object) -> Proposal:
    """Take the next proposal that needs training and record an evaluation of it."""
    proposal = wanted(driver)
    driver.record(proposal, evaluation(proposal, dice, **changes), WORK)
    return proposal


WORK = {"worker": 1, "began": 10.0, "ended": 12.0}
