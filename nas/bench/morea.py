"""Syne Tune's MO-REA as an opponent of ours, an Optuna sampler; a search does not offer it.

Regularised evolution by non-dominated sorting, as it comes, but for a population of 20, which suits
200 trainings better than 100. It knows neither costs nor limits: what breaks one is told with its
values. (Its expected hypervolume improvement hands numbers of two precisions to BoTorch 0.18, which
refuses them.)

Source: Salinas et al., Syne Tune, AutoML 2022. Needs syne-tune (0.16).
"""

from collections.abc import Mapping
from typing import Any

from numpy.random import Generator
from optuna.study import Study, StudyDirection

from nas.sampler.genes import Codes, is_ordered
from nas.sampler.history import History, point_of
from nas.sampler.point_sampler import PointSampler
from nas.sampler.problem import Problem
from primitives.core.errors import InvalidInput

_POPULATION = 20


class MoReaSampler(PointSampler):
    """Tells a searcher of Syne Tune what a study's trials came to, and asks it for the next.

    Its state is the searcher's, so that it has to see a study from its first trial on.

    Args:
        problem: what is searched.
        seed: of the searcher.

    Raises:
        InvalidInput: Syne Tune is not installed.
    """

    def __init__(self, problem: Problem, *, seed: int) -> None:
        super().__init__(problem, seed=seed)
        try:
            from syne_tune.config_space import choice, randint
            from syne_tune.optimizer.schedulers.multiobjective import (
                MultiObjectiveRegularizedEvolution,
            )
        except ImportError:
            raise InvalidInput(
                "sampler 'syne-morea' needs syne-tune: pip install nas-unet[bench]"
            ) from None
        space = {
            name: randint(0, len(values) - 1) if is_ordered(values) else choice(list(values))
            for name, values in self.genes.values.items()
        }
        self._searcher = MultiObjectiveRegularizedEvolution(
            space, population_size=_POPULATION, random_seed=seed
        )
        self._told = 0

    def propose(self, study: Study, history: History, rng: Generator) -> Codes:
        """Return the searcher's suggestion."""
        signs = [-1.0 if d == StudyDirection.MAXIMIZE else 1.0 for d in study.directions]
        for trial in study.trials[self._told :]:
            point = point_of(trial, list(self.problem.space))
            if trial.state.is_finished() and point is not None:
                if trial.values:
                    metrics = [s * value for s, value in zip(signs, trial.values, strict=True)]
                    self._searcher.on_trial_complete(trial.number, self._ranks(point), metrics)
                self._told = trial.number + 1
        found = self._searcher.suggest()
        codes: Codes = self.genes.encode([self._values(found)])[0]
        return codes

    def _ranks(self, point: Mapping[str, Any]) -> dict[str, Any]:
        values = self.genes.values
        return {
            name: list(values[name]).index(value) if is_ordered(values[name]) else value
            for name, value in point.items()
        }

    def _values(self, found: Mapping[str, Any]) -> dict[str, Any]:
        return {
            name: values[found[name]] if is_ordered(values) else found[name]
            for name, values in self.genes.values.items()
        }
