"""What trainings of one plan show, from a table or from trainings that are run when asked for."""

from collections.abc import Sequence
from typing import Protocol

from nas.bench.networks import Networks
from nas.pareto import Floats
from nas.sampler.genes import Codes
from nas.trained_table import Entry, Plan
from search_spaces.core.space import Point


class World(Protocol):
    """What trainings of one plan show.

    Attributes:
        plan: that they share.
        nets: that can be trained.
        fewest: parameters that smaller networks count as, for searches as well.
    """

    plan: Plan
    nets: Networks

    @property
    def fewest(self) -> float: ...  # noqa: D102

    def training(self, codes: Codes, seed: int, number: int) -> Floats:
        """Return what a search's training shows, in the order of `scores_of`.

        Args:
            codes: of the network.
            seed: of the search.
            number: of the training.

        Shape: (genes,) -> (1 + 2 rungs,)
        """

    def dice(self, codes: Codes, seed: int) -> float:
        """Return the Dice of a network that a search is judged by.

        Shape: (genes,)
        """

    def seconds(self, codes: Codes, seed: int) -> float:
        """Return how long a search's training of a network takes.

        Shape: (genes,)
        """

    def losses(self, codes: Codes, seed: int, limit: float) -> Floats:
        """Return the losses that a search is judged by, of networks in order of their trainings.

        Shape: (n, genes) -> (n, 2); see `grounds.Ground`
        """

    def published(self) -> list[Point]:
        """Return the published networks that every search begins with."""

    def best(self, limit: float) -> float:
        """Return the largest hypervolume that is known of networks within a limit."""


def scores_of(entry: Entry, rungs: Sequence[int]) -> list[float]:
    """Return final Dice, settled losses at the rungs, Dice there."""
    return [entry.dice, *entry.losses, *(entry.curve[rung - 1][2] for rung in rungs)]
