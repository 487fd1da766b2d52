"""Candidates that are worth scoring: random points, relatives of the front, neighbours of the best.

Source: White, Neiswanger and Savani, AAAI 2021 (mutations of the best as acquisition optimiser).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from nas.pareto import Floats
from nas.sampler.genes import Codes

_RANDOM, _CHILDREN, _NEIGHBOURS = 400, 400, 300
_ROUNDS = 4
_PARENTS = 10  # best candidates of a round, whose neighbours make the next


@dataclass(frozen=True, slots=True)
class Pool:
    """Makes candidates.

    Attributes:
        sizes: number of values of each gene.
        rng: every draw comes from it.
    """

    sizes: Codes
    rng: Generator

    def random(self, count: int) -> Codes:
        """Draw points, every value with equal probability."""
        return self.rng.integers(self.sizes, size=(count, len(self.sizes)))

    def children(self, parents: Codes, count: int) -> Codes:
        """Cross two parents each, then move one to three genes; half have a single parent."""
        mothers, fathers = parents[self.rng.integers(len(parents), size=(2, count))]
        crossed = self.rng.random((count, 1)) < 0.5
        taken = crossed & (self.rng.random(mothers.shape) < 0.5)
        return self._moved(np.where(taken, fathers, mothers), self.rng.integers(1, 4, count))

    def neighbours(self, points: Codes, count: int) -> Codes:
        """Move one or two genes of points."""
        return self._moved(
            points[self.rng.integers(len(points), size=count)], self.rng.integers(1, 3, count)
        )

    def search(self, parents: Codes, score: Callable[[Codes], Floats]) -> tuple[Codes, Floats]:
        """Return candidates without repeats, best first, and their scores.

        Args:
            parents: the front.
            score: higher is better.
        """
        codes = self.random(_RANDOM)
        if len(parents):
            codes = np.vstack([codes, self.children(parents, _CHILDREN)])
        codes = np.unique(codes, axis=0)
        scores = score(codes)
        for _ in range(_ROUNDS):
            best = codes[np.argsort(-scores, kind="stable")[:_PARENTS]]
            new = np.unique(self.neighbours(best, _NEIGHBOURS), axis=0)
            codes, scores = np.vstack([codes, new]), np.append(scores, score(new))
        codes, first = np.unique(codes, axis=0, return_index=True)
        scores = scores[first]
        order = np.argsort(-scores, kind="stable")
        return codes[order], scores[order]

    def _moved(self, codes: Codes, moves: Codes) -> Codes:
        """Move `moves` genes of each row to another value; a gene of one value stays."""
        free = np.flatnonzero(self.sizes > 1)
        codes, rows = codes.copy(), np.arange(len(codes))
        for step in range(int(moves.max(initial=0))):
            genes = free[self.rng.integers(len(free), size=len(codes))]
            shift = self.rng.integers(1, self.sizes[genes])
            moved = (codes[rows, genes] + shift) % self.sizes[genes]
            codes[rows, genes] = np.where(step < moves, moved, codes[rows, genes])
        return codes
