"""Exact costs of points, remembered; and estimates of many where exact ones are dear."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from nas.pareto import Floats
from nas.sampler.genes import Codes, Genes
from nas.sampler.similarity import Inputs
from nas.sampler.surrogate import Parameters, Surrogate, fit

# Random points that are measured before the first estimate. With 12 of them the networks of a table
# of `ultralight` were estimated e^2 times too large, the smallest e^3 times, and never proposed;
# with 200 root mean squares of errors of log-parameters are 0.27.
_FIRST = 200
_LATEST = 400  # points that an estimate is made of
_REFIT = 1.3  # growth of the book after which kernels are fitted anew


class CostBook:
    """Log-costs of a space's points.

    Args:
        cost: points -> their exact costs, positive numbers, by name.
        genes: of the space.
        dear: whether `cost` is too slow for thousands of points: most are then estimated by a
            Gaussian process on the points that are known.
    """

    def __init__(
        self,
        cost: Callable[[Sequence[Mapping[str, Any]]], Mapping[str, Floats]],
        genes: Genes,
        *,
        dear: bool,
    ) -> None:
        self._cost, self._genes, self._dear = cost, genes, dear
        self._known: dict[bytes, Floats] = {}
        self._codes: list[Codes] = []
        self._fitted: tuple[int, list[Parameters]] = (0, [])
        self._made: tuple[int, list[Surrogate]] = (0, [])
        self.names: Sequence[str] = ()

    def exact(self, codes: Codes) -> Floats:
        """Return exact log-costs, one column per name, measuring those not known yet.

        Shape: (n, genes) -> (n, costs)
        """
        if not self._dear:
            return self._measure(codes)
        new = {row.tobytes(): row for row in codes if row.tobytes() not in self._known}
        if new:
            rows = list(new.values())
            self._known |= zip(new, self._measure(np.array(rows)), strict=True)
            self._codes += rows
        found = [self._known[row.tobytes()] for row in codes]
        return np.array(found).reshape(len(codes), len(self.names))

    def estimate(self, codes: Codes) -> Floats:
        """Return log-costs that may be a quarter off; exact ones where they are cheap.

        Shape: (n, genes) -> (n, costs)
        """
        if not self._dear:
            return self.exact(codes)
        if not self._fitted[0]:
            sizes = self._genes.sizes
            self.exact(np.random.default_rng(0).integers(sizes, size=(_FIRST, len(sizes))))
        if self._made[0] < len(self._codes):
            self._made = len(self._codes), self._models()
        inputs = self._inputs(codes)
        return np.stack([model.estimate(inputs) for model in self._made[1]], axis=1)

    def _measure(self, codes: Codes) -> Floats:
        if not len(codes):
            return np.empty((0, len(self.names)))
        costs = self._cost([self._genes.decode(row) for row in codes])
        self.names = list(costs)
        return np.log(np.stack(list(costs.values()), axis=1))

    def _models(self) -> list[Surrogate]:
        codes = np.array(self._codes[-_LATEST:])
        values = np.array([self._known[row.tobytes()] for row in codes])
        ones, inputs = np.ones(len(codes)), self._inputs(codes)
        similarity = self._genes.similarity
        size, parameters = self._fitted
        if len(self._codes) >= _REFIT * size and size < _LATEST:
            parameters = [fit(similarity, inputs, column, ones) for column in values.T]
            self._fitted = len(self._codes), parameters
        return [
            Surrogate(similarity, p, inputs, column, ones)
            for p, column in zip(parameters, values.T, strict=True)
        ]

    def _inputs(self, codes: Codes) -> Inputs:
        return Inputs(self._genes.canonical(codes), np.empty((len(codes), 0)))
