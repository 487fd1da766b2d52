"""Trainings of a compared search, which may stop early, and what they cost.

A search pays for the epochs that it trains. The clock counts them in training equivalents, so that
searches that stop weak candidates compare with those that train everybody in full. Decisions are
those of `nas.fidelity.early_stop`, the same code as in a search.
"""

import json
from collections.abc import Mapping
from math import log

import numpy as np
import optuna
from optuna.trial import Trial, TrialState

from nas.bench.grounds import Ground
from nas.fidelity.curve_gain import CurveGain
from nas.fidelity.early_stop import RESUMES, EarlyStop
from nas.fidelity.rungs import rung_epochs
from nas.objectives import find_objectives
from nas.pareto import Floats, volume_gains
from nas.sampler.problem import Point, Problem

EPOCHS = 27  # of a full training

# Method -> its sampler, its rule, and whether the sampler learns from what was stopped.
RULES: Mapping[str, tuple[str, str, bool]] = {
    "known-cost+model": ("known-cost", "model", True),
    "known-cost+mo-asha": ("known-cost", "mo-asha", True),
    "known-cost-blind+model": ("known-cost", "model", False),
    "known-cost-blind+mo-asha": ("known-cost", "mo-asha", False),
    "stratified+mo-asha": ("stratified", "mo-asha", False),
    "mo-asha": ("random", "mo-asha", False),
}


class Trainings:
    """Trains proposals of one search and tells their ends to its study.

    Args:
        study: of the search; maximises Dice and minimises log-parameters.
        ground: that answers.
        rule: one of `nas.fidelity.rungs.FIDELITIES`.
        problem: what is searched.

    Attributes:
        ground: that answers.
        clock: training equivalents so far.
        ended: full trainings, as the clock at their end and the point.
        refused: proposals that could not be trained, and cost nothing.
    """

    def __init__(self, study: optuna.Study, ground: Ground, rule: str, problem: Problem) -> None:
        self._study, self.ground = study, ground
        self._rungs = rung_epochs(rule, EPOCHS)
        objectives = find_objectives(["dice", "params"])
        gains = CurveGain(study, problem) if rule == "model" else None
        self._early_stop = EarlyStop(study, objectives, self._rungs, gains=gains)
        self._numbers: dict[int, int] = {}  # of a trial -> of the one that its training began with
        self.clock = 0.0
        self.ended: list[tuple[float, Point]] = []
        self.refused = 0

    def volumes(self, trials: int) -> Floats:
        """Return the hypervolume after each whole training equivalent.

        Only what was trained in full counts; what was begun later than that is left out.

        Shape: scalar -> (trials,)
        """
        clocks = np.array([clock for clock, _ in self.ended])
        losses = self.ground.losses([point for _, point in self.ended])
        grown = np.append(0.0, np.cumsum(volume_gains(losses, np.zeros(2))))
        return grown[np.searchsorted(clocks, np.arange(1, trials + 1) + 1e-9, side="right")]

    def train(self, trial: Trial) -> None:
        """Train the point of a trial until it is stopped or done."""
        point, ground = trial.params, self.ground
        number = trial.user_attrs.get(RESUMES, trial.number)
        number = self._numbers[trial.number] = self._numbers.get(number, number)
        params, macs = ground.costs(point)
        if ground.limit is not None:
            trial.set_constraint("params", params / ground.limit - 1)
        if not ground.knows(point):
            self.refused += 1
            self._study.tell(trial, state=TrialState.PRUNED)
            return
        trial.set_user_attr("costs", json.dumps({"params": params, "macs": macs, "memory_mib": 1}))
        rungs = self._early_stop.ahead(trial)
        epoch = max((e for e in self._rungs if e not in rungs), default=0)
        for rung in rungs:
            self.clock, epoch = self.clock + (rung - epoch) / EPOCHS, rung
            loss = ground.loss(point, number, rung / EPOCHS)
            if not self._early_stop.goes_on(trial, rung, loss):
                self._study.tell(trial, state=TrialState.PRUNED)
                return
        self.clock += (EPOCHS - epoch) / EPOCHS
        dice = ground.train(point, number)
        trial.set_user_attr("evaluation", json.dumps({"dice": dice}))
        self._study.tell(trial, [dice, log(params)])
        self.ended.append((self.clock, dict(point)))
