"""What a study's trials had at each rung, and who is stopped there; see `nas.rungs` for the rule.

All of it is kept with the trials, so a continued study decides as if it had never been interrupted.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState
from optuna.trial import Trial as OpenTrial

from nas.costs import Costs
from nas.objectives import OBJECTIVES, Objective
from nas.rungs import ENOUGH, foresight, goes_on

_ATTR = "rungs"  # of a trial: epoch -> loss


@dataclass(frozen=True, slots=True)
class Rung:
    """What happened after one epoch.

    Attributes:
        epoch: of the rung.
        reached: trials that got there.
        stopped: trials that ended there.
        foresight: Spearman's correlation of the rung's loss and the final Dice, both as "better";
            None for fewer than `nas.rungs.ENOUGH` trials that were trained in full.
    """

    epoch: int
    reached: int
    stopped: int
    foresight: float | None

    @property
    def useless(self) -> bool:
        """Whether it is known to say nothing about the final score; then nobody is stopped."""
        return self.foresight is not None and self.foresight <= 0

    def __str__(self) -> str:
        """Return one line for people."""
        text = f"after epoch {self.epoch}: {self.stopped} of {self.reached} stopped"
        if self.foresight is None:
            return f"{text}; too few ended to say what its ranks are worth (at least {ENOUGH})"
        text += f"; Spearman with the final Dice {self.foresight:.2f}"
        return f"{text}, so nobody is stopped there any more" if self.useless else text


class EarlyStop:
    """The rungs of a study.

    Args:
        study: its trials.
        objectives: of the study.
        epochs: of the rungs; see `nas.rungs.rung_epochs`.
    """

    def __init__(
        self, study: optuna.Study, objectives: Sequence[Objective], epochs: Sequence[int]
    ) -> None:
        self._study, self._epochs = study, epochs
        # A latency is not known yet: multiply-adds stand for it.
        names = [("macs" if o.name == "latency" else o.name) for o in objectives]
        self._costs = [OBJECTIVES[n] for n in dict.fromkeys(names) if OBJECTIVES[n].units]

    def ahead(self, trial: OpenTrial) -> list[int]:
        """Return the rungs that a trial has not reached yet."""
        passed = trial.user_attrs.get(_ATTR, {})
        return [epoch for epoch in self._epochs if str(epoch) not in passed]

    def goes_on(self, trial: OpenTrial, epoch: int, loss: float) -> bool:
        """Keep a trial's loss at a rung and decide; published networks always go on."""
        trial.set_user_attr(_ATTR, {**trial.user_attrs.get(_ATTR, {}), str(epoch): loss})
        here = self._reached(epoch)
        if "baseline" in trial.user_attrs or self._rung(epoch, here).useless:
            return True
        rows = np.array([self._losses(t, epoch) for t in here])
        return goes_on(rows, [t.number for t in here].index(trial.number))

    def rungs(self) -> list[Rung]:
        """Return what happened so far, by epoch."""
        return [self._rung(epoch, self._reached(epoch)) for epoch in self._epochs]

    def _reached(self, epoch: int) -> list[FrozenTrial]:
        trials = self._study.get_trials(deepcopy=False)
        return [t for t in trials if str(epoch) in t.user_attrs.get(_ATTR, {})]

    def _losses(self, trial: FrozenTrial, epoch: int) -> list[float]:
        costs = Costs(**json.loads(trial.user_attrs["costs"]))
        values = [cost.read(costs) or 0.0 for cost in self._costs]
        return [_loss(trial, epoch), *(log(max(value, 1e-9)) for value in values)]

    def _rung(self, epoch: int, here: Sequence[FrozenTrial]) -> Rung:
        done = [t for t in here if t.state == TrialState.COMPLETE]
        found = foresight([_loss(t, epoch) for t in done], [_dice(t.user_attrs) for t in done])
        stopped = [t for t in here if t.user_attrs.get("state") == "stopped"]
        last = [t for t in stopped if max(map(int, t.user_attrs[_ATTR])) == epoch]
        return Rung(epoch, len(here), len(last), found)


def _loss(trial: FrozenTrial, epoch: int) -> float:
    return float(trial.user_attrs[_ATTR][str(epoch)])


def _dice(attrs: Mapping[str, str]) -> float:
    return float(json.loads(attrs["evaluation"])["dice"])
