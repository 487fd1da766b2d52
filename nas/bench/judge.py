"""What compared searches were worth: shares of the best hypervolume, over trainings and over time.

Only what was trained in full counts. The score is noise-free, or a training that the search never
saw; claims are what its own trainings told it.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import median
from typing import Any, Self

import numpy as np
from optuna.trial import TrialState

from nas.bench.fidelity import Trainings
from nas.bench.ray_asha import PARTLY
from nas.fidelity.early_stop import RESUMES
from nas.pareto import Floats, front_mask
from primitives.core.errors import InvalidInput

OURS = "known-cost"
MARKS = (10, 20, 40, 60, 100, 150, 200)  # trainings that shares are reported at
_MINUTES = (5, 10, 20, 40, 60, 90, 120, 180, 240, 360, 480)
_POINTS = 100  # of a curve over time


@dataclass(frozen=True, slots=True)
class Replay:
    """One run of a method.

    Attributes:
        shares: of the best known hypervolume, after each training equivalent.
        steps: seconds by the end of each full training, and the share then, (n, 2).
        seconds: that the run took, of trainings and proposals.
        infeasible: trainings beyond the limit.
        repeats: trainings of a design that was trained before.
        thought: seconds that a proposal took, the mean over trainings; None: not known.
        refused: proposals beyond the limit that could not be trained, and cost nothing.
        optimism: what the front claims beyond the truth: mean over its members of told minus true
            Dice.
        partly: share of the front's members that were not trained to their end.
    """

    shares: Floats
    steps: Floats
    seconds: float
    infeasible: int
    repeats: int
    thought: float | None = None
    refused: int = 0
    optimism: float = 0.0
    partly: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """Return plain data that `from_json` reads back."""
        return {**asdict(self), "shares": self.shares.tolist(), "steps": self.steps.tolist()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read the JSON form."""
        shares, steps = np.array(data["shares"]), np.array(data["steps"]).reshape(-1, 2)
        return cls(**{**data, "shares": shares, "steps": steps})

    def scaled(self, by: float) -> Self:
        """Return the run with shares of another hypervolume."""
        return replace(self, shares=self.shares * by, steps=self.steps * [1.0, by])

    def at(self, seconds: Floats) -> Floats:
        """Return the shares at times within the run.

        Shape: (n,) -> (n,)
        """
        known = np.append(0.0, self.steps[:, 1])
        return np.asarray(known[np.searchsorted(self.steps[:, 0], seconds, side="right")])

    def reaches(self, share: float) -> float | None:
        """Return the seconds after which the run has a share; None: never."""
        there = np.flatnonzero(self.steps[:, 1] >= share)
        return float(self.steps[there[0], 0]) if len(there) else None


def judge(plays: Sequence[Trainings], trials: int) -> list[Replay]:
    """Return what runs were worth.

    Args:
        plays: what they trained.
        trials: training equivalents of a run; what ended later is left out.

    Raises:
        InvalidInput: see `to_shares`.
    """
    volumes = [done.volumes() for done in plays]
    # Only now: the best that is known may come from any of them.
    shares = [to_shares(v, p.ground.best) for p, v in zip(plays, volumes, strict=True)]
    return [_replay(p, s, trials) for p, s in zip(plays, shares, strict=True)]


def to_shares(volumes: Floats, best: float) -> Floats:
    """Return hypervolumes as shares of the largest one that is known.

    Raises:
        InvalidInput: that is 0.
    """
    if not best:
        raise InvalidInput(
            "some network must be better than the reference in every objective, got none, so that "
            "there is nothing to take shares of; raise --trials or the limits"
        )
    return volumes / best


def _replay(done: Trainings, shares: Floats, trials: int) -> Replay:
    ground = done.ground
    clocks = np.array([one.clock for one in done.ended])
    within = clocks <= trials + 1e-9
    then = np.searchsorted(clocks, np.arange(1, trials + 1) + 1e-9, side="right")
    begun = [t for t in done.study.trials if t.state != TrialState.WAITING]
    trained = [t.params for t in begun if RESUMES not in t.user_attrs and ground.knows(t.params)]
    limits = ground.problem().limits
    steps = np.stack([[one.seconds for one in done.ended], shares], axis=1)
    optimism, partly = _claims(done)
    return Replay(
        shares=np.append(0.0, shares)[then],
        steps=steps[within],
        seconds=done.seconds,
        infeasible=sum(_exceeds(ground.costs(point), limits) for point in trained),
        repeats=len(trained) - len({ground.key(point) for point in trained}),
        thought=done.thought / len(trained),
        refused=done.refused,
        optimism=optimism,
        partly=partly,
    )


def _exceeds(costs: tuple[float, float], limits: Mapping[str, float]) -> bool:
    """Whether parameters or multiply-adds are beyond their limit, if there is one."""
    bounds = limits.get("params", math.inf), limits.get("macs", math.inf)
    return any(cost > bound * (1 + 1e-12) for cost, bound in zip(costs, bounds, strict=True))


def _claims(done: Trainings) -> tuple[float, float]:
    """Return `Replay.optimism` and `Replay.partly` of the front that a study shows."""
    complete = [t for t in done.study.trials if t.state == TrialState.COMPLETE]
    told = np.array([trial.values for trial in complete])
    front = np.flatnonzero(front_mask(told, ["maximize", "minimize"]))
    above = [told[i, 0] - done.ground.dice(complete[i].params) for i in front]
    partly = [PARTLY in complete[i].user_attrs for i in front]
    return float(np.mean(above)), float(np.mean(partly))


def compared(
    runs: Mapping[str, Sequence[Replay]], seeds: Sequence[int], task: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what is printed of a comparison, as plain data.

    Args:
        runs: of each method.
        seeds: of the runs.
        task: what was searched.
    """
    return {
        "task": dict(task),
        "seeds": list(seeds),
        "samplers": {name: summary(found) for name, found in runs.items()},
        "to_match": {
            name: to_match(runs[OURS], found)
            for name, found in runs.items()
            if name != OURS and OURS in runs
        },
    }


def summary(runs: Sequence[Replay]) -> dict[str, Any]:
    """Return medians and quartiles over the runs of a method, as plain data.

    "minutes" and "clock" are shares over time, as far as every run lasted.
    """
    least = min(len(run.shares) for run in runs)
    shares = np.stack([run.shares[:least] for run in runs])
    thought = [run.thought for run in runs if run.thought is not None]
    marks = [mark for mark in MARKS if mark <= shares.shape[1]]
    quartiles = np.quantile(shares, [0.25, 0.5, 0.75], axis=0)
    lasted = min(run.seconds for run in runs)
    minutes = [mark for mark in _MINUTES if mark * 60 <= lasted]
    times = np.append(np.linspace(0, lasted, _POINTS), [mark * 60.0 for mark in minutes])
    clock = np.quantile([run.at(times) for run in runs], [0.25, 0.5, 0.75], axis=0).round(4)
    return {
        "share": {mark: round(float(quartiles[1, mark - 1]), 4) for mark in marks},
        "quartiles": {mark: quartiles[::2, mark - 1].round(4).tolist() for mark in marks},
        "curve": quartiles.round(4).tolist(),
        "mean": {mark: round(float(shares[:, mark - 1].mean()), 4) for mark in marks},
        "minutes": dict(zip(minutes, clock[1, _POINTS:].tolist(), strict=True)),
        "clock": [(times[:_POINTS] / 60).round(2).tolist(), *clock[:, :_POINTS].tolist()],
        "seconds_per_proposal": median(thought) if thought else None,
        "infeasible": sum(run.infeasible for run in runs),
        "repeats": sum(run.repeats for run in runs),
        "refused": sum(run.refused for run in runs),
        "optimism": round(median(run.optimism for run in runs), 4),
        "partly": round(median(run.partly for run in runs), 3),
    }


def to_match(ours: Sequence[Replay], theirs: Sequence[Replay]) -> dict[str, Any]:
    """Return what ours needed for what theirs ended with, seed by seed; null: never.

    "median", "worst" and "each" are training equivalents of ours. "minutes" are those of ours, and
    "faster" is how many times longer theirs took to get there: medians.
    """
    needed, minutes, faster = [], [], []
    for a, b in zip(ours, theirs, strict=True):
        reached = b.steps[-1, 1] if len(b.steps) else 0.0
        needed.append(next((i for i, share in enumerate(a.shares, 1) if share >= reached), None))
        mine, other = a.reaches(reached), b.reaches(reached)
        minutes.append(mine / 60 if mine is not None else None)
        faster.append(mine / other if mine is not None and other else None)
    slower = _median(faster)
    return {
        "median": _median(needed),
        "worst": max(needed, key=_last),
        "each": needed,
        "minutes": _median(minutes),
        "faster": 1 / slower if slower else None,
    }


def _median(values: Sequence[float | None]) -> float | None:
    """Return the median, where None is beyond all; None where that is."""
    ranked = sorted(values, key=_last)
    middle = ranked[(len(ranked) - 1) // 2 : len(ranked) // 2 + 1]
    return None if None in middle else median(n for n in middle if n is not None)


def _last(value: float | None) -> float:
    return np.inf if value is None else value
