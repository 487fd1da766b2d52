"""A table of trained networks as a world to search: real costs, predicted scores, real luck.

A space holds too many networks to train them all, so the mean score of one that is not in the table
is predicted from those that are, by an ensemble of trees (scikit-learn), which is of another kind
than the models of every sampler that is compared. Costs are those of the network itself. What seeds
add is drawn from the differences that equal networks of the table really had: final Dice and losses
at the rungs together, from trainings that came near the predicted score.

Source: surrogate benchmarks, Zela et al., ICLR 2022 (arXiv 2008.09777).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.random import Generator

from nas.bench.networks import Networks
from nas.bench.world import scores_of
from nas.pareto import Floats, front_mask, hypervolume
from nas.sampler.cost_book import CostBook
from nas.sampler.genes import Codes, is_ordered
from nas.sampler.pool import Pool
from nas.trained_table import Entry, Plan, by_network
from primitives.core.errors import InvalidInput
from search_spaces.core.space import Point

_TREES = 200
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


class PredictedWorld:
    """What all searches of a table share.

    Args:
        plan: of the table.
        entries: of it; networks with fewer than two trainings do not tell luck.

    Raises:
        InvalidInput: scikit-learn is missing, the table holds too few networks, or ones that its
            space does not know.
    """

    def __init__(self, plan: Plan, entries: Sequence[Entry]) -> None:
        self.plan = plan
        self._entries = by_network(entries)
        if len(self._entries) < _FEWEST:
            raise InvalidInput(
                f"a table must hold at least {_FEWEST} networks, got {len(self._entries)}; "
                "extend it with nas bench table --nets"
            )
        self.nets = Networks(plan.space, plan.channels, plan.size)
        for trainings in self._entries:
            self.nets.space.validate(trainings[0].point)  # the space may have changed since
        self._scores: dict[str, Floats] = {}
        self._seconds: dict[str, float] = {}
        self._best: dict[float, float] = {}

    def training(self, codes: Codes, seed: int, number: int) -> Floats:
        """Return the scores of a training; see `World`."""
        scores = self.scores(codes[None])[0]
        rng = np.random.default_rng([seed, number])
        return np.asarray(scores + self.luck(float(scores[0]), rng))

    def dice(self, codes: Codes, seed: int) -> float:
        """Return the predicted mean Dice; see `World`."""
        return float(self.scores(codes[None])[0, 0])

    def seconds(self, codes: Codes, seed: int) -> float:
        """Return the predicted mean of a training's log-seconds, as seconds; see `World`."""
        facts = self.nets.facts(codes)
        if facts[0] not in self._seconds:
            features = self._features(codes[None], np.log([facts[1:]]))
            self._seconds[facts[0]] = float(np.exp(self._durations.predict(features)[0]))
        return self._seconds[facts[0]]

    def scores(self, codes: Codes) -> Floats:
        """Return the predicted scores of designs, in the order of `scores_of`; remembered.

        Shape: (n, genes) -> (n, 1 + 2 rungs)
        """
        facts = [self.nets.facts(row) for row in codes]
        rows = [i for i, (key, *_) in enumerate(facts) if key not in self._scores]
        if rows:
            costs = np.log([facts[i][1:] for i in rows])
            new = self._predict(codes[rows], costs)
            self._scores |= {facts[i][0]: row for i, row in zip(rows, new, strict=True)}
        return np.array([self._scores[key] for key, *_ in facts])

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
        for trainings in self._entries:
            if len(trainings) > 1:
                found = np.array([scores_of(entry, self.plan.rungs) for entry in trainings])
                unbiased = np.sqrt(len(found) / (len(found) - 1))
                means += [found[:, 0].mean()] * len(found)
                rests += list(unbiased * (found - found.mean(0)))
        if not means:
            raise InvalidInput("a table must hold two trainings of a network, got one of each")
        return np.array(means), np.array(rests)

    @cached_property
    def _data(self) -> tuple[Codes, Floats, Floats]:
        """Return codes, log-costs and mean scores of the networks."""
        firsts = [trainings[0] for trainings in self._entries]
        codes = self.nets.genes.encode([entry.point for entry in firsts])
        costs = np.log([[entry.params, entry.macs] for entry in firsts])
        rungs = self.plan.rungs
        means = [np.mean([scores_of(e, rungs) for e in t], axis=0) for t in self._entries]
        return codes, costs, np.array(means)

    @cached_property
    def _model(self) -> Any:
        codes, costs, scores = self._data
        return _forest().fit(self._features(codes, costs), scores)

    @cached_property
    def _durations(self) -> Any:
        """Return the trees of log-seconds."""
        codes, costs, _ = self._data
        logs = [np.mean(np.log([e.seconds for e in t])) for t in self._entries]
        return _forest().fit(self._features(codes, costs), logs)

    def _predict(self, codes: Codes, costs: Floats) -> Floats:
        return np.asarray(self._model.predict(self._features(codes, costs)), dtype=float)

    def _features(self, codes: Codes, costs: Floats) -> Floats:
        """Return ranks of ordered genes, the others one column per value, and log-costs."""
        columns = []
        for gene, values in zip(
            self.nets.genes.canonical(codes).T, self.nets.genes.values.values(), strict=True
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
            [t[0].dice, t[1].dice] for t in self._entries if len(t) > 1
        ])  # fmt: skip
        return Quality(
            float(spearmanr(found, dice).statistic),
            float(np.median(np.abs(found - dice))),
            float(spearmanr(*pairs.T).statistic),
            float(self._luck[1][:, 0].std()),
        )

    def published(self) -> list[Point]:
        """Return the published networks of the table."""
        return [
            trainings[0].point for trainings in self._entries if trainings[0].origin == "published"
        ]

    def tight(self) -> float:
        """Return a limit on parameters that one network of the table in twenty keeps."""
        return float(np.quantile(np.exp(self._data[1][:, 0]), _TIGHT))

    def losses(self, codes: Codes, seed: int, limit: float) -> Floats:
        """Return true losses; see `World`."""
        worst = float(self._data[2][:, 0].min())
        if not len(codes):
            return np.empty((0, 2))
        params = np.log([self.nets.facts(row)[1] for row in codes])
        size = np.maximum(params, np.log(self.fewest)) - np.log(limit)
        return np.stack([worst - self.scores(codes)[:, 0], size], axis=1)

    @property
    def fewest(self) -> float:
        """Parameters of the table's smallest network.

        Trees say the same of it and of all that are smaller, so that a search could shrink for
        nothing.
        """
        return float(np.exp(self._data[1][:, 0].min()))

    def best(self, limit: float) -> float:
        """Return the hypervolume of a noise-free evolution; see `World`."""
        if limit not in self._best:
            self._best[limit] = self._evolved(limit)
        return self._best[limit]

    def _evolved(self, limit: float) -> float:
        """Evolve by estimated costs; in the end costs are exact."""
        rng = np.random.default_rng(0)
        pool = Pool(self.nets.genes.sizes, rng)
        book = CostBook(self.nets.cost, self.nets.genes, dear=True)
        codes, bounds = self._data[0], np.log([limit, self.plan.most_macs or np.inf])
        for _ in range(_GENERATIONS):
            costs = book.estimate(codes)
            size = np.maximum(costs[:, 0], np.log(self.fewest))
            values = np.stack([self._predict(codes, costs)[:, 0], size], axis=1)
            values[(costs > bounds).any(axis=1), 0] = 0.0
            front = codes[front_mask(values, ["maximize", "minimize"])]
            codes = np.unique(np.vstack([front, pool.children(front, _CHILDREN)]), axis=0)
        codes = np.vstack([front, self._data[0]])
        allowed = [self.plan.allows(*self.nets.facts(row)[1:]) for row in codes]
        return hypervolume(self.losses(codes[allowed], 0, limit), np.zeros(2))


def _forest() -> Any:
    try:
        from sklearn.ensemble import ExtraTreesRegressor
    except ImportError:
        raise InvalidInput(
            "task 'tabular' needs scikit-learn: pip install nas-unet[bench]"
        ) from None
    return ExtraTreesRegressor(_TREES, min_samples_leaf=2, max_features=0.5, random_state=0)
