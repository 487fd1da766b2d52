"""How alike two points are, gene by gene and cost by cost."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nas.pareto import Floats


@dataclass(frozen=True, slots=True)
class Inputs:
    """Points as the process sees them.

    Attributes:
        codes: index of each gene's value.
        costs: log-costs, in units in which 1 is a large difference.

    Shape: (n, genes), (n, costs)
    """

    codes: NDArray[np.intp]
    costs: Floats

    def __len__(self) -> int:
        return len(self.codes)

    def __getitem__(self, rows: "slice | NDArray[np.intp] | NDArray[np.bool_]") -> "Inputs":
        return Inputs(self.codes[rows], self.costs[rows])

    def join(self, other: "Inputs") -> "Inputs":
        """Return these points and then the others."""
        codes = np.vstack([self.codes, other.codes])
        return Inputs(codes, np.vstack([self.costs, other.costs]))


@dataclass(frozen=True, slots=True)
class Similarity:
    """How alike the values of each gene are: one positive definite table per gene, diagonal 1."""

    tables: tuple[Floats, ...]

    def single(self) -> "Similarity":
        """Return it in single precision, in which `sums` takes half the time."""
        return Similarity(tuple(table.astype(np.float32) for table in self.tables))

    def each(self, a: Inputs, b: Inputs) -> Floats:
        """Return the similarity of every gene and cost.

        Shape: (n), (m) -> (genes + costs, n, m)
        """
        genes = [table[np.ix_(a.codes[:, i], b.codes[:, i])] for i, table in enumerate(self.tables)]
        costs = [_closeness(a.costs[:, i], b.costs[:, i]) for i in range(a.costs.shape[1])]
        return np.array([*genes, *costs])

    def sums(self, a: Inputs, b: Inputs, weights: Floats) -> tuple[Floats, Floats]:
        """Return the sum over genes and costs of weighted similarities, and of their squares.

        Shape: (n), (m), (genes + costs,) -> (n, m), (n, m)
        """
        ends = np.cumsum([len(table) for table in self.tables], dtype=np.intp)
        starts = np.append(0, ends[:-1])
        kind = self.tables[0].dtype
        left, right = np.empty((len(a), ends[-1]), kind), np.zeros((len(b), ends[-1]), kind)
        for i, table in enumerate(self.tables):
            left[:, starts[i] : ends[i]] = (weights[i] * table)[a.codes[:, i]]
        np.put_along_axis(right, starts + b.codes, 1.0, axis=1)
        total, squares = left @ right.T, left**2 @ right.T
        for i, weight in enumerate(weights[len(self.tables) :]):
            close = weight * _closeness(a.costs[:, i], b.costs[:, i])
            total += close
            squares += close**2
        return total, squares


def _closeness(a: Floats, b: Floats) -> Floats:
    return np.asarray(np.exp(-0.5 * (a[:, None] - b) ** 2))
