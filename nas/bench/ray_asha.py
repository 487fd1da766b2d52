"""What Ray Tune with OptunaSearch and ASHA makes of a table: the stack that people have.

ASHA looks at one metric, the validation Dice at the moment. OptunaSearch tells every trial that
ends to the study as complete, with its last values, so that a front may hold networks that were
never trained to their end. The search is Optuna's independent TPE, its default, without limits: a
network that is too large is given a Dice of 0, as people do, and not trained.

Source: Ray 2.60, `AsyncHyperBandScheduler` (reduction factor 3) and `OptunaSearch`, written anew to
run without Ray; Li et al., ASHA, MLSys 2020.
"""

from math import log

import numpy as np
import optuna
from optuna.trial import Trial

from nas.bench.fidelity import Trainings
from nas.bench.tabular import Tabular
from nas.sampler.problem import Problem

PARTLY = "partly"  # attribute of a trial that was stopped before its end
_SHARES = (1 / 9, 1 / 3)  # of the plan, where ASHA looks
_FACTOR = 3  # one in so many goes on


class NaiveTrainings(Trainings):
    """See the module.

    Args:
        study: of the search.
        ground: a table, which tells Dice before the end of a training.
        problem: what is searched.
    """

    def __init__(self, study: optuna.Study, ground: Tabular, problem: Problem) -> None:
        super().__init__(study, ground, "none", problem)
        self._table = ground
        self._seen: dict[float, list[float]] = {share: [] for share in _SHARES}

    def train(self, trial: Trial) -> None:
        """Train the point of a trial until ASHA stops it or it is done."""
        point, ground = trial.params, self._table
        params = log(ground.costs(point)[0])
        if not ground.knows(point):
            self.refused += 1
            self.study.tell(trial, [0.0, params])
            return
        before = 0.0
        for share, seen in self._seen.items():
            self.pay(point, share - before)
            before = share
            dice = ground.early_dice(point, trial.number, share)
            weak = bool(seen) and dice < np.percentile(seen, 100 * (1 - 1 / _FACTOR))
            seen.append(dice)
            if weak:
                trial.set_user_attr(PARTLY, True)
                self.study.tell(trial, [dice, params])
                return
        self.pay(point, 1 - before)
        self.study.tell(trial, [ground.train(point, trial.number), params])
        self.end(point)
