"""What trainings that wait at a rung promise: the hypervolume they are expected to add.

The final score of each is predicted from its genes, its costs and its curve so far, together with
all others (`nas.sampler.curve_model`); costs are exact. The front consists of what was trained in
full, at its predicted values, since the best of many noisy ones flatters.
"""

from collections.abc import Sequence

import numpy as np
import optuna
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial

from nas.pareto import Floats
from nas.sampler.cost_book import CostBook
from nas.sampler.curve_model import CurveFits
from nas.sampler.gain import expected_gain
from nas.sampler.history import point_of, read_history
from nas.sampler.problem import Problem, key_of
from nas.sampler.worth import to_inputs

_STAND_IN = "macs"  # for a time, which is only measured at the end
_MARGIN = 0.1  # of the range seen, that the reference lies beyond the worst


class CurveGain:
    """Predicts gains in a study, from its trials.

    Args:
        study: its trials.
        problem: what it searches; has `curve`, and a goal that is a score.
    """

    def __init__(self, study: optuna.Study, problem: Problem) -> None:
        self._study, self._problem = study, problem
        self._genes = problem.genes()
        self._key = key_of(problem, self._genes)
        self._book = CostBook(problem.cost, self._genes, dear=problem.dear)
        self._curves = CurveFits(self._genes.similarity)

    def __call__(self, waiting: Sequence[FrozenTrial]) -> Floats:
        """Return the expected gains of trials.

        Args:
            waiting: trials that reached a rung; at least one other was trained in full.

        Shape: n -> (n,)
        """
        names = list(self._problem.space)
        history = read_history(self._study, self._key, names, -1, self._problem.curve)
        assert history.curves is not None
        full = len(history.complete.points)
        points = [point_of(trial, names) for trial in waiting]
        codes = self._genes.encode([*history.curves.points, *(p for p in points if p)])
        costs = self._book.exact(codes)
        inputs = to_inputs(self._genes, codes, costs)
        seen = slice(len(history.curves.points))
        means, sds = np.zeros((2, len(codes), len(self._problem.goals)))
        for i, goal in enumerate(self._problem.goals):
            sign = -1.0 if self._study.directions[i] == StudyDirection.MAXIMIZE else 1.0
            if goal.cost is None and not goal.log:
                finals = sign * history.complete.values[:, i]
                model = self._curves.model(f"{i}", inputs[seen], history.curves.losses, finals)
                means[:, i], sds[:, i] = model.predict(inputs)
            else:
                means[:, i] = sign * costs[:, self._book.names.index(goal.cost or _STAND_IN)]
        compared = means[np.r_[:full, len(history.curves.points) : len(codes)]]
        corner = compared.max(0) + _MARGIN * np.ptp(compared, axis=0)
        new = slice(len(history.curves.points), None)
        return expected_gain(means[:full], corner, means[new], sds[new])
