"""A table of trained networks as a world to search: real costs, predicted scores, real luck.

A space holds too many networks to train them all, so the mean score of one that is not in the table
is predicted from those that are, by an ensemble of trees (scikit-learn), which is of another kind
than the models of every sampler that is compared. Costs are those of the network itself. What seeds
add is drawn from the differences that equal networks of the table really had: final Dice and losses
at the rungs together, from trainings that came near the predicted score.

Source: surrogate benchmarks, Zela et al., ICLR 2022 (arXiv 2008.09777).
"""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.random import Generator
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution

import search_spaces
from nas.conditions import find_conditions
from nas.cost_book import CostBook
from nas.cost_table import CostTable
from nas.genes import Codes, Genes, is_ordered
from nas.history import Results
from nas.pareto import Floats, front_mask, hypervolume
from nas.pool import Pool
from nas.problem import Goal, Point, Problem
from nas.trained_table import Entry, Plan, read_table
from primitives.core.errors import InvalidInput

_TREES = 400
_NEAR = 20  # trainings, nearest in Dice, whose luck a training draws from
_FOLDS = 10
_GENERATIONS, _CHILDREN = 60, 300
_TIGHT = 0.05  # quantile of the table's parameters
_FEWEST = 20  # networks that a model is made of


@dataclass(frozen=True, slots=True)
class Quality:
    """How well networks that were left out are predicted.

    Attributes:
        spearman: correlation of predicted and mean Dice.
        error: median absolute error of Dice.
        ceiling: Spearman's correlation of the Dice of two seeds.
        noise: standard deviation of Dice between seeds of a network.
    """

    spearman: float
    error: float
    ceiling: float
    noise: float


class World:
    """What all searches of a table share.

    Args:
        plan: of the table.
        entries: of it; networks with fewer than two trainings do not tell luck.

    Raises:
        InvalidInput: scikit-learn is missing, or the table holds too few networks.
    """

    def __init__(self, plan: Plan, entries: Sequence[Entry]) -> None:
        self.plan = plan
        self._entries: dict[int, list[Entry]] = {}
        for entry in entries:
            self._entries.setdefault(entry.net, []).append(entry)
        if len(self._entries) < _FEWEST:
            raise InvalidInput(
                f"a table must hold at least {_FEWEST} networks, got {len(self._entries)}; "
                "extend it with nas bench table --nets"
            )
        self._space = search_spaces.load(plan.space)
        values = {name: list(d.values) for name, d in self._space.dimensions.items()}
        self.genes = Genes(values, find_conditions(self._space))
        self._costs = CostTable(plan.size)
        self._known: dict[bytes, tuple[Hashable, float, float]] = {}
        self._scores: dict[Hashable, Floats] = {}

    @cached_property
    def space(self) -> Mapping[str, BaseDistribution]:
        """The dimensions; ordered ones are integers, the ranks of their values."""
        return {
            name: IntDistribution(0, len(values) - 1)
            if is_ordered(values)
            else CategoricalDistribution(values)
            for name, values in self._ranked.items()
        }

    def coded(self, point: Mapping[str, Any]) -> dict[str, Any]:
        """Return a point of the space as searches see it."""
        return {
            name: values.index(point[name]) if is_ordered(values) else point[name]
            for name, values in self._ranked.items()
        }

    def decoded(self, point: Point) -> dict[str, Any]:
        """Return the point of the space that a search means."""
        return {
            name: values[point[name]] if is_ordered(values) else point[name]
            for name, values in self._ranked.items()
        }

    @property
    def conditions(self) -> Mapping[str, tuple[str, frozenset[Any]]]:
        """Those of the space, as searches see its values."""
        return {
            name: (
                switch,
                frozenset(
                    self._ranked[switch].index(value) if is_ordered(self._ranked[switch]) else value
                    for value in off
                ),
            )
            for name, (switch, off) in self.genes.conditions.items()
        }

    @cached_property
    def _ranked(self) -> Mapping[str, Sequence[Any]]:
        return {
            name: sorted(values) if is_ordered(values) else values
            for name, values in self.genes.values.items()
        }

    def facts(self, codes: Codes) -> tuple[Hashable, float, float]:
        """Return key, parameters and multiply-adds of a design.

        Shape: (genes,)
        """
        name = codes.tobytes()
        if name not in self._known:
            arch = self._space.arch(self.genes.decode(codes), *self.plan.channels)
            params, macs = self._costs.costs(arch)
            self._known[name] = arch.key, float(params), float(macs)
        return self._known[name]

    def scores(self, codes: Codes) -> Floats:
        """Return the predicted scores of a design, in the order of `_scores`; remembered.

        Shape: (genes,) -> (1 + 2 rungs,)
        """
        key, params, macs = self.facts(codes)
        if key not in self._scores:
            costs = np.log([[params, macs]])
            self._scores[key] = self._predict(codes[None], costs)[0]
        return self._scores[key]

    def luck(self, dice: float, rng: Generator) -> Floats:
        """Draw what a training adds to the predicted scores.

        Shape: scalar -> (1 + 2 rungs,)
        """
        means, rests = self._luck
        near = np.argsort(np.abs(means - dice), kind="stable")[:_NEAR]
        return np.asarray(rests[rng.choice(near)])

    @cached_property
    def _luck(self) -> tuple[Floats, Floats]:
        """Return mean Dice and deviation of each training of networks that have several."""
        means, rests = [], []
        for trainings in self._entries.values():
            if len(trainings) > 1:
                found = np.array([_scores(entry, self.plan.rungs) for entry in trainings])
                unbiased = np.sqrt(len(found) / (len(found) - 1))
                means += [found[:, 0].mean()] * len(found)
                rests += list(unbiased * (found - found.mean(0)))
        if not means:
            raise InvalidInput("a table must hold two trainings of a network, got one of each")
        return np.array(means), np.array(rests)

    @cached_property
    def _data(self) -> tuple[Codes, Floats, Floats]:
        """Return codes, log-costs and mean scores of the networks."""
        firsts = [trainings[0] for trainings in self._entries.values()]
        codes = self.genes.encode([entry.point for entry in firsts])
        costs = np.log([[entry.params, entry.macs] for entry in firsts])
        rungs = self.plan.rungs
        means = [np.mean([_scores(e, rungs) for e in t], axis=0) for t in self._entries.values()]
        return codes, costs, np.array(means)

    @cached_property
    def _model(self) -> Any:
        codes, costs, scores = self._data
        return _forest().fit(self._features(codes, costs), scores)

    def _predict(self, codes: Codes, costs: Floats) -> Floats:
        return np.asarray(self._model.predict(self._features(codes, costs)), dtype=float)

    def _features(self, codes: Codes, costs: Floats) -> Floats:
        """Return ranks of ordered genes, the others one column per value, and log-costs."""
        columns = []
        for gene, values in zip(
            self.genes.canonical(codes).T, self.genes.values.values(), strict=True
        ):
            if is_ordered(values):
                ranks = np.append(np.argsort(np.argsort(values)), -1)
                columns.append(ranks[gene][:, None])
            else:
                columns.append(gene[:, None] == np.arange(len(values)))
        return np.hstack([*columns, costs]).astype(float)

    def quality(self) -> Quality:
        """Return how far predictions can be trusted, by cross-validation over networks."""
        from scipy.stats import spearmanr
        from sklearn.model_selection import KFold, cross_val_predict

        codes, costs, scores = self._data
        folds = KFold(_FOLDS, shuffle=True, random_state=0)
        dice = scores[:, 0]
        found = cross_val_predict(_forest(), self._features(codes, costs), scores, cv=folds)[:, 0]
        pairs = np.array([
            [t[0].dice, t[1].dice] for t in self._entries.values() if len(t) > 1
        ])  # fmt: skip
        return Quality(
            float(spearmanr(found, dice).statistic),
            float(np.median(np.abs(found - dice))),
            float(spearmanr(*pairs.T).statistic),
            float(self._luck[1][:, 0].std()),
        )

    def published(self) -> list[dict[str, Any]]:
        """Return the published networks of the table, as searches see them."""
        return [
            self.coded(trainings[0].point)
            for trainings in self._entries.values()
            if trainings[0].origin == "published"
        ]

    def _tight(self) -> float:
        """Return a limit on parameters that one network of the table in twenty keeps."""
        return float(np.quantile(np.exp(self._data[1][:, 0]), _TIGHT))

    def losses(self, codes: Codes, limit: float) -> Floats:
        """See `nas.grounds.Ground`; networks below the table's smallest one count as large as it.

        What trees say of them is what they say of that one, so a search could shrink for ever.
        """
        worst = float(self._data[2][:, 0].min())
        rows = [[worst - self.scores(row)[0], np.log(self.facts(row)[1])] for row in codes]
        losses = np.array(rows, dtype=float).reshape(-1, 2)
        losses[:, 1] = np.maximum(losses[:, 1], self._least) - np.log(limit)
        return losses

    @property
    def _least(self) -> float:
        """Logarithm of the fewest parameters in the table."""
        return float(self._data[1][:, 0].min())

    def best(self, limit: float) -> float:
        """Return the hypervolume of a noise-free evolution, by estimated costs, checked in the end.

        Args:
            limit: the most parameters.
        """
        rng = np.random.default_rng(0)
        pool = Pool(self.genes.sizes, rng)
        book = CostBook(self._cost, self.genes, dear=True)
        codes = self._data[0]
        for _ in range(_GENERATIONS):
            costs = book.estimate(codes, rng)
            size = np.maximum(costs[:, 0], self._least)
            values = np.stack([self._predict(codes, costs)[:, 0], size], axis=1)
            values[costs[:, 0] > np.log(limit), 0] = 0.0
            front = codes[front_mask(values, ["maximize", "minimize"])]
            codes = np.unique(np.vstack([front, pool.children(front, _CHILDREN)]), axis=0)
        return hypervolume(self.losses(np.vstack([front, self._data[0]]), limit), np.zeros(2))

    def _cost(self, points: Sequence[Point]) -> Mapping[str, Floats]:
        facts = [self.facts(row)[1:] for row in self.genes.encode(points)]
        params, macs = np.array(facts).reshape(-1, 2).T
        return {"params": params, "macs": macs}

    def grounds(
        self, seeds: Sequence[int], *, tight: bool
    ) -> Iterator[tuple["Tabular", Results | None]]:
        """Yield what each seed searches, and that there is no earlier search.

        Args:
            seeds: of luck and of the searches.
            tight: whether parameters are limited to the least twentieth of the table.
        """
        limit = self._tight() if tight else float(self.plan.most_params)
        best = self.best(limit)
        for seed in seeds:
            yield Tabular(self, seed, limit, best), None


def open_world(file: Path) -> tuple[World, dict[str, Any]]:
    """Read a table, and return what to say of it beside the world that it makes.

    Raises:
        InvalidInput: the file is no table, or too small a one.
    """
    plan, entries = read_table(file)
    world = World(plan, entries)
    facts = {"name": "tabular", "table": file.name, "trainings": len(entries)}
    return world, {**facts, "quality": asdict(world.quality())}


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
        self.space, self.first = world.space, world.published()

    def problem(self) -> Problem:
        """See `Ground`."""
        return Problem(
            space=self.space,
            goals=[Goal(), Goal("params")],
            cost=lambda points: self.world._cost([self.world.decoded(p) for p in points]),
            limits={"params": self.limit},
            key=self.key,
            conditions=self.world.conditions,
            dear=True,
        )

    def _codes(self, point: Point) -> Codes:
        return self.world.genes.encode([self.world.decoded(point)])[0]

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
        return float(self.world.scores(self._codes(point))[0])

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
        scores = self.world.scores(self._codes(point))
        rng = np.random.default_rng([self.seed, number])
        return scores + self.world.luck(float(scores[0]), rng)

    def losses(self, points: Sequence[Point]) -> Floats:
        """See `Ground`."""
        codes = [self._codes(point) for point in points]
        return self.world.losses(np.array(codes, dtype=np.intp), self.limit)


def _scores(entry: Entry, rungs: Sequence[int]) -> list[float]:
    """Return final Dice, settled losses at the rungs, Dice there."""
    return [entry.dice, *entry.losses, *(entry.curve[rung - 1][2] for rung in rungs)]


def _forest() -> Any:
    try:
        from sklearn.ensemble import ExtraTreesRegressor
    except ImportError:
        raise InvalidInput("task 'tabular' needs scikit-learn: pip install scikit-learn") from None
    return ExtraTreesRegressor(_TREES, min_samples_leaf=2, max_features=0.5, random_state=0)
