"""The process against scikit-learn's, and its gradient against differences."""

import numpy as np
import pytest
from scipy.optimize import check_grad
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import PairwiseKernel

from nas.sampler.genes import Genes
from nas.sampler.similarity import Inputs
from nas.sampler.surrogate import Parameters, Surrogate, _loss, fit

GENES = Genes({"block": ("a", "b", "c"), "depth": (1, 2, 3, 4)}, {})
RELEVANCE = np.array([0.5, 0.3, 0.4])
PARAMETERS = Parameters(RELEVANCE, pairs=0.8, product=0.2, decay=1.5, noise=0.1)


def draw(count: int, seed: int) -> Inputs:
    rng = np.random.default_rng(seed)
    return Inputs(rng.integers(GENES.sizes, size=(count, 2)), rng.normal(size=(count, 1)))


def by_hand(x: np.ndarray, y: np.ndarray, gamma: float) -> float:
    """Kernel of two rows (block, depth, log-cost) as the module writes it; gamma is unused."""
    z = [
        float(x[0] == y[0]),
        np.exp(-abs(x[1] - y[1]) / 3 / 0.3),
        np.exp(-0.5 * (x[2] - y[2]) ** 2),
    ]
    terms = [a * similarity for a, similarity in zip(RELEVANCE, z, strict=True)]
    pairs = terms[0] * terms[1] + terms[0] * terms[2] + terms[1] * terms[2]
    return sum(terms) + 0.8 * pairs + 0.2 * np.exp(-1.5 * (RELEVANCE.sum() - sum(terms)))


def rows(inputs: Inputs) -> np.ndarray:
    return np.hstack([inputs.codes, inputs.costs])


def test_the_posterior_equals_that_of_scikit_learn() -> None:
    inputs, others = draw(15, 0), draw(8, 1)
    values, counts = np.random.default_rng(2).normal(3, 2, 15), np.arange(1.0, 16)
    theirs = GaussianProcessRegressor(
        PairwiseKernel(metric=by_hand), alpha=0.1 / counts + 1e-8, optimizer=None
    )
    theirs.fit(rows(inputs), (values - values.mean()) / values.std())
    mean, sd = theirs.predict(rows(others), return_std=True)
    ours = Surrogate(GENES.similarity, PARAMETERS, inputs, values, counts).predict(others)
    assert ours[0] == pytest.approx(values.mean() + values.std() * mean)
    assert ours[1] == pytest.approx(values.std() * sd, rel=1e-5)


def test_an_estimate_is_the_mean_to_five_digits() -> None:
    inputs, others = draw(30, 0), draw(50, 1)
    process = Surrogate(GENES.similarity, PARAMETERS, inputs, inputs.costs[:, 0] - 2, np.ones(30))
    mean = process.predict(others)[0]
    assert process.estimate(others) == pytest.approx(mean, abs=1e-5 * mean.std())


def test_the_gradient_is_that_of_the_loss() -> None:
    inputs = draw(12, 0)
    each = GENES.similarity.each(inputs, inputs).reshape(3, -1)
    target, counts = np.random.default_rng(3).normal(size=12), np.arange(1.0, 13)
    logs, means = np.linspace(-2, 0.5, 7), np.linspace(-1, 0, 7)
    error = check_grad(
        lambda x: _loss(x, each, target, counts, means)[0],
        lambda x: _loss(x, each, target, counts, means)[1],
        logs,
    )
    assert error < 1e-4


def test_the_fit_finds_the_gene_that_matters() -> None:
    inputs = draw(40, 4)
    values = 0.8 + 0.05 * (inputs.codes[:, 0] == 1) + np.random.default_rng(5).normal(0, 0.002, 40)
    found = fit(GENES.similarity, inputs, values, np.ones(40))
    assert found.relevance[0] > 5 * found.relevance[1:].max()
    assert found.noise < 0.02


def test_belief_keeps_the_mean_and_narrows_the_interval() -> None:
    inputs, waiting = draw(15, 0), draw(2, 6)
    process = Surrogate(GENES.similarity, PARAMETERS, inputs, inputs.costs[:, 0], np.ones(15))
    before, after = process.predict(waiting), process.believe(waiting).predict(waiting)
    # The mean moves a little, since values are standardised with the believed ones.
    assert after[0] == pytest.approx(before[0], abs=0.05)
    assert (after[1] < before[1]).all()


def test_genes_without_an_effect_are_one_value() -> None:
    genes = Genes(
        {"gate": ("on", "off"), "kernel": (3, 5)}, {"kernel": ("gate", frozenset({"off"}))}
    )
    codes = genes.encode([{"gate": g, "kernel": k} for g in ("on", "off") for k in (3, 5)])
    assert genes.canonical(codes).tolist() == [[0, 0], [0, 1], [1, 2], [1, 2]]
    assert [genes.decode(row)["kernel"] for row in codes] == [3, 5, 3, 5]
