"""Scores that level off: an increasing map under which effects add up, learned with the process.

Dice cannot pass a ceiling that networks approach, and those that fail crowd at a floor. Between
the two, effects of genes that would add up are squeezed. A process therefore models

    latent = (high - low) / 4 log((value - low) / (high - value)),

which has the slope 1 in the middle, with `low` and `high` beyond all values by margins that
maximise the marginal likelihood; wide margins leave the values as they are. A measurement's noise
grows with the slope of the map.

Source: Snelson, Rasmussen and Ghahramani, Warped Gaussian processes, NeurIPS 2003.
"""

from dataclasses import dataclass
from itertools import product
from typing import Self

import numpy as np
from scipy.special import expit

from nas.pareto import Floats
from nas.sampler.similarity import Inputs, Similarity
from nas.sampler.surrogate import Parameters, log_likelihood, thinned

Margins = tuple[float, float]  # below and above all values, in units of their range

_MARGINS = (0.03, 0.1, 0.3, 1.0, 10.0)


@dataclass(frozen=True, slots=True)
class Warp:
    """The map.

    Attributes:
        low: what no value falls to.
        high: what no value rises to.
    """

    low: float
    high: float

    @classmethod
    def around(cls, values: Floats, margins: Margins) -> Self:
        """Return the map whose ends lie beyond values by shares of their range."""
        low, high = float(values.min()), float(values.max())
        span = high - low or 1.0
        return cls(low - margins[0] * span, high + margins[1] * span)

    def latent(self, values: Floats) -> Floats:
        """Return what the process models, in units of the values; -inf and inf at the ends."""
        with np.errstate(divide="ignore"):
            below = np.log(np.maximum(values - self.low, 0))
            above = np.log(np.maximum(self.high - values, 0))
        return np.asarray(self._unit * (below - above))

    def value(self, latent: Floats) -> Floats:
        """Return the inverse of `latent`."""
        return np.asarray(self.low + 4 * self._unit * expit(latent / self._unit))

    def slope(self, values: Floats) -> Floats:
        """Return the derivative of `latent`."""
        return np.asarray(self._unit * (1 / (values - self.low) + 1 / (self.high - values)))

    @property
    def _unit(self) -> float:
        return (self.high - self.low) / 4

    def worth(self, values: Floats, counts: Floats) -> Floats:
        """Return how many measurements each mean counts as, where the map is steep or flat."""
        slope = self.slope(values)
        return np.asarray(counts * (np.median(slope) / slope) ** 2)


def choose_margins(
    similarity: Similarity, inputs: Inputs, values: Floats, counts: Floats, parameters: Parameters
) -> Margins:
    """Return the margins under which a process with given parameters explains values best.

    Args:
        similarity: of the genes.
        inputs: of the values; of many, an even choice is used.
        values: measured.
        counts: measurements that each value is the mean of.
        parameters: of the kernel.
    """
    inputs, values, counts = thinned(inputs, values, counts)
    warps = {(a, b): Warp.around(values, (a, b)) for a, b in product(_MARGINS, _MARGINS)}
    latents = np.stack([warp.latent(values) for warp in warps.values()])
    worths = np.stack([warp.worth(values, counts) for warp in warps.values()])
    jacobians = [np.log(warp.slope(values)).sum() for warp in warps.values()]
    scores = log_likelihood(similarity, inputs, latents, worths, parameters) + jacobians
    return list(warps)[int(np.argmax(scores))]
