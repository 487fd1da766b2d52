"""Gaussian process over genes and log-costs: posterior mean and deviation of one measured value.

Kernel, with a similarity z in [0, 1] and a relevance a per gene and log-cost:

    sum_i a_i z_i  +  p sum_{i<j} a_i z_i a_j z_j  +  q exp(-t sum_i a_i (1 - z_i))

that is main effects and pairs (additive Gaussian process of second order, Duvenaud, Nickisch and
Rasmussen, NeurIPS 2011) and a full product. Relevances, p, q, t and the noise maximise the marginal
likelihood times log-normal priors.

Why not a library: BoTorch and GPyTorch fit such kernels through autograd at about 10 ms a step for
a 100 x 100 matrix, bring two packages, and know no exact objective without a wrapper; Optuna's own
process (internal, so without promises) has a product kernel alone and took 3 to 4 s a proposal at
200 trials. Here gradients are closed, genes are table look-ups that turn into matrix products, and
numpy and scipy are there anyway.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
from scipy.linalg import cho_factor, cho_solve, solve_triangular
from scipy.optimize import minimize

from nas.pareto import Floats
from nas.sampler.similarity import Inputs, Similarity

JITTER = (
    1e-8  # added to the diagonal, of values with variance 1: far below any noise that is fitted
)
MOST_FITTED = 200  # points that relevances are fitted on
_SHARED = 4  # parameters besides relevances: log of p, q, t and the noise's variance
_STEPS = 60  # of the optimiser
_COST = 0.3  # likeliest relevance of a log-cost: capacity matters more than any one gene
_PRIOR_SD = 0.8  # of the logs of parameters


@dataclass(frozen=True, slots=True)
class Parameters:
    """What is learned of a kernel; see the module.

    Attributes:
        relevance: a, one per gene and cost.
        pairs: p.
        product: q.
        decay: t.
        noise: variance of a single measurement, where the values have variance 1.
    """

    relevance: Floats
    pairs: float
    product: float
    decay: float
    noise: float

    @classmethod
    def of(cls, logs: Floats) -> Self:
        """Read the optimiser's vector."""
        values = np.exp(logs)
        return cls(values[:-_SHARED], *map(float, values[-_SHARED:]))


def fit(similarity: Similarity, inputs: Inputs, values: Floats, counts: Floats) -> Parameters:
    """Return the parameters that explain values best.

    Args:
        similarity: of the genes.
        inputs: of the values; at most `MOST_FITTED` are used, evenly over their order.
        values: measured; standardised here.
        counts: measurements that each value is the mean of.
    """
    inputs, values, counts = thinned(inputs, values, counts)
    each = similarity.each(inputs, inputs)
    target = (values - values.mean()) / _spread(values)
    start = _prior_means(len(similarity.tables), inputs.costs.shape[1])
    found = minimize(
        _loss,
        start,
        args=(each.reshape(len(each), -1), target, counts, start),
        jac=True,
        method="L-BFGS-B",
        bounds=[(mean - 7, mean + 5) for mean in start],
        options={"maxiter": _STEPS},
    )
    return Parameters.of(found.x)


def thinned(inputs: Inputs, values: Floats, counts: Floats) -> tuple[Inputs, Floats, Floats]:
    """Return at most `MOST_FITTED` points with their values, evenly over their order."""
    if len(inputs) <= MOST_FITTED:
        return inputs, values, counts
    rows = np.linspace(0, len(inputs) - 1, MOST_FITTED).round().astype(np.intp)
    return inputs[rows], values[rows], counts[rows]


def prior(inputs: Inputs, similarity: Similarity) -> Parameters:
    """Return the parameters that are the likeliest before any data."""
    return Parameters.of(_prior_means(len(similarity.tables), inputs.costs.shape[1]))


def log_likelihood(
    similarity: Similarity, inputs: Inputs, values: Floats, counts: Floats, parameters: Parameters
) -> Floats:
    """Return the log marginal likelihood of several sets of values at the same points.

    Shape: values and counts (sets, n) -> (sets,)
    """
    kernel = covariance(similarity, inputs, inputs, parameters)
    found = []
    for one, count in zip(values, counts, strict=True):
        scale = _spread(one)
        target = (one - one.mean()) / scale
        noisy = kernel + np.diag(parameters.noise / count + JITTER)
        factor = cho_factor(noisy, lower=True, overwrite_a=True)
        fit = -0.5 * target @ cho_solve(factor, target) - np.log(np.diag(factor[0])).sum()
        found.append(fit - len(one) * np.log(scale))
    return np.array(found)


def covariance(similarity: Similarity, a: Inputs, b: Inputs, parameters: Parameters) -> Floats:
    """Return the kernel between points; see the module.

    Shape: (n), (m) -> (n, m)
    """
    p = parameters
    total, squares = similarity.sums(a, b, p.relevance)
    product = p.product * np.exp(-p.decay * (float(p.relevance.sum()) - total))
    return np.asarray(total + p.pairs * 0.5 * (total**2 - squares) + product)


def _spread(values: Floats) -> float:
    return float(values.std()) or 1.0


def _prior_means(genes: int, costs: int) -> Floats:
    """Return the logs of the parameters that are the likeliest; each cost counts as many genes."""
    relevance = np.append(np.full(genes, 0.5 / (genes + costs)), np.full(costs, _COST))
    return np.asarray(np.log(np.append(relevance, [1.0, 0.3, 1.0, 0.05])))


def _loss(
    logs: Floats, each: Floats, target: Floats, counts: Floats, means: Floats
) -> tuple[float, Floats]:
    """Return minus the log posterior of parameters, and its gradient.

    Shape: (genes + 4,), (genes, n * n), (n,), (n,), (genes + 4,) -> scalar, (genes + 4,)
    """
    n, p = len(target), Parameters.of(logs)
    a = p.relevance
    total = a @ each
    squares = (a**2) @ each**2
    pairs = p.pairs * 0.5 * (total**2 - squares)
    product = p.product * np.exp(-p.decay * (a.sum() - total))
    covariance = (total + pairs + product).reshape(n, n)
    covariance[np.diag_indices(n)] += p.noise / counts + JITTER
    factor = cho_factor(covariance, lower=True)
    weights = cho_solve(factor, target)
    slope = 0.5 * (cho_solve(factor, np.eye(n)) - np.outer(weights, weights))
    flat = slope.ravel()
    # d/da_i: z_i + p z_i (total - a_i z_i) - q-term * t * (1 - z_i)
    by_product = flat * product * p.decay
    relevance = each @ (flat * (1 + p.pairs * total) + by_product) - by_product.sum()
    relevance -= p.pairs * a * (each**2 @ flat)
    shared = np.array([
        flat @ pairs,
        flat @ product,
        -(by_product @ (a.sum() - total)),
        p.noise * (np.diag(slope) / counts).sum(),
    ])  # fmt: skip
    prior = (logs - means) / _PRIOR_SD
    loss = 0.5 * target @ weights + np.log(np.diag(factor[0])).sum() + 0.5 * prior @ prior
    return float(loss), np.append(a * relevance, shared) + prior / _PRIOR_SD


@dataclass(frozen=True)
class Surrogate:
    """A process with data.

    Attributes:
        similarity: of the genes.
        parameters: of the kernel.
        inputs: of the data.
        values: measured, one per input.
        counts: measurements that each value is the mean of.
    """

    similarity: Similarity
    parameters: Parameters
    inputs: Inputs
    values: Floats
    counts: Floats

    def predict(self, inputs: Inputs) -> tuple[Floats, Floats]:
        """Return mean and standard deviation of the noise-free value at points.

        Shape: (m) -> (m,), (m,)
        """
        lower, _, _, scale = self._solved
        across = self.covariance(inputs, self.inputs)
        half = solve_triangular(lower, across.T, lower=True, check_finite=False)
        variance = self.variance - (half**2).sum(0)
        return self._mean(across), np.asarray(scale * np.sqrt(np.maximum(variance, 1e-12)))

    def estimate(self, inputs: Inputs) -> Floats:
        """Return the means of `predict` to five digits, in a third of its time.

        Shape: (m) -> (m,)
        """
        single = self.similarity.single()
        return self._mean(covariance(single, inputs, self.inputs, self.parameters))

    def _mean(self, across: Floats) -> Floats:
        _, weights, middle, scale = self._solved
        return np.asarray(middle + scale * (across @ weights))

    def believe(self, inputs: Inputs) -> "Surrogate":
        """Return the process as if points had been measured once and met their means.

        Source: "kriging believer", Ginsbourger, Le Riche and Carraro, 2010.
        """
        values = np.append(self.values, self.predict(inputs)[0])
        counts = np.append(self.counts, np.ones(len(inputs)))
        return Surrogate(self.similarity, self.parameters, self.inputs.join(inputs), values, counts)

    @cached_property
    def _solved(self) -> tuple[Floats, Floats, float, float]:
        middle, scale = float(self.values.mean()), _spread(self.values)
        covariance = self.covariance(self.inputs, self.inputs)
        covariance[np.diag_indices(len(covariance))] += self.parameters.noise / self.counts + JITTER
        factor = cho_factor(covariance, lower=True)
        return np.tril(factor[0]), cho_solve(factor, (self.values - middle) / scale), middle, scale

    @property
    def variance(self) -> float:
        """Of a point before any data; the same everywhere, since it is like itself."""
        a, p = self.parameters.relevance, self.parameters
        return float(a.sum() + p.pairs * 0.5 * (a.sum() ** 2 - (a**2).sum()) + p.product)

    def covariance(self, a: Inputs, b: Inputs) -> Floats:
        """Return the covariance of noise-free values, where the values have variance 1.

        Shape: (n), (m) -> (n, m)
        """
        return covariance(self.similarity, a, b, self.parameters)
