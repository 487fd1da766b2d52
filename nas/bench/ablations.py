"""Known-cost without one of its parts, to see what each is worth; no search offers these."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.random import Generator

from nas.pareto import Floats
from nas.sampler.genes import Codes
from nas.sampler.history import History
from nas.sampler.known_cost import KnownCostSampler
from nas.sampler.pool import Pool
from nas.sampler.problem import Goal, Point, Problem


class RandomStart(KnownCostSampler):
    """Begins with random points instead of an even spread of costs; see `KnownCostSampler`."""

    def _spread(self, history: History, rng: Generator) -> Codes:
        return np.asarray(Pool(self.genes.sizes, rng).random(1)[0])


class Stratified(KnownCostSampler):
    """Random points, evenly spread over the logarithm of their first cost; there is no model."""

    def __init__(self, problem: Problem, *, seed: int) -> None:
        super().__init__(problem, seed=seed, start=sys.maxsize)

    def _places(self, cost: Floats, among: Floats) -> Floats:
        low, high = among.min(), among.max()
        return np.asarray((cost - low) / (high - low or 1.0))


def costs_unknown(problem: Problem) -> Problem:
    """Return the problem as if costs had to be measured like scores, limits on them as well."""

    def cost(points: Sequence[Point]) -> Mapping[str, Floats]:
        return {"nothing": np.ones(len(points))}

    return replace(
        problem,
        goals=[Goal(log=goal.log) for goal in problem.goals],
        cost=cost,
        limits={},
        measured_limits=[*problem.measured_limits, *problem.limits],
        dear=False,
    )


def costs_no_inputs(problem: Problem) -> Problem:
    """Return the problem with models that see genes alone; costs of objectives are still exact."""
    return replace(problem, costs_as_inputs=False)
