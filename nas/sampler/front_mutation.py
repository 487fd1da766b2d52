"""Sampler "local": mutates the Pareto front; the baseline that every model must beat.

Source: White, Nolen and Savani, UAI 2021 (local search on small spaces), with the front in the
place of the best point.
"""

from numpy.random import Generator
from optuna.study import Study

from nas.pareto import front_mask
from nas.sampler.genes import Codes
from nas.sampler.history import History
from nas.sampler.point_sampler import PointSampler
from nas.sampler.pool import Pool

_START = 10  # random results before the first mutation
_TRIES = 100  # mutations, of which the first new one is taken


class FrontMutationSampler(PointSampler):
    """Proposes points of the front with one or two genes moved; knows no limits."""

    def propose(self, study: Study, history: History, rng: Generator) -> Codes:
        """Return a new neighbour of the front, a random point at first."""
        pool, found = Pool(self.genes.sizes, rng), history.complete
        if len(found.points) < _START:
            candidates = pool.random(_TRIES)
        else:
            directions = [direction.name.lower() for direction in study.directions]
            front = self.genes.encode(found.points)[front_mask(found.values, directions)]
            candidates = pool.neighbours(front, _TRIES)
        new = (c for c in candidates if self.key(self.genes.decode(c)) not in history.known)
        return next(new, candidates[0])
