"""Sampler "known-cost": models what must be measured and computes what need not be.

Parameters, multiply-adds and memory follow exactly from a point, so only scores (and latency) are
modelled, by a Gaussian process on genes and log-costs (`nas.surrogate`). A candidate's worth is the
expected hypervolume that it adds, in closed form (`nas.gain`); what breaks a limit on an exact cost
is never proposed. Running trials count as if they had met their prediction; the front's levels are
posterior means, since the best of many noisy values flatters. The first points are spread evenly
over the logarithm of the first cost.

Scores that are modelled together, such as Dice and IoU, count as independent given the genes: where
they go together, the gain of improving both is understated.

Source: known costs in the acquisition: Elsken, Metzen and Hutter, LEMONADE, ICLR 2019 (as density);
expected hypervolume improvement: see `nas.gain`. State is the study's trials alone: a continued
study goes on as if it had never stopped.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.random import Generator
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial
from scipy.special import ndtr

from nas.cost_book import CostBook
from nas.gain import expected_gain
from nas.genes import Codes, Conditions, Genes
from nas.history import History, Point, Results, point_of, read_history, values_of
from nas.pareto import Floats, front_mask
from nas.pool import Pool
from nas.surrogate import Inputs, Parameters, Surrogate, fit

START = 10  # results before the first model
_FACTOR = 2.0  # natural logarithm of the ratio of two costs that makes a large difference
_MOST = 800  # results that a model is built on
_SHORTLIST = 12  # candidates whose exact costs are measured where that is dear


@dataclass(frozen=True, slots=True)
class Objective:
    """What the sampler knows of one of the study's objectives.

    Attributes:
        cost: its name among the exact costs; None: it is measured.
        log: model the logarithm of the measured value, which is positive, such as a time.
    """

    cost: str | None = None
    log: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What a study searches.

    Attributes:
        space: name -> distribution of each dimension, integers and categories alone.
        objectives: one for each of the study's, in order.
        cost: points -> exact costs by name, positive; always the same names.
        limits: name of an exact cost -> its upper bound.
        measured_limits: names of constraints of the study's trials that are only known once
            measured, as value / limit - 1; exactly 0 says "not measured".
        key: of a point, equal for equal networks; None: points differ where their genes do.
        conditions: see `nas.genes.Genes`.
        dear: `cost` is too slow for thousands of points.
    """

    space: Mapping[str, BaseDistribution]
    objectives: Sequence[Objective]
    cost: Callable[[Sequence[Point]], Mapping[str, Floats]]
    limits: Mapping[str, float] = field(default_factory=dict)
    measured_limits: Sequence[str] = ()
    key: Callable[[Point], Hashable] | None = None
    conditions: Conditions = field(default_factory=dict)
    dear: bool = False


class KnownCostSampler(BaseSampler):
    """See the module.

    Args:
        task: what is searched.
        seed: with the trial's number it determines every draw.

    Raises:
        InvalidInput: a dimension has no list of values.
    """

    def __init__(self, task: Task, *, seed: int) -> None:
        self.task, self.seed = task, seed
        values = {name: values_of(name, dist) for name, dist in task.space.items()}
        self.genes = Genes(values, task.conditions)
        self.book = CostBook(task.cost, self.genes, dear=task.dear)
        self._fits: dict[tuple[str, int], Parameters] = {}
        self._keys: dict[bytes, Hashable] = {}
        self._independent = RandomSampler(seed=seed)

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Return the space; what an enqueued trial has fixed needs no proposal."""
        return {} if point_of(trial, list(self.task.space)) else dict(self.task.space)

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Draw at random what the space does not hold."""
        return self._independent.sample_independent(study, trial, param_name, param_distribution)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return the point of a trial."""
        if not search_space:
            return {}
        rng = np.random.default_rng([self.seed, trial.number])
        history = read_history(study, self._key, list(self.task.space), trial.number)
        if len(history.complete.points) < START:
            codes = self._spread(history, rng)
        else:
            codes = self._best(study, history, rng)
        return self.genes.decode(codes)

    def _key(self, point: Point) -> Hashable:
        codes = self.genes.encode([point])
        if codes.tobytes() not in self._keys:
            key = self.task.key(point) if self.task.key else None
            self._keys[codes.tobytes()] = key or self.genes.canonical(codes).tobytes()
        return self._keys[codes.tobytes()]

    def _spread(self, history: History, rng: Generator) -> Codes:
        """Return a point in the middle of the widest gap between the log-costs seen so far."""
        pool = Pool(self.genes.sizes, rng)
        codes = pool.random(_MOST)
        cost = self.book.estimate(codes, rng)
        fits = self._excess(cost) <= 0
        inside = np.sort(cost[fits, 0] if fits.any() else cost[:, 0])
        low, high = inside[[0, -1]]
        seen = self.genes.encode([*history.complete.points, *history.pending])
        taken = np.sort(np.clip(self.book.exact(seen)[:, 0], low, high)) if len(seen) else []
        marks = np.concatenate([[low], taken, [high]])
        gaps = np.diff(marks)
        gaps[[0, -1]] *= 2  # nothing was seen at the ends
        widest = int(gaps.argmax())
        left, right = marks[widest], marks[widest + 1]
        if not len(seen):
            goal = 0.5 * (low + high)
        else:
            goal = {0: left, len(gaps) - 1: right}.get(widest, 0.5 * (left + right))
        return self._first_new(codes, -np.abs(cost[:, 0] - goal), history, None)

    def _excess(self, cost: Floats) -> Floats:
        """Return by how much log-costs exceed the limits at most, 0 or less where all are kept."""
        worst = np.full(len(cost), -np.inf)
        for name, bound in self.task.limits.items():
            worst = np.maximum(worst, cost[:, self.book.names.index(name)] - np.log(bound))
        return worst

    def _best(self, study: Study, history: History, rng: Generator) -> Codes:
        """Return the candidate with the largest expected gain."""
        scorer = _Scorer(self, study, history)
        pool = Pool(self.genes.sizes, rng)

        def score(codes: Codes) -> Floats:
            cost = self.book.estimate(codes, rng)
            gains = scorer.gain(codes, cost)
            excess = self._excess(cost)
            return np.where(excess > 0, -1 - excess, gains)

        codes, gains = pool.search(scorer.front_codes, score)
        return self._first_new(codes, gains, history, scorer)

    def _first_new(
        self, codes: Codes, scores: Floats, history: History, scorer: "_Scorer | None"
    ) -> Codes:
        """Return the best candidate that is neither known nor beyond a limit, by exact costs.

        Where costs were estimated, up to `_SHORTLIST` candidates are scored anew with exact ones,
        fewer if none of the rest can be expected to do better.
        """
        order = np.argsort(-scores, kind="stable")
        best, best_score, checked = None, -np.inf, 0
        for row in order:
            if best is not None and (checked >= _SHORTLIST or best_score >= scores[row]):
                break
            if self._key(self.genes.decode(codes[row])) in history.known:
                continue
            cost = self.book.exact(codes[row : row + 1])
            if self._excess(cost)[0] > 0:
                continue
            checked += 1
            exact = scorer.gain(codes[row : row + 1], cost)[0] if scorer else scores[row]
            if best is None or exact > best_score:
                best, best_score = codes[row], exact
            if not self.task.dear or scorer is None:
                break
        return codes[order[0]] if best is None else best

    def parameters(
        self, name: str, inputs: Inputs, values: Floats, counts: Floats
    ) -> Parameters:
        """Return kernel parameters, fitted on the first results; anew each time they grow by 10 %.

        So they depend on the results alone, not on when the study was interrupted.
        """
        size = START
        while (grown := size + max(1, size // 10)) <= len(values):
            size = grown
        if (name, size) not in self._fits:
            self._fits[name, size] = fit(
                self.genes.similarity, inputs[:size], values[:size], counts[:size]
            )
        return self._fits[name, size]


class _Scorer:
    """What the results so far say of any candidate."""

    def __init__(self, sampler: KnownCostSampler, study: Study, history: History) -> None:
        self.sampler, self.task = sampler, sampler.task
        done = history.complete
        self._codes = sampler.genes.encode(done.points)
        cost = sampler.book.exact(self._codes)
        pending = sampler.genes.encode(history.pending)
        waiting = self.inputs(pending, sampler.book.exact(pending))
        self._signs = [-1.0 if d == StudyDirection.MAXIMIZE else 1.0 for d in study.directions]
        self._models: dict[int, Surrogate] = {}
        inputs = self.inputs(self._codes, cost)
        for i, objective in enumerate(self.task.objectives):
            if objective.cost is None:
                values = done.values[:, i]
                values = self._signs[i] * (np.log(values) if objective.log else values)
                model = self._model(str(i), inputs, values, done.counts)
                self._models[i] = model.believe(waiting) if len(waiting) else model
        self._limits = [
            self._limit_model(name, history.excess[name])
            for name in self.task.measured_limits
            if name in history.excess
        ]
        every = np.vstack([self._codes, pending])
        losses, _ = self.losses(every, sampler.book.exact(every))
        mask = front_mask(losses, ["minimize"] * losses.shape[1])
        self.front_codes, self._front = every[mask], losses[mask]
        self._reference = self._corner(losses)

    def inputs(self, codes: Codes, cost: Floats) -> Inputs:
        """Return points as the models see them."""
        return Inputs(self.sampler.genes.canonical(codes), cost / _FACTOR)

    def losses(self, codes: Codes, cost: Floats) -> tuple[Floats, Floats]:
        """Return mean and standard deviation of what is minimised, one column per objective."""
        inputs = self.inputs(codes, cost)
        means, sds = [], []
        for i, objective in enumerate(self.task.objectives):
            if objective.cost is None:
                mean, sd = self._models[i].predict(inputs)
            else:
                mean = self._signs[i] * cost[:, self.sampler.book.names.index(objective.cost)]
                sd = np.zeros(len(cost))
            means.append(mean)
            sds.append(sd)
        return np.stack(means, axis=1), np.stack(sds, axis=1)

    def gain(self, codes: Codes, cost: Floats) -> Floats:
        """Return the expected hypervolume gain, times the chance to keep the measured limits."""
        gains = expected_gain(self._front, self._reference, *self.losses(codes, cost))
        inputs = self.inputs(codes, cost)
        for model in self._limits:
            mean, sd = model.predict(inputs)
            gains = gains * ndtr(-mean / sd)
        return gains

    def _corner(self, losses: Floats) -> Floats:
        """Return the reference: the worst of each column, or the limit of a cost."""
        corner = losses.max(0)
        for i, objective in enumerate(self.task.objectives):
            if objective.cost in self.task.limits:
                corner[i] = np.log(self.task.limits[objective.cost])
        return np.asarray(corner)

    def _model(self, name: str, inputs: Inputs, values: Floats, counts: Floats) -> Surrogate:
        parameters = self.sampler.parameters(name, inputs, values, counts)
        if len(values) > _MOST:
            rows = np.sort(np.argsort(values, kind="stable")[:_MOST])
            inputs, values, counts = inputs[rows], values[rows], counts[rows]
        return Surrogate(self.sampler.genes.similarity, parameters, inputs, values, counts)

    def _limit_model(self, name: str, found: Results) -> Surrogate:
        raise NotImplementedError
