"""Small studies with every kind of trial, written to a store as a search would."""

import json
import math
import random
from dataclasses import asdict
from functools import cache
from pathlib import Path

import optuna
from optuna.trial import TrialState
from safetensors.torch import save_file

import search_spaces
from nas.costs import measure_costs
from nas.data import Prepared
from nas.evaluation import Evaluation, Latency
from nas.handle import StudyHandle, open_storage
from nas.objectives import find_objectives
from nas.settings import Study
from nas.store import Store
from search_spaces.core.arch import Arch
from search_spaces.core.network import build

SPACE = search_spaces.load("ultralight")
LIMIT = 0.5e6  # parameters
EPOCHS = 5
SEEDS = ("ultralight-t", "ultralight-s", "ultralight-base", "ultralight-m")  # 3 is too large
STOPPED, FAILED, RUNNING = 6, 7, 8  # trials that end otherwise
TOLD = {
    "complete": TrialState.COMPLETE,
    "reused": TrialState.COMPLETE,
    "stopped": TrialState.PRUNED,
    "infeasible": TrialState.PRUNED,
    "failed": TrialState.FAIL,
}


class Writer:
    """Adds trials to a new study."""

    def __init__(
        self, folder: Path, prepared: Prepared, objectives=("dice", "params"), name="demo"
    ):
        self.store = Store(folder, create=True)
        self.prepared, self.objectives = prepared, find_objectives(objectives)
        settings = Study(
            name=name,
            space="ultralight",
            objectives=objectives,
            constraints=("params<=0.5M",),
            size=prepared.size,
            epochs=EPOCHS,
        )
        self.study = optuna.create_study(
            study_name=name,
            storage=open_storage(self.store),
            directions=[o.direction for o in self.objectives],
        )
        self.study.set_user_attr("prepared", json.dumps(prepared.to_json()))
        self.study.set_user_attr("study", json.dumps(settings.to_json()))

    def handle(self) -> StudyHandle:
        return StudyHandle(self.store, self.study.study_name)

    def add(self, arch: Arch | None, state: str, *, baseline: str | None = None) -> int:
        """Add a trial; its Dice follows from its parameters and its number."""
        trial = self.study.ask()
        number = trial.number
        if baseline:
            trial.set_user_attr("baseline", baseline)
        if arch is None:
            trial.set_user_attr("reason", "the driver died while proposing it")
        else:
            costs = costs_of(arch, self.prepared.size)
            trial.set_user_attr("arch", json.dumps(arch.to_json()))
            trial.set_user_attr("costs", json.dumps(asdict(costs)))
        if state == "running":
            self._add_curve(number, 0.3, 2)
            return number
        trial.set_user_attr("state", state)
        values = None
        if state == "infeasible":
            trial.set_user_attr("reason", f"params is {costs.params}, the limit 500000")
        if state in ("complete", "reused", "stopped"):
            evaluation = self._evaluation(arch, costs, number, 3 if state == "stopped" else EPOCHS)
            trial.set_user_attr("evaluation", json.dumps(evaluation.to_json()))
            values = [o.read(evaluation) for o in self.objectives]
            if state == "stopped":
                trial.set_user_attr("reason", "it ended before its budget")
        if state in ("complete", "stopped"):
            self._add_curve(number, evaluation.dice, evaluation.epochs)
            save_file(build(arch).state_dict(), self.store.path("weights", evaluation.weights))
        told = TOLD[state]
        self.study.tell(trial, values if told == TrialState.COMPLETE else None, state=told)
        return number

    def _evaluation(self, arch, costs, number, epochs) -> Evaluation:
        dice = 0.5 + 0.07 * (math.log10(costs.params) - 1.2) + 0.06 * math.sin(5 * number)
        latency = Latency(2 + costs.params / 1e5, 1.9, 9.5, 50, "rig")
        return Evaluation(
            arch_key=arch.key,
            dice=dice,
            iou=dice / (2 - dice),
            params=costs.params,
            macs=costs.macs,
            memory_mib=costs.memory_mib,
            latency=latency,
            epochs=epochs,
            full_epochs=EPOCHS,
            best_epoch=epochs,
            steps=10 * epochs,
            train_seconds=1.5,
            seed=number,
            weights=f"{arch.key}.safetensors",
        )

    def _add_curve(self, number: int, dice: float, epochs: int) -> None:
        rows = [
            {
                "epoch": e,
                "train_loss": 1 / e,
                "val_loss": 1 / e,
                "dice": dice * (1 - math.exp(-1.5 * e)),
                "seconds": 0.3,
            }
            for e in range(1, epochs + 1)
        ]
        self.store.add_epochs(self.study.study_name, number, rows)


def write_study(
    folder: Path, prepared: Prepared, trials: int = 12, objectives=("dice", "params")
) -> StudyHandle:
    """Write baselines, then random archs, one of which comes back as the last trial."""
    writer = Writer(folder, prepared, objectives)
    for name in SEEDS[:trials]:
        arch = make_arch(prepared, SPACE.baselines[name].point)
        writer.add(arch, "infeasible" if name == "ultralight-m" else "complete", baseline=name)
    rng = random.Random(3)
    kinds = {STOPPED: "stopped", FAILED: "failed", RUNNING: "running"}
    for number in range(len(SEEDS), trials - 1):
        arch, kind = make_arch(prepared, SPACE.sample(rng)), kinds.get(number, "complete")
        while number in kinds and not fits(arch, prepared):
            arch = make_arch(prepared, SPACE.sample(rng))
        kind = kind if fits(arch, prepared) else "infeasible"
        writer.add(None if kind == "failed" else arch, kind)
    if trials > len(SEEDS):
        first = SPACE.baselines[SEEDS[0]].point
        writer.add(make_arch(prepared, first), "reused")
    return writer.handle()


costs_of = cache(measure_costs)


def fits(arch: Arch, prepared: Prepared) -> bool:
    return costs_of(arch, prepared.size).params <= LIMIT


def make_arch(prepared: Prepared, point) -> Arch:
    return SPACE.arch(point, prepared.in_channels, prepared.classes)
