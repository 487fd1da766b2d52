"""What samplers that propose whole points share."""

from abc import abstractmethod
from typing import Any

import numpy as np
from numpy.random import Generator
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.study import Study
from optuna.trial import FrozenTrial

from nas.sampler.genes import Codes
from nas.sampler.history import History, point_of, read_history
from nas.sampler.problem import Problem, key_of


class PointSampler(BaseSampler):
    """Proposes points of a space that is known beforehand, from the study's trials alone.

    Args:
        problem: what is searched.
        seed: with the trial's number it determines every draw.

    Raises:
        InvalidInput: a dimension has no list of values.
    """

    def __init__(self, problem: Problem, *, seed: int) -> None:
        self.problem, self.seed = problem, seed
        self.genes = problem.genes()
        self.key = key_of(problem, self.genes)
        self._independent = RandomSampler(seed=seed)

    @abstractmethod
    def propose(self, study: Study, history: History, rng: Generator) -> Codes:
        """Return one point as indices of its values.

        Args:
            study: that the point is for.
            history: its other trials.
            rng: every draw must come from it.
        """

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Return the space; what an enqueued trial has fixed needs no proposal."""
        return {} if point_of(trial, list(self.problem.space)) else dict(self.problem.space)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return the point of a trial."""
        if not search_space:
            return {}
        history = read_history(
            study, self.key, list(self.problem.space), trial.number, self.problem.curve
        )
        rng = np.random.default_rng([self.seed, trial.number])
        return self.genes.decode(self.propose(study, history, rng))

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Draw at random what the space does not hold."""
        return self._independent.sample_independent(study, trial, param_name, param_distribution)
