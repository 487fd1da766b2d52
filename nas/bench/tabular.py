"""Searches of a space whose trainings share a plan; see `table_world` and `live_world`."""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution

from nas.bench.world import World
from nas.earlier_results import results_of_table
from nas.objectives import find_objectives
from nas.pareto import Floats
from nas.sampler.genes import Codes, Conditions, is_ordered
from nas.sampler.history import Results
from nas.sampler.problem import Goal, Point, Problem
from nas.trained_table import Entry


class Tabular:
    """One search's view of a world; see `grounds.Ground`.

    Args:
        world: what trainings show.
        seed: of luck and of the search.
        limit: the most parameters.
    """

    def __init__(self, world: World, seed: int, limit: float) -> None:
        self.world, self.seed, self.limit = world, seed, limit
        self._nets = world.nets
        self._values = {
            name: sorted(values) if is_ordered(values) else values
            for name, values in world.nets.genes.values.items()
        }
        self.space: Mapping[str, BaseDistribution] = {
            name: IntDistribution(0, len(values) - 1)
            if is_ordered(values)
            else CategoricalDistribution(values)
            for name, values in self._values.items()
        }
        self.first = [self.coded(point) for point in world.published()]

    @property
    def best(self) -> float:
        """See `Ground`."""
        return self.world.best(self.limit)

    def coded(self, point: Mapping[str, Any]) -> dict[str, Any]:
        """Return a point of the space as searches see it: ordered values by their ranks."""
        return {name: self._code(name, point[name]) for name in self._values}

    def decoded(self, point: Point) -> dict[str, Any]:
        """Return the point of the space that a search means."""
        return {
            name: values[point[name]] if is_ordered(values) else point[name]
            for name, values in self._values.items()
        }

    @property
    def conditions(self) -> Conditions:
        """Those of the space, as searches see its values."""
        return {
            name: (switch, frozenset(self._code(switch, value) for value in off))
            for name, (switch, off) in self._nets.genes.conditions.items()
        }

    def _code(self, name: str, value: Any) -> Any:
        values = self._values[name]
        return values.index(value) if is_ordered(values) else value

    def problem(self) -> Problem:
        """See `Ground`."""
        most = self.world.plan.most_macs
        return Problem(
            space=self.space,
            goals=[Goal(), Goal("params")],
            cost=self._cost,
            limits={"params": self.limit} | ({"macs": float(most)} if most else {}),
            key=self.key,
            conditions=self.conditions,
            dear=True,
        )

    def _cost(self, points: Sequence[Point]) -> Mapping[str, Floats]:
        found = self._nets.cost([self.decoded(point) for point in points])
        return {**found, "params": np.maximum(found["params"], self.world.fewest)}

    def _codes(self, point: Point) -> Codes:
        codes: Codes = self._nets.genes.encode([self.decoded(point)])[0]
        return codes

    def key(self, point: Point) -> Hashable:
        """See `Ground`."""
        return self._nets.facts(self._codes(point))[0]

    def costs(self, point: Point) -> tuple[float, float]:
        """See `Ground`."""
        params, macs = self._nets.facts(self._codes(point))[1:]
        return max(params, self.world.fewest), macs

    def knows(self, point: Point) -> bool:
        """See `Ground`; nothing larger than the plan allows is trained."""
        return self.world.plan.allows(*self.costs(point))

    def seconds(self, point: Point) -> float:
        """See `Ground`; on the machine that made the table."""
        return self.world.seconds(self._codes(point), self.seed)

    def train(self, point: Point, number: int) -> float:
        """See `Ground`."""
        return float(np.clip(self._trained(point, number)[0], 0, 1))

    def dice(self, point: Point) -> float:
        """See `Ground`."""
        return self.world.dice(self._codes(point), self.seed)

    def loss(self, point: Point, number: int, share: float) -> float:
        """See `Ground`; at the plan's rungs alone."""
        return float(self._trained(point, number)[1 + self._rung(share)])

    def early_dice(self, point: Point, number: int, share: float) -> float:
        """Return what thresholded Dice a training shows at a rung."""
        rungs = len(self.world.plan.rungs)
        return float(self._trained(point, number)[1 + rungs + self._rung(share)])

    def _rung(self, share: float) -> int:
        return self.world.plan.rungs.index(round(share * self.world.plan.epochs))

    def _trained(self, point: Point, number: int) -> Floats:
        return self.world.training(self._codes(point), self.seed, number)

    def earlier(self, entries: Sequence[Entry]) -> Results:
        """Return the networks of another table of the space as results of an earlier search."""
        found = results_of_table(entries, find_objectives(["dice", "params"]))
        return replace(found, points=[self.coded(point) for point in found.points])

    def losses(self, points: Sequence[Point]) -> Floats:
        """See `Ground`."""
        codes = np.array([self._codes(point) for point in points], dtype=np.intp)
        sizes = len(points), len(self._values)
        return self.world.losses(codes.reshape(sizes), self.seed, self.limit)


def tabular_grounds(
    world: World, seeds: Sequence[int], limit: float, earlier: Sequence[Entry] = ()
) -> Iterator[tuple[Tabular, Results | None]]:
    """Yield what each seed searches, and results of an earlier search if there was one.

    Args:
        world: that all search.
        seeds: of luck and of the searches.
        limit: the most parameters.
        earlier: another table of the space, on other data.
    """
    for seed in seeds:
        ground = Tabular(world, seed, limit)
        yield ground, ground.earlier(earlier) if earlier else None
