"""Searches of a table of trained networks; see `nas.table_world`."""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution

from nas.genes import Codes, Conditions, is_ordered
from nas.history import Results
from nas.pareto import Floats
from nas.problem import Goal, Point, Problem
from nas.table_world import World
from nas.trained_table import read_table


class Tabular:
    """One search's view of a table; see `nas.grounds.Ground`.

    Args:
        world: the table.
        seed: of luck and of the search.
        limit: the most parameters.
        best: the largest hypervolume that is known.
    """

    def __init__(self, world: World, seed: int, limit: float, best: float) -> None:
        self.world, self.seed, self.limit, self.best = world, seed, limit, best
        self._values = {
            name: sorted(values) if is_ordered(values) else values
            for name, values in world.genes.values.items()
        }
        self.space: Mapping[str, BaseDistribution] = {
            name: IntDistribution(0, len(values) - 1)
            if is_ordered(values)
            else CategoricalDistribution(values)
            for name, values in self._values.items()
        }
        self.first = [self.coded(point) for point in world.published()]

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
            for name, (switch, off) in self.world.genes.conditions.items()
        }

    def _code(self, name: str, value: Any) -> Any:
        values = self._values[name]
        return values.index(value) if is_ordered(values) else value

    def problem(self) -> Problem:
        """See `Ground`."""
        return Problem(
            space=self.space,
            goals=[Goal(), Goal("params")],
            cost=lambda points: self.world.cost([self.decoded(p) for p in points]),
            limits={"params": self.limit},
            key=self.key,
            conditions=self.conditions,
            dear=True,
        )

    def _codes(self, point: Point) -> Codes:
        codes: Codes = self.world.genes.encode([self.decoded(point)])[0]
        return codes

    def key(self, point: Point) -> Hashable:
        """See `Ground`."""
        return self.world.facts(self._codes(point))[0]

    def costs(self, point: Point) -> tuple[float, float]:
        """See `Ground`."""
        return self.world.facts(self._codes(point))[1:]

    def knows(self, point: Point) -> bool:
        """See `Ground`; the table says nothing of larger networks than its own."""
        return self.costs(point)[0] <= self.world.plan.most_params

    def train(self, point: Point, number: int) -> float:
        """See `Ground`."""
        return float(np.clip(self._trained(point, number)[0], 0, 1))

    def dice(self, point: Point) -> float:
        """See `Ground`."""
        return float(self.world.scores(self._codes(point)[None])[0, 0])

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
        scores = self.world.scores(self._codes(point)[None])[0]
        rng = np.random.default_rng([self.seed, number])
        return np.asarray(scores + self.world.luck(float(scores[0]), rng))

    def losses(self, points: Sequence[Point]) -> Floats:
        """See `Ground`."""
        codes = [self._codes(point) for point in points]
        return self.world.losses(np.array(codes, dtype=np.intp), self.limit)


def tabular_grounds(
    world: World, seeds: Sequence[int], *, tight: bool
) -> Iterator[tuple[Tabular, Results | None]]:
    """Yield what each seed searches, and that there is no earlier search.

    Args:
        world: the table.
        seeds: of luck and of the searches.
        tight: whether parameters are limited to the least twentieth of the table.
    """
    limit = world.tight() if tight else float(world.plan.most_params)
    best = world.best(limit)
    for seed in seeds:
        yield Tabular(world, seed, limit, best), None


def open_world(file: Path) -> tuple[World, dict[str, Any]]:
    """Read a table, and return what to say of it beside the world that it makes.

    Raises:
        InvalidInput: the file is no table, or too small a one.
    """
    plan, entries = read_table(file)
    world = World(plan, entries)
    facts = {"name": "tabular", "table": file.name, "trainings": len(entries)}
    return world, {**facts, "quality": asdict(world.quality())}
