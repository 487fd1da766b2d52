"""What the results of a search say of any candidate: predicted losses and expected gain."""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from nas.pareto import Floats, front_mask
from nas.sampler.cost_book import CostBook
from nas.sampler.curve_model import CurveFits
from nas.sampler.earlier import Earlier, Informed, Model
from nas.sampler.gain import expected_gain
from nas.sampler.genes import Codes, Genes
from nas.sampler.history import History
from nas.sampler.learned import Learned, Memory, learn
from nas.sampler.problem import Problem
from nas.sampler.similarity import Inputs
from nas.sampler.surrogate import Parameters, Surrogate, fit
from nas.sampler.warp import Warp

_FACTOR = 2.0  # difference of two log-costs that the models take for a large one
_MOST = 800  # results that a model is built on


def to_inputs(genes: Genes, codes: Codes, cost: Floats) -> Inputs:
    """Return points as processes see them.

    Args:
        genes: of their space.
        codes: indices of their values.
        cost: their log-costs.
    """
    return Inputs(genes.canonical(codes), cost / _FACTOR)


class Worth:
    """Models of everything that is measured, and the front that they predict.

    Args:
        problem: what is searched.
        genes: of its space.
        book: of its exact costs.
        history: its results, `START` or more.
        signs: per objective, -1 where it is maximised, else 1.
        memory: what models have learned so far.
        earlier: what an earlier search foretells.
        curves: learns from trainings that were seen before their end.

    Attributes:
        front: predicted best of the results and the points under way.
    """

    def __init__(
        self,
        problem: Problem,
        genes: Genes,
        book: CostBook,
        history: History,
        signs: Sequence[float],
        memory: Memory,
        earlier: Earlier,
        curves: CurveFits,
    ) -> None:
        self._problem, self._genes, self._book = problem, genes, book
        self._signs, self._memory = signs, memory
        done = history.told
        codes, waiting = genes.encode(done.points), genes.encode(history.pending)
        inputs = self._inputs(codes, book.exact(codes), history.lineage)
        pending = self._inputs(waiting, book.exact(waiting))
        self._costs = [book.names.index(goal.cost) if goal.cost else None for goal in problem.goals]
        self._models: dict[int, Model | Informed] = {}
        self._warps: list[Warp | None] = [None] * len(signs)
        self._curves, self._runs = curves, history.curves
        for i, goal in enumerate(problem.goals):
            if goal.cost is None:
                values = signs[i] * (np.log(done.values[:, i]) if goal.log else done.values[:, i])
                model = self._goal(i, inputs, values, done.counts, earlier)
                self._models[i] = model.believe(pending) if len(pending) else model
        self._limits = [
            limit for name in problem.measured_limits if (limit := self._limit(name, history))
        ]
        every = np.vstack([genes.encode(history.complete.points), waiting])
        losses, _ = self._losses(every, book.exact(every))
        for i, warp in enumerate(self._warps):
            losses[:, i] = losses[:, i] if warp is None else warp.value(losses[:, i])
        mask = front_mask(losses, ["minimize"] * losses.shape[1])
        self.front, self._levels, self._corner = every[mask], losses[mask], self._reference(losses)

    def gain(self, codes: Codes, cost: Floats) -> Floats:
        """Return the expected hypervolume gain, times the chance to keep the measured limits.

        Shape: (n, genes), (n, costs) -> (n,)
        """
        losses = self._losses(codes, cost)
        gains = expected_gain(self._levels, self._corner, *losses, self._warps)
        for model in self._limits:
            mean, sd = model.predict(self._inputs(codes, cost))
            gains = gains * ndtr(-mean / sd)
        return gains

    def _losses(self, codes: Codes, cost: Floats) -> tuple[Floats, Floats]:
        """Return mean and deviation of what is minimised, latent where it is modelled."""
        inputs = self._inputs(codes, cost)
        means, sds = np.empty((2, len(codes), len(self._costs)))
        for i, column in enumerate(self._costs):
            if column is None:
                means[:, i], sds[:, i] = self._models[i].predict(inputs)
            else:
                means[:, i], sds[:, i] = self._signs[i] * cost[:, column], 0.0
        return means, sds

    def _reference(self, losses: Floats) -> Floats:
        """Return the worst of each column, or the limit of a cost."""
        corner = losses.max(0)
        for i, goal in enumerate(self._problem.goals):
            if goal.cost is not None and goal.cost in self._problem.limits:
                corner[i] = self._signs[i] * np.log(self._problem.limits[goal.cost])
        return np.asarray(corner)

    def _inputs(self, codes: Codes, cost: Floats, lineage: Floats | None = None) -> Inputs:
        """Return points as processes see them, trained from scratch if they have no lineage."""
        seen = cost if self._problem.costs_as_inputs else cost[:, :0]
        inputs = to_inputs(self._genes, codes, seen)
        if not self._problem.inherits:
            return inputs
        column = np.zeros(len(codes)) if lineage is None else lineage
        return Inputs(inputs.codes, np.column_stack([inputs.costs, column]))

    def _limit(self, name: str, history: History) -> Surrogate | None:
        """Return a model of log(value / limit), None while too little was measured."""
        found = history.excess.get(name)
        rows: NDArray[np.intp] = np.flatnonzero(found.values[:, 0]) if found else np.array([], int)
        if found is None or len(rows) < 2:
            return None
        codes = self._genes.encode([found.points[row] for row in rows])
        values, counts = np.log1p(found.values[rows, 0]), found.counts[rows]
        inputs, similarity = self._inputs(codes, self._book.exact(codes)), self._genes.similarity

        def learn_limit(n: int) -> Learned:
            return Learned(fit(similarity, inputs[:n], values[:n], counts[:n]))

        known = self._memory.recall(f"limit {name}", len(values), learn_limit)
        return self._model(known.parameters, inputs, counts, values)

    def _goal(
        self, goal: int, inputs: Inputs, values: Floats, counts: Floats, earlier: Earlier
    ) -> Model | Informed:
        """Return a model of an objective's latent values, and keep its warp."""

        def learn_goal(n: int) -> Learned:
            rest = partial(earlier.rest, goal, inputs[:n])
            return learn(self._genes.similarity, inputs[:n], values[:n], counts[:n], rest)

        known = self._memory.recall(f"goal {goal}", len(values), learn_goal)
        warp = self._warps[goal] = Warp.around(values, known.margins)
        model: Callable[[Floats], Model]
        model = partial(self._model, known.parameters, inputs, warp.worth(values, counts))
        if self._runs is not None and not self._problem.goals[goal].log:  # a time has no curve
            codes = self._genes.encode(self._runs.points)
            seen = self._inputs(codes, self._book.exact(codes)), self._runs.losses
            model = partial(self._curves.model, f"goal {goal}", *seen)
        return earlier.inform(goal, inputs, warp.latent(values), model)

    def _model(
        self, parameters: Parameters, inputs: Inputs, counts: Floats, values: Floats
    ) -> Surrogate:
        """Return the model of all results; of many, the best and an even choice of the others."""
        if len(values) > _MOST:
            order = np.argsort(values, kind="stable")
            others = order[_MOST // 2 :]
            step = np.linspace(0, len(others) - 1, _MOST - _MOST // 2).round().astype(np.intp)
            rows = np.sort(np.append(order[: _MOST // 2], others[step]))
            inputs, values, counts = inputs[rows], values[rows], counts[rows]
        return Surrogate(self._genes.similarity, parameters, inputs, values, counts)
