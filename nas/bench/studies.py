"""Searches that `nas search` ran, judged by trainings that they never saw.

Each network that was on a study's front when it came is trained once more with the next seed, into
a table of the same plan; nothing else is. Time is the wall's, from the beginning of a search, with
all that it does beside training. The best that is known is the front of all that was judged.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from optuna.trial import FrozenTrial

from nas.bench.judge import Replay, compared, to_shares
from nas.bench.live_world import LiveWorld
from nas.evaluation import Evaluation
from nas.fidelity.early_stop import RESUMES, RUNGS
from nas.folder import Progress
from nas.handle import StudyHandle, to_trial
from nas.pareto import Floats, front_mask, hypervolume, volume_gains
from nas.recipes import find_recipe
from nas.sampler.history import point_of
from nas.settings import Study
from nas.trained_table import Plan, read_table
from primitives.core.errors import InvalidInput


def judge_studies(
    handles: Sequence[StudyHandle], table: Path, device: torch.device, progress: Progress
) -> dict[str, Any]:
    """Return medians over the studies of equal settings; see `judge.compared`.

    Args:
        handles: of studies that have ended.
        table: of `nas bench table`, with their plan; trainings are added to it.
        device: to train on.
        progress: called after each training.

    Raises:
        InvalidInput: there are no studies, or one has another plan than the table, trained nothing
            in full, or has what another study trained; and see `judge.to_shares`.
        OSError: the table cannot be written.
    """
    plan, _ = read_table(table)
    if not handles:
        raise InvalidInput("stores must hold a study of `nas search`, they hold none; name others")
    for handle in handles:
        _check(handle, plan)
    world = LiveWorld(table, plan, handles[0].prepared, device, progress)
    judged = [_judge(handle, world) for handle in handles]
    best = hypervolume(np.vstack([one.losses for one in judged]), np.zeros(2))
    runs: dict[str, list[Replay]] = {}
    for handle, one in zip(handles, judged, strict=True):
        runs.setdefault(_label(handle.settings), []).append(one.replay(best))
    task = {"name": "studies", "table": table.name, "data": plan.data, "tight": False}
    return compared(runs, sorted({handle.settings.seed for handle in handles}), task)


def _check(handle: StudyHandle, plan: Plan) -> None:
    study, prepared = handle.settings, handle.prepared
    recipe = study.recipe, find_recipe(study.recipe).version
    for name, wanted, got in (
        ("space", plan.space, study.space),
        ("data and split", plan.fingerprint, prepared.fingerprint),
        ("size", plan.size, study.size),
        ("recipe", plan.recipe, recipe),
        ("epochs", plan.epochs, study.epochs),
    ):
        if wanted != got:
            raise InvalidInput(
                f"study {handle.name!r} in {handle.store.folder} must have the table's {name}, "
                f"{wanted}, got {got}; name another table, or search with that"
            )


def _label(study: Study) -> str:
    """Return a study's sampler and whatever else is not the default."""
    parts = (
        study.sampler,
        study.fidelity if study.fidelity != "none" else "",
        "inherit" if study.inherit else "",
        "" if study.baselines else "no-baselines",
        "warm-start" if study.warm_start else "",
    )
    return "+".join(part for part in parts if part)


@dataclass(frozen=True, slots=True)
class _Judged:
    """A study, with one row for each full training in the order of their ends.

    Attributes:
        clocks: training equivalents of the study by then.
        seconds: of the study by then.
        losses: see `LiveWorld.judged`.
        lasted: seconds of the study.
        rest: other fields of its `Replay`.

    Shape: (n,), (n,), (n, 2)
    """

    clocks: Floats
    seconds: Floats
    losses: Floats
    lasted: float
    rest: dict[str, Any]

    def replay(self, best: float) -> Replay:
        """Return what the study was worth, where `best` is the largest hypervolume."""
        shares = to_shares(np.cumsum(volume_gains(self.losses, np.zeros(2))), best)
        whole = np.arange(1, int(self.clocks[-1] + 1e-9) + 1) + 1e-9
        return Replay(
            shares=np.append(0.0, shares)[np.searchsorted(self.clocks, whole, side="right")],
            steps=np.stack([self.seconds, shares], axis=1),
            seconds=self.lasted,
            **self.rest,
        )


def _judge(handle: StudyHandle, world: LiveWorld) -> _Judged:
    frozen = handle.optuna_study.get_trials(deepcopy=False)
    ended = sorted((t for t in frozen if t.datetime_complete), key=_end)
    trials = {t.number: to_trial(t, handle.objectives) for t in ended}
    full = [t for t in ended if (one := trials[t.number]).state == "complete" and one.full_budget]
    where = f"study {handle.name!r} in {handle.store.folder}"
    if any(trials[t.number].state == "reused" and t.user_attrs.get("counts") for t in ended):
        raise InvalidInput(f"{where} must have trained all by itself; give it a store of its own")
    if not full:
        raise InvalidInput(f"{where} must have trained a network in full; search longer")
    found = [_evaluation(t) for t in full]
    told = np.array([evaluation.dice for evaluation in found])
    params = np.array([evaluation.params for evaluation in found])
    names = list(world.nets.space.dimensions)
    codes = world.nets.genes.encode([point for t in full if (point := point_of(t, names))])
    seed, limit = handle.settings.seed + 1, float(world.plan.most_params)
    losses = world.judged(codes, told, seed, limit)
    front = np.flatnonzero(front_mask(np.stack([told, params], 1), ["maximize", "minimize"]))
    began = min(t.datetime_start for t in ended if t.datetime_start)
    paid = np.cumsum([_equivalents(t, frozen, world.plan.epochs) for t in ended])
    at = {t.number: clock for t, clock in zip(ended, paid, strict=True)}
    return _Judged(
        clocks=np.array([at[t.number] for t in full]),
        seconds=np.array([(_end(t) - began).total_seconds() for t in full]),
        losses=losses,
        lasted=(_end(ended[-1]) - began).total_seconds(),
        rest={
            "infeasible": sum(not world.plan.allows(e.params, e.macs) for e in found),
            "repeats": len(full) - len({evaluation.arch_key for evaluation in found}),
            "refused": sum(trial.state == "infeasible" for trial in trials.values()),
            "optimism": float(np.mean([told[i] - world.trained(codes[i], seed) for i in front])),
        },
    )


def _end(trial: FrozenTrial) -> datetime:
    assert trial.datetime_complete is not None
    return trial.datetime_complete


def _evaluation(trial: FrozenTrial) -> Evaluation:
    return Evaluation.from_json(json.loads(trial.user_attrs["evaluation"]))


def _equivalents(trial: FrozenTrial, trials: Sequence[FrozenTrial], epochs: int) -> float:
    """Return which part of a full training a trial took, without what it was resumed from."""
    if trial.user_attrs.get("state") == "reused":
        return 0.0
    before = trials[trial.user_attrs[RESUMES]] if RESUMES in trial.user_attrs else None
    return (_reached(trial) - (_reached(before) if before else 0)) / epochs


def _reached(trial: FrozenTrial) -> int:
    """Return the epochs that a trial's network was trained for by its end."""
    if "evaluation" in trial.user_attrs:
        return _evaluation(trial).epochs
    return max(map(int, trial.user_attrs.get(RUNGS, {})), default=0)
