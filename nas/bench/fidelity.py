"""Trainings of a compared search, which may stop early, and what they cost.

A search pays for the epochs that it trains. The clock counts them in training equivalents, so that
searches that stop weak candidates compare with those that train everybody in full; seconds count
that a small network trains faster, and the time that proposals take. Decisions are those of
`nas.fidelity.early_stop`, the same code as in a search.
"""

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from math import log
from typing import NamedTuple

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
from nas.study import PROPOSALS_PER_TRIAL

EPOCHS = 27  # of a full training

# Method -> its sampler, its rule, and whether the sampler learns from what was stopped.
RULES: Mapping[str, tuple[str, str, bool]] = {
    "known-cost+model": ("known-cost", "model", True),
    "known-cost+mo-asha": ("known-cost", "mo-asha", True),
    "warm-start+model": ("warm-start", "model", True),
    "known-cost-blind+model": ("known-cost", "model", False),
    "known-cost-blind+mo-asha": ("known-cost", "mo-asha", False),
    "stratified+mo-asha": ("stratified", "mo-asha", False),
    "mo-asha": ("random", "mo-asha", False),
}


class Ended(NamedTuple):
    """A training that came to its end.

    Attributes:
        clock: training equivalents of the search by then.
        seconds: of the search by then, of trainings and proposals.
        point: that was trained.
    """

    clock: float
    seconds: float
    point: Point


class Trainings:
    """Trains proposals of one search and tells their ends to its study.

    Args:
        study: of the search; maximises Dice and minimises log-parameters.
        ground: that answers.
        rule: one of `nas.fidelity.rungs.FIDELITIES`.
        problem: what is searched.

    Attributes:
        study: of the search.
        ground: that answers.
        clock: training equivalents so far.
        seconds: so far, of trainings and proposals.
        thought: seconds of these that proposals took.
        ended: full trainings.
        refused: proposals that could not be trained, and cost nothing.
    """

    def __init__(self, study: optuna.Study, ground: Ground, rule: str, problem: Problem) -> None:
        self.study, self.ground, self._limits = study, ground, problem.limits
        self._rungs = rung_epochs(rule, EPOCHS)
        objectives = find_objectives(["dice", "params"])
        gains = CurveGain(study, problem) if rule == "model" else None
        self._early_stop = EarlyStop(study, objectives, self._rungs, gains=gains)
        self._numbers: dict[int, int] = {}  # of a trial -> of the one that its training began with
        self.clock = self.seconds = self.thought = 0.0
        self.ended: list[Ended] = []
        self.refused = 0

    def lasts(self, trials: int) -> bool:
        """Whether a search of that many training equivalents goes on.

        It gives up where a search of the tool would: some methods learn nothing of what was refused
        and ask for it for ever.
        """
        hopeless = self.refused >= PROPOSALS_PER_TRIAL * trials
        return self.clock < trials - 1e-9 and not hopeless

    @contextmanager
    def proposing(self) -> Iterator[None]:
        """Count the time that a proposal takes."""
        began = time.perf_counter()
        yield
        took = time.perf_counter() - began
        self.seconds, self.thought = self.seconds + took, self.thought + took

    def pay(self, point: Point, share: float) -> None:
        """Count a share of a point's full training."""
        self.clock += share
        self.seconds += share * self.ground.seconds(point)

    def end(self, point: Point) -> None:
        """Count a training that came to its end."""
        self.ended.append(Ended(self.clock, self.seconds, dict(point)))

    def volumes(self) -> Floats:
        """Return the hypervolume of what was trained in full, after each of these trainings.

        Shape: () -> (ended,)
        """
        losses = self.ground.losses([one.point for one in self.ended])
        return np.asarray(np.cumsum(volume_gains(losses, np.zeros(2))))

    def train(self, trial: Trial) -> None:
        """Train the point of a trial until it is stopped or done."""
        point, ground = trial.params, self.ground
        number = trial.user_attrs.get(RESUMES, trial.number)
        number = self._numbers[trial.number] = self._numbers.get(number, number)
        params, macs = ground.costs(point)
        costs = {"params": params, "macs": macs}
        for name, bound in self._limits.items():
            trial.set_constraint(name, costs[name] / bound - 1)
        if not ground.knows(point):
            self.refused += 1
            self.study.tell(trial, state=TrialState.PRUNED)
            return
        trial.set_user_attr("costs", json.dumps({**costs, "memory_mib": 1}))
        rungs = self._early_stop.ahead(trial)
        epoch = max((e for e in self._rungs if e not in rungs), default=0)
        for rung in rungs:
            self.pay(point, (rung - epoch) / EPOCHS)
            epoch = rung
            loss = ground.loss(point, number, rung / EPOCHS)
            if not self._early_stop.goes_on(trial, rung, loss):
                self.study.tell(trial, state=TrialState.PRUNED)
                return
        self.pay(point, (EPOCHS - epoch) / EPOCHS)
        dice = ground.train(point, number)
        trial.set_user_attr("evaluation", json.dumps({"dice": dice}))
        self.study.tell(trial, [dice, log(params)])
        self.end(point)
