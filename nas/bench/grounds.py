"""What searches are compared on: a world that answers in no time what a training would show."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Protocol

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution

from nas.bench.synthetic import GENES, Codes, Instance, costs
from nas.pareto import Floats
from nas.sampler.problem import Goal, Point, Problem


class Ground(Protocol):
    """A search maximises Dice and minimises parameters.

    Attributes:
        seed: of what is random in it, and of the methods that search it.
        space: name -> distribution of each dimension.
        first: points that every search begins with.
        best: the largest hypervolume that is known.
    """

    @property
    def seed(self) -> int: ...  # noqa: D102
    @property
    def space(self) -> Mapping[str, BaseDistribution]: ...  # noqa: D102
    @property
    def first(self) -> Sequence[Point]: ...  # noqa: D102
    @property
    def best(self) -> float: ...  # noqa: D102

    def problem(self) -> Problem:
        """Return what a sampler that knows costs is told."""

    def key(self, point: Point) -> Hashable:
        """Return what is equal for equal designs."""

    def costs(self, point: Point) -> tuple[float, float]:
        """Return parameters and multiply-adds."""

    def knows(self, point: Point) -> bool:
        """Whether a training of this design can be told; one that cannot be costs nothing."""

    def seconds(self, point: Point) -> float:
        """Return how long a full training takes."""

    def dice(self, point: Point) -> float:
        """Return the true Dice of a design, the mean over trainings."""

    def train(self, point: Point, number: int) -> float:
        """Return the Dice of a search's training of that number, noise and all."""

    def loss(self, point: Point, number: int, share: float) -> float:
        """Return the validation loss of that training after a share of its plan."""

    def losses(self, points: Sequence[Point]) -> Floats:
        """Return true losses: columns of Dice and log-parameters whose worst value is 0.

        Designs that are beyond the limit on parameters are worse than 0 in the second.

        Shape: n -> (n, 2)
        """


class Synthetic:
    """The made-up problem; ordered genes are integers for all methods.

    Args:
        instance: of it.
    """

    def __init__(self, instance: Instance) -> None:
        self.instance = instance
        self.seed, self.limit, self.first = instance.seed, instance.limit, ()
        self.space: Mapping[str, BaseDistribution] = {
            name: CategoricalDistribution(values)
            if isinstance(values[0], str)
            else IntDistribution(0, len(values) - 1)
            for name, values in GENES.items()
        }

    @property
    def best(self) -> float:
        """Hypervolume of a noise-free evolution."""
        return self.instance.best

    def problem(self) -> Problem:
        """See `Ground`."""

        def cost(points: Sequence[Point]) -> Mapping[str, Floats]:
            params, macs = costs(_codes(points)).T
            return {"params": params, "macs": macs}

        limits = {} if self.limit is None else {"params": self.limit}
        return Problem(space=self.space, goals=[Goal(), Goal("params")], cost=cost, limits=limits)

    def key(self, point: Point) -> Hashable:
        """See `Ground`."""
        return tuple(point[name] for name in GENES)

    def costs(self, point: Point) -> tuple[float, float]:
        """See `Ground`."""
        params, macs = costs(_codes([point]))[0]
        return float(params), float(macs)

    def knows(self, point: Point) -> bool:
        """See `Ground`."""
        return True

    def seconds(self, point: Point) -> float:
        """See `Ground`; a minute each, by agreement."""
        return 60.0

    def dice(self, point: Point) -> float:
        """See `Ground`."""
        return float(self.instance.dice(_codes([point]))[0])

    def train(self, point: Point, number: int) -> float:
        """See `Ground`."""
        return self.instance.train(_codes([point])[0], number)

    def loss(self, point: Point, number: int, share: float) -> float:
        """See `Ground`."""
        return self.instance.loss(_codes([point])[0], number, share)

    def losses(self, points: Sequence[Point]) -> Floats:
        """See `Ground`."""
        return self.instance.losses(_codes(points))


def _codes(points: Sequence[Point]) -> Codes:
    """Return indices of values; ordered genes are indices already."""
    rows = [
        [
            GENES[name].index(point[name]) if isinstance(point[name], str) else point[name]
            for name in GENES
        ]
        for point in points
    ]
    return np.array(rows, dtype=np.intp).reshape(-1, len(GENES))
