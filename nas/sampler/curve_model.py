"""Gaussian process over genes and fidelity: what losses before the end say of the final one.

Levels are the rungs in order and then the end of the training. A run i of a design x shows

    y_il = m_l + s_l (f_l(x) + u_il + e_il)

at level l. The design's part f has the covariance k(x, x') C_lm, with k the kernel of
`surrogate` and C an Ornstein-Uhlenbeck process in a warped log-fidelity: C_lm = exp(-d), where
d sums the gaps between the levels. So designs may learn at different speeds, and designs alike do
so alike. The run's luck u has the covariance v C_lm and is shared along its curve; e is independent
of variance t_l, 0 at the end. Each level has a mean m (with a wide prior) and a scale s of its own.

What is sought is m + s f(x) at the end, without the luck of a run. Those that are stopped are no
random choice, but everything that decided on them is among the data, so the likelihood needs no
correction.

Relevances of k are fitted to the last loss of each run, brought to the scale of the final one by
regression; the other parameters maximise the marginal likelihood times log-normal priors.

Source: Swersky, Snoek and Adams, freeze-thaw optimisation, arXiv 1406.3896 (joint process over
settings and curves); Klein et al., FABOLAS, AISTATS 2017 (product of kernels over both).
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve, solve_triangular
from scipy.optimize import minimize

from nas.pareto import Floats
from nas.sampler.similarity import Inputs, Similarity
from nas.sampler.surrogate import Parameters, Surrogate, fit

_JITTER = 1e-6  # where the losses of a level have variance 1
_MEAN_VARIANCE = 4.0  # of a level's mean, in the same units
_FITTED = 240  # losses that the course is fitted to
_KEPT = 800  # losses that a model is built on
_PAIRS = 5  # runs with an early and a final loss, before these are regressed
_USUAL_NOISE = 0.05  # variance of a final loss's luck that the kernel's prior expects
_STEPS = 40  # of the optimiser

Ints = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Course:
    """What is learned of curves; see the module.

    Attributes:
        scales: s, one per level.
        gaps: of the process in log-fidelity, one between each two levels.
        extra: t, one per level, 0 at the end.
        luck: v.
    """

    scales: Floats
    gaps: Floats
    extra: Floats
    luck: float

    @classmethod
    def of(cls, logs: Floats) -> Self:
        """Read the optimiser's vector: the scales, the gaps, what is extra at rungs, the luck."""
        values, levels = np.exp(logs), (len(logs) + 1) // 3
        extra = np.append(values[2 * levels - 1 : -1], 0.0)
        return cls(values[:levels], values[levels : 2 * levels - 1], extra, float(values[-1]))

    @property
    def shared(self) -> Floats:
        """Return s_l s_m C_lm.

        Shape: (levels, levels)
        """
        place = np.append(0.0, np.cumsum(self.gaps))
        return np.asarray(
            np.outer(self.scales, self.scales) * np.exp(-np.abs(place[:, None] - place))
        )


@dataclass(frozen=True)
class CurveModel:
    """A process with data.

    Attributes:
        similarity: of the genes.
        kernel: of the designs; its noise is not used.
        course: of the curves.
        inputs: one per run.
        losses: one row per run, one column per level; not a number where a run did not get to.
    """

    similarity: Similarity
    kernel: Parameters
    course: Course
    inputs: Inputs
    losses: Floats

    def predict(self, inputs: Inputs) -> tuple[Floats, Floats]:
        """Return mean and standard deviation of the final loss of designs, without their luck.

        Shape: (m) -> (m,), (m,)
        """
        lower, weights, middle, spread = self._solved
        rows, levels = _seen(self.losses)
        shared = self.course.shared[-1]
        across = self._designs.covariance(inputs, self.inputs)[:, rows] * shared[levels]
        across += _MEAN_VARIANCE * (levels == len(shared) - 1)
        half = solve_triangular(lower, across.T, lower=True, check_finite=False)
        variance = self._designs.variance * shared[-1] + _MEAN_VARIANCE - (half**2).sum(0)
        mean = middle + spread * (across @ weights)
        return np.asarray(mean), np.asarray(spread * np.sqrt(np.maximum(variance, 1e-12)))

    def believe(self, inputs: Inputs) -> "CurveModel":
        """Return the process as if designs had been trained to the end and met their means."""
        more = np.full((len(inputs), self.losses.shape[1]), np.nan)
        more[:, -1] = self.predict(inputs)[0]
        losses = np.vstack([self.losses, more])
        return CurveModel(
            self.similarity, self.kernel, self.course, self.inputs.join(inputs), losses
        )

    @property
    def _designs(self) -> Surrogate:
        return Surrogate(self.similarity, self.kernel, self.inputs, np.empty(0), np.empty(0))

    @cached_property
    def _solved(self) -> tuple[Floats, Floats, float, float]:
        scaled, middles, spreads = _standard(self.losses)
        rows, levels = _seen(self.losses)
        alike = self._designs.covariance(self.inputs, self.inputs)[np.ix_(rows, rows)]
        covariance = _covariance(self.course, alike, rows, levels)
        factor = cho_factor(covariance, lower=True)
        weights = cho_solve(factor, scaled[rows, levels])
        return np.tril(factor[0]), weights, float(middles[-1]), float(spreads[-1])


class CurveFits:
    """Makes models of curves, and fits their parameters anew each time the losses grow by 10 %.

    Args:
        similarity: of the genes.
    """

    def __init__(self, similarity: Similarity) -> None:
        self._similarity = similarity
        self._fits: dict[str, tuple[int, Parameters, Course]] = {}

    def model(self, name: str, inputs: Inputs, early: Floats, finals: Floats) -> CurveModel:
        """Return the model of all runs.

        Args:
            name: of what is modelled; parameters are kept by it.
            inputs: one per run, those that have come to their end first.
            early: losses at the rungs.
            finals: losses at the end of those that have.

        Shape: (n), (n, rungs), (k,)
        """
        last = np.append(finals, np.full(len(inputs) - len(finals), np.nan))
        losses = np.column_stack([early, last])
        seen = int(np.isfinite(losses).sum())
        size, kernel, course = self._fits.get(name, (0, None, None))
        if kernel is None or course is None or seen >= size + max(1, size // 10):
            kernel, course = fit_curves(self._similarity, inputs, losses)
            self._fits[name] = seen, kernel, course
        kept = thinned(losses)
        return CurveModel(self._similarity, kernel, course, inputs[kept], losses[kept])


def fit_curves(similarity: Similarity, inputs: Inputs, losses: Floats) -> tuple[Parameters, Course]:
    """Return the parameters that explain curves best.

    Args:
        similarity: of the genes.
        inputs: one per run.
        losses: see `CurveModel`; the first level has some.
    """
    kernel = fit(similarity, inputs, *_last_losses(losses))
    kept = thinned(losses, _FITTED)
    inputs, losses = inputs[kept], losses[kept]
    rows, levels = _seen(losses)
    designs = Surrogate(similarity, kernel, inputs, np.empty(0), np.empty(0))
    alike = designs.covariance(inputs, inputs)[np.ix_(rows, rows)]
    target = _standard(losses)[0][rows, levels]
    start, deviations = _priors(losses.shape[1])
    found = minimize(
        _unlikely,
        start,
        args=(alike, rows, levels, target),
        jac=True,
        method="L-BFGS-B",
        bounds=[(m - 4 * d, m + 4 * d) for m, d in zip(start, deviations, strict=True)],
        options={"maxiter": _STEPS},
    )
    return kernel, Course.of(found.x)


def thinned(losses: Floats, most: int = _KEPT) -> Ints:
    """Return an even choice of runs that have at most so many losses.

    Shape: (n, levels), scalar -> (k,)
    """
    seen = np.isfinite(losses).sum()
    runs = len(losses) if seen <= most else max(1, int(len(losses) * most / seen))
    return np.unique(np.linspace(0, len(losses) - 1, runs).round().astype(np.intp))


def _seen(losses: Floats) -> tuple[Ints, Ints]:
    """Return run and level of each loss."""
    rows, levels = np.nonzero(np.isfinite(losses))
    return rows, levels


def _standard(losses: Floats) -> tuple[Floats, Floats, Floats]:
    """Return losses with mean 0 and variance 1 at each level, the means and the deviations."""
    middles, spreads = np.zeros(losses.shape[1]), np.ones(losses.shape[1])
    for level, column in enumerate(losses.T):
        seen = column[np.isfinite(column)]
        if len(seen):
            middles[level], spreads[level] = seen.mean(), seen.std() or 1.0
    return (losses - middles) / spreads, middles, spreads


def _last_losses(losses: Floats) -> tuple[Floats, Floats]:
    """Return the last loss of each run as a final one, and the measurements that it is worth.

    Where few runs have both, a rung is taken to explain a quarter of the variance.
    """
    scaled, _, _ = _standard(losses)
    values, counts = scaled[:, -1].copy(), np.ones(len(scaled))
    for level in range(scaled.shape[1] - 1):  # later ones overwrite earlier ones
        here = scaled[:, level]
        both = np.isfinite(here) & np.isfinite(scaled[:, -1])
        slope, start, rest = 0.5, 0.0, 0.75
        if both.sum() >= _PAIRS and here[both].std() > 0:
            slope, start = np.polyfit(here[both], scaled[both, -1], 1)
            if slope < 0:
                slope, start = 0.0, float(scaled[both, -1].mean())
            rest = float(np.var(scaled[both, -1] - start - slope * here[both]))
        rows = np.isfinite(here) & ~np.isfinite(scaled[:, -1])
        values[rows] = start + slope * here[rows]
        counts[rows] = min(1.0, _USUAL_NOISE / max(rest, 1e-6))
    return values, counts


def _priors(levels: int) -> tuple[Floats, Floats]:
    """Return prior means and deviations of the optimiser's vector."""
    rungs = levels - 1
    means = [0.0] * levels + [np.log(0.3)] * rungs + [np.log(0.3)] * rungs + [np.log(0.05)]
    deviations = [0.5] * levels + [1.0] * rungs + [1.5] * rungs + [1.5]
    return np.array(means), np.array(deviations)


def _covariance(course: Course, alike: Floats, rows: Ints, levels: Ints) -> Floats:
    """Return the covariance of losses.

    Args:
        course: of the curves.
        alike: k of the designs of each two losses.
        rows: runs of the losses.
        levels: of the losses.

    Shape: (n, n), (n,), (n,) -> (n, n)
    """
    same = rows[:, None] == rows
    found = (alike + course.luck * same) * course.shared[np.ix_(levels, levels)]
    found += _MEAN_VARIANCE * (levels[:, None] == levels)
    found[np.diag_indices(len(rows))] += (course.extra * course.scales**2)[levels] + _JITTER
    return np.asarray(found)


def _unlikely(
    logs: Floats, alike: Floats, rows: Ints, levels: Ints, target: Floats
) -> tuple[float, Floats]:
    """Return minus the log posterior of a course, and its gradient.

    Shape: (3 levels - 1,), (n, n), (n,), (n,), (n,) -> scalar, (3 levels - 1,)
    """
    course = Course.of(logs)
    factor = cho_factor(_covariance(course, alike, rows, levels), lower=True)
    weights = cho_solve(factor, target)
    slope = 0.5 * (cho_solve(factor, np.eye(len(rows))) - np.outer(weights, weights))
    shared = slope * course.shared[np.ix_(levels, levels)]
    by_luck = course.luck * shared[rows[:, None] == rows].sum()
    shared *= alike + course.luck * (rows[:, None] == rows)
    extra = np.diag(slope) * (course.extra * course.scales**2)[levels]
    at = levels == np.arange(len(course.scales))[:, None]  # (levels, n)
    by_extra = at @ extra
    between = at @ shared @ at.T  # (levels, levels)
    by_scale = 2 * between.sum(1) + 2 * by_extra
    by_gap = [-gap * 2 * between[: i + 1, i + 1 :].sum() for i, gap in enumerate(course.gaps)]
    means, deviations = _priors(len(course.scales))
    prior = (logs - means) / deviations
    loss = 0.5 * target @ weights + np.log(np.diag(factor[0])).sum() + 0.5 * prior @ prior
    gradient = np.concatenate([by_scale, by_gap, by_extra[:-1], [by_luck]])
    return float(loss), gradient + prior / deviations
