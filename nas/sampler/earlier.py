"""What an earlier search of the same space, on other data, foretells of this one.

Scores on other data have another level and another spread, so the earlier prediction enters as

    value = slope * earlier prediction + what a process of its own learns,

and the slope is fitted to this search's results, from 1 on. Architectures that are good on one set
tend to be good on the next; where they are not, the slope falls to 0 and nothing is lost but the
first trainings.

Source: a prior over good designs in multi-objective search: PriMO, arXiv 2511.08371, where experts
state it; here it is an earlier search's posterior mean.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from nas.pareto import Floats
from nas.sampler.curve_model import CurveModel
from nas.sampler.genes import Genes
from nas.sampler.learned import learn
from nas.sampler.problem import Problem
from nas.sampler.similarity import Inputs, Similarity
from nas.sampler.surrogate import Surrogate
from nas.sampler.warp import Warp

Model = Surrogate | CurveModel

ENOUGH = 10  # results of an earlier search
_WEIGHT = 4.0  # results of this search that the slope of 1 counts as much as


@dataclass(frozen=True)
class Informed:
    """An earlier process, and one of what it leaves to explain.

    Attributes:
        earlier: of the other data.
        slope: what a step of its prediction is worth here.
        rest: of this data's values minus slope times the earlier prediction.
    """

    earlier: Surrogate
    slope: float
    rest: Model

    def predict(self, inputs: Inputs) -> tuple[Floats, Floats]:
        """Return mean and standard deviation of the noise-free value at points.

        Shape: (m) -> (m,), (m,)
        """
        mean, sd = self.rest.predict(inputs)
        return mean + self.slope * self.earlier.predict(inputs)[0], sd

    def believe(self, inputs: Inputs) -> "Informed":
        """Return the process as if points had been measured once and met their means."""
        return Informed(self.earlier, self.slope, self.rest.believe(inputs))


class Earlier:
    """The processes of an earlier search, one for each measured objective that it had.

    Args:
        problem: what is searched now; holds the earlier results.
        genes: of its space.
        inputs: takes points and returns them as processes see them.
        signs: per objective, -1 where it is maximised, else 1.
    """

    def __init__(
        self,
        problem: Problem,
        genes: Genes,
        inputs: Callable[[Sequence[Mapping[str, object]]], Inputs],
        signs: Sequence[float],
    ) -> None:
        self._models: dict[int, Surrogate] = {}
        found = problem.earlier
        if found is None or len(found.points) < ENOUGH:
            return
        points = inputs(found.points)
        for i, goal in enumerate(problem.goals):
            column = found.values[:, i]
            if goal.cost is None and np.isfinite(column).all():
                values = signs[i] * (np.log(column) if goal.log else column)
                self._models[i] = _process(genes.similarity, points, values, found.counts)

    def rest(self, goal: int, inputs: Inputs, values: Floats) -> Floats:
        """Return what of values at some inputs is not foretold."""
        return self._rest(goal, inputs, values)[1]

    def inform(
        self, goal: int, inputs: Inputs, values: Floats, model: Callable[[Floats], Model]
    ) -> Model | Informed:
        """Return a process of this search's values.

        Args:
            goal: number of the objective.
            inputs: of the values.
            values: latent ones of those measured.
            model: makes a process of values at these inputs.
        """
        slope, rest = self._rest(goal, inputs, values)
        if goal not in self._models:
            return model(rest)
        return Informed(self._models[goal], slope, model(rest))

    def _rest(self, goal: int, inputs: Inputs, values: Floats) -> tuple[float, Floats]:
        if goal not in self._models:
            return 0.0, values
        earlier = self._models[goal]
        foretold = earlier.predict(inputs)[0]
        slope = _slope(foretold, values, float(np.var(earlier.values)))
        return slope, values - slope * foretold


def _process(similarity: Similarity, inputs: Inputs, values: Floats, counts: Floats) -> Surrogate:
    known = learn(similarity, inputs, values, counts)
    warp = Warp.around(values, known.margins)
    latent, worth = warp.latent(values), warp.worth(values, counts)
    return Surrogate(similarity, known.parameters, inputs, latent, worth)


def _slope(foretold: Floats, values: Floats, usual: float) -> float:
    """Return the slope of values over predictions, drawn towards 1, never negative.

    Args:
        foretold: predictions.
        values: measured.
        usual: variance that predictions have.
    """
    x, y = foretold - foretold.mean(), values - values.mean()
    found = (x @ y + _WEIGHT * usual) / max(float(x @ x) + _WEIGHT * usual, 1e-12)
    return max(0.0, float(found))
