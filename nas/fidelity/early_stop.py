"""What a study's trials had at each rung, who is stopped there and who is resumed; see `rungs`.

All of it is kept with the trials, so a continued study decides as if it had never been interrupted.
A trial that is stopped has ended. To resume its candidate is to enqueue a new trial of the same
point, which goes on from the checkpoint, passes for it at the rungs and does not count again.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import log
from typing import Any, Literal

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState
from optuna.trial import Trial as OpenTrial

from nas.costs import Costs
from nas.fidelity.rungs import ENOUGH, better_half, foresight, quota
from nas.objectives import OBJECTIVES, Objective
from nas.pareto import Floats
from nas.sampler.history import Curve

RUNGS = "rungs"  # attribute of a trial: epoch -> [loss, verdict]
RESUMES = "resumes"  # attribute of a trial: number of the one that was stopped
_KEPT = ("arch", "costs")  # attributes that a resumed trial takes over

# "free" went on without having been compared; None: the driver died before it decided.
Verdict = Literal["on", "stopped", "free"] | None
Gains = Callable[[Sequence[FrozenTrial]], Sequence[float] | Floats]


@dataclass(frozen=True, slots=True)
class Rung:
    """What happened after one epoch.

    Attributes:
        epoch: of the rung.
        reached: candidates that got there.
        stopped: candidates that ended there and were not resumed.
        foresight: Spearman's correlation of the rung's loss and the final Dice, both as "better";
            None for fewer than `rungs.ENOUGH` trials that were trained in full.
        ceiling: Spearman's correlation of the final Dice of two seeds; None: unknown.
    """

    epoch: int
    reached: int
    stopped: int
    foresight: float | None
    ceiling: float | None = None

    @property
    def useless(self) -> bool:
        """Whether it is known to say nothing about the final score; then nobody is stopped."""
        return self.foresight is not None and self.foresight <= 0

    def __str__(self) -> str:
        """Return one line for people."""
        text = f"after epoch {self.epoch}: {self.stopped} of {self.reached} stopped"
        if self.foresight is None:
            return f"{text}; too few ended to say what its ranks are worth (at least {ENOUGH})"
        top = "unknown" if self.ceiling is None else f"{self.ceiling:.2f}"
        text += f"; Spearman with the final Dice {self.foresight:.2f}, ceiling of two seeds {top}"
        return f"{text}, so nobody is stopped there any more" if self.useless else text


class EarlyStop:
    """The rungs of a study.

    Args:
        study: its trials.
        objectives: of the study.
        epochs: of the rungs; see `rungs.rung_epochs`.
        gains: rule "model": returns what trials that wait at a rung promise; None: "mo-asha".
        ceiling: returns what `Rung` says of two seeds.
        say: told once when a rung turns out to say nothing.
    """

    def __init__(
        self,
        study: optuna.Study,
        objectives: Sequence[Objective],
        epochs: Sequence[int],
        *,
        gains: Gains | None = None,
        ceiling: Callable[[], float | None] = lambda: None,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._study, self._epochs, self._gains = study, epochs, gains
        self._ceiling, self._say = ceiling, say
        # A latency is not known yet: multiply-adds stand for it.
        names = [("macs" if o.name == "latency" else o.name) for o in objectives]
        self._costs = [OBJECTIVES[n] for n in dict.fromkeys(names) if OBJECTIVES[n].units]
        rungs = [self._rung(epoch, self._reached(epoch)) for epoch in epochs]
        self._useless = {rung.epoch for rung in rungs if rung.useless}

    def ahead(self, trial: OpenTrial) -> list[int]:
        """Return the rungs that a trial has not passed yet."""
        passed = trial.user_attrs.get(RUNGS, {})
        return [epoch for epoch in self._epochs if passed.get(str(epoch), [0, None])[1] is None]

    def halted(self, trial: OpenTrial) -> int | None:
        """Return the rung that a trial was to be stopped at when its driver died, None if none."""
        verdicts = {int(epoch): on for epoch, (_, on) in trial.user_attrs.get(RUNGS, {}).items()}
        last = max(verdicts, default=0)
        return last if verdicts.get(last) == "stopped" else None

    def goes_on(self, trial: OpenTrial, epoch: int, loss: float) -> bool:
        """Keep a trial's loss at a rung and decide; published networks always go on.

        Others that waited there may be resumed instead of it or beside it.
        """
        self._keep(trial, epoch, loss, None)
        here = self._reached(epoch)
        verdict: Verdict = "free"
        resumed: Sequence[FrozenTrial] = ()
        if not (self._is_useless(epoch, here) or "baseline" in trial.user_attrs):
            winners = self._winners(trial.number, epoch, here)
            verdict = "on" if trial.number in {t.number for t in winners} else "stopped"
            resumed = [t for t in winners if t.number != trial.number]
        self._keep(trial, epoch, loss, verdict)
        for paused in resumed:
            self._resume(paused, epoch)
        return verdict != "stopped"

    def rungs(self) -> list[Rung]:
        """Return what happened so far, by epoch."""
        top = self._ceiling() if self._epochs else None
        rungs = [self._rung(epoch, self._reached(epoch)) for epoch in self._epochs]
        return [replace(rung, ceiling=top) for rung in rungs]

    def _winners(self, new: int, epoch: int, here: Sequence[FrozenTrial]) -> list[FrozenTrial]:
        """Return who goes on now: the new trial of that number, others that wait, both or none."""
        compared = [t for t in here if _verdict(t, epoch) != "free"]
        room = quota(len(compared)) - sum(_verdict(t, epoch) == "on" for t in compared)
        waiting = [t for t in here if t.number == new or _is_paused(t, epoch)]
        full = sum(t.state == TrialState.COMPLETE for t in here)
        if self._gains is not None and full >= ENOUGH:
            order = np.argsort(-np.asarray(self._gains(waiting)), kind="stable")
            return [waiting[row] for row in order[: max(0, room)]]
        better = [here[row] for row in better_half(self._losses(here, epoch))]
        own = [t for t in better if t.number == new]
        others = [t for t in better if t.number != new and _is_paused(t, epoch)]
        return [*own, *others[: max(0, room - len(own))]]

    def _resume(self, paused: FrozenTrial, epoch: int) -> None:
        """Enqueue a trial for its candidate; it waits in the study, so no kill can lose it."""
        passed = {**paused.user_attrs[RUNGS], str(epoch): [_loss(paused, epoch), "on"]}
        kept = {name: paused.user_attrs[name] for name in _KEPT if name in paused.user_attrs}
        attrs = {**kept, RUNGS: passed, RESUMES: paused.number}
        self._study.enqueue_trial(paused.params, user_attrs=attrs)

    def _keep(self, trial: OpenTrial, epoch: int, loss: float, verdict: Verdict) -> None:
        passed = trial.user_attrs.get(RUNGS, {})
        trial.set_user_attr(RUNGS, {**passed, str(epoch): [loss, verdict]})

    def _is_useless(self, epoch: int, here: Sequence[FrozenTrial]) -> bool:
        """Whether a rung says nothing; told when that is found out."""
        rung = self._rung(epoch, here)
        if rung.useless and epoch not in self._useless:
            self._say(f"early stopping {replace(rung, ceiling=self._ceiling())}")
        (self._useless.add if rung.useless else self._useless.discard)(epoch)
        return rung.useless

    def _reached(self, epoch: int) -> list[FrozenTrial]:
        """Return the trials that reached a rung; a resumed one stands for the one it resumes."""
        trials = self._study.get_trials(deepcopy=False)
        resumed = {t.user_attrs.get(RESUMES) for t in trials}
        here = [t for t in trials if str(epoch) in t.user_attrs.get(RUNGS, {})]
        return [t for t in here if t.number not in resumed]

    def _losses(self, trials: Sequence[FrozenTrial], epoch: int) -> np.ndarray:
        return np.array([[_loss(t, epoch), *self._log_costs(t)] for t in trials])

    def _log_costs(self, trial: FrozenTrial) -> list[float]:
        costs = Costs(**json.loads(trial.user_attrs["costs"]))
        return [log(max(cost.read(costs) or 0.0, 1e-9)) for cost in self._costs]

    def _rung(self, epoch: int, here: Sequence[FrozenTrial]) -> Rung:
        done = [t for t in here if t.state == TrialState.COMPLETE]
        found = foresight([_loss(t, epoch) for t in done], [_dice(t.user_attrs) for t in done])
        stopped = sum(_is_paused(t, epoch) for t in here)
        return Rung(epoch, len(here), stopped, found)


def curve_reader(epochs: Sequence[int]) -> Curve | None:
    """Return what reads a trial's losses at rungs; see `nas.sampler.problem.Problem`."""

    def read(attrs: Mapping[str, Any]) -> list[float]:
        passed = attrs.get(RUNGS, {})
        return [passed.get(str(epoch), [np.nan])[0] for epoch in epochs]

    return read if epochs else None


def _loss(trial: FrozenTrial, epoch: int) -> float:
    return float(trial.user_attrs[RUNGS][str(epoch)][0])


def _verdict(trial: FrozenTrial, epoch: int) -> Verdict:
    verdict: Verdict = trial.user_attrs[RUNGS][str(epoch)][1]
    return verdict


def _is_paused(trial: FrozenTrial, epoch: int) -> bool:
    return trial.state == TrialState.PRUNED and _verdict(trial, epoch) == "stopped"


def _dice(attrs: Mapping[str, str]) -> float:
    return float(json.loads(attrs["evaluation"])["dice"])
