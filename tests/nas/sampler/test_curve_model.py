"""Joint process over genes and fidelity: against its definition, a drawn truth, and differences."""

import numpy as np
import pytest
from scipy.optimize import check_grad

from nas.sampler.curve_model import (
    Course,
    CurveFits,
    CurveModel,
    _covariance,
    _priors,
    _unlikely,
    fit_curves,
    thinned,
)
from nas.sampler.genes import Genes
from nas.sampler.similarity import Inputs
from nas.sampler.surrogate import Parameters, Surrogate

GENES = Genes({f"gene {i}": (1, 2, 3, 4) for i in range(4)}, {})
KERNEL = Parameters(np.full(5, 0.2), pairs=0.1, product=0.5, decay=1.0, noise=0.05)
COURSE = Course(np.array([1.5, 1.0, 0.8]), np.array([0.7, 0.2]), np.array([0.3, 0.1, 0.0]), 0.05)


def draw(count: int, seed: int) -> Inputs:
    rng = np.random.default_rng(seed)
    return Inputs(rng.integers(4, size=(count, 4)), rng.normal(size=(count, 1)))


def covariance(a: Inputs, b: Inputs) -> np.ndarray:
    return Surrogate(GENES.similarity, KERNEL, a, np.empty(0), np.empty(0)).covariance(a, b)


def curves(inputs: Inputs, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw losses of all levels from the process, and the final ones without luck.

    Level by level, as a chain: each keeps exp(-gap) of what was, and draws the rest anew.
    """
    rng, count = np.random.default_rng(seed), len(inputs)
    root = np.linalg.cholesky(covariance(inputs, inputs) + 1e-9 * np.eye(count))
    design, luck = root @ rng.normal(size=count), rng.normal(size=count)
    found = []
    for level in range(3):
        if level:
            kept = np.exp(-COURSE.gaps[level - 1])
            new = np.sqrt(1 - kept**2)
            design = kept * design + new * root @ rng.normal(size=count)
            luck = kept * luck + new * rng.normal(size=count)
        extra = np.sqrt(COURSE.extra[level]) * rng.normal(size=count)
        found.append(
            5 - level + COURSE.scales[level] * (design + np.sqrt(COURSE.luck) * luck + extra)
        )
    return np.stack(found, axis=1), 3 + COURSE.scales[2] * design


def stopped(losses: np.ndarray) -> np.ndarray:
    """Cut off half of the curves at each rung, the worse ones."""
    found = losses.copy()
    found[losses[:, 0] > np.median(losses[:, 0]), 1:] = np.nan
    found[found[:, 1] > np.nanmedian(found[:, 1]), 2] = np.nan
    return found


def test_the_gradient_of_the_fit_is_that_of_differences() -> None:
    inputs = draw(20, 0)
    losses = stopped(curves(inputs, 1)[0])
    rows, levels = np.nonzero(np.isfinite(losses))
    data = covariance(inputs, inputs)[np.ix_(rows, rows)], rows, levels, losses[rows, levels]
    start = _priors(3)[0] + np.random.default_rng(0).normal(0, 0.3, 8)
    error = check_grad(
        lambda x: _unlikely(x, *data)[0], lambda x: _unlikely(x, *data)[1], start, epsilon=1e-6
    )
    assert error < 1e-3 * np.abs(_unlikely(start, *data)[1]).max()


def test_the_covariance_of_two_losses_by_hand() -> None:
    """Two runs of one design, at the first rung and at the end: 0.9 apart in log-fidelity."""
    alike, rows, levels = np.ones((2, 2)), np.array([0, 1]), np.array([0, 2])
    found = _covariance(COURSE, alike, rows, levels)
    assert found[0, 1] == pytest.approx(1.5 * 0.8 * np.exp(-0.9))
    assert found[0, 0] == pytest.approx(1.5**2 * (1 + 0.05 + 0.3) + 4, abs=1e-5)
    assert found[1, 1] == pytest.approx(0.8**2 * (1 + 0.05) + 4, abs=1e-5)
    one_run = _covariance(COURSE, alike, np.array([0, 0]), levels)
    assert one_run[0, 1] == pytest.approx(1.5 * 0.8 * np.exp(-0.9) * 1.05)


def test_predictions_are_those_of_the_joint_normal_distribution() -> None:
    """Conditioning all levels of all designs at once, as the textbook has it."""
    inputs, new = draw(12, 2), draw(3, 3)
    losses = stopped(curves(inputs, 4)[0])
    middle, spread = np.nanmean(losses, axis=0), np.nanstd(losses, axis=0)
    every = inputs.join(new)
    place = np.array([0.0, 0.7, 0.9])
    between = np.outer(COURSE.scales, COURSE.scales) * np.exp(-np.abs(place[:, None] - place))
    latent = np.kron(covariance(every, every), between) + np.kron(np.ones((15, 15)), 4 * np.eye(3))
    luck = np.kron(0.05 * np.eye(15), between)
    luck += np.kron(np.eye(15), np.diag(COURSE.extra * COURSE.scales**2)) + 1e-6 * np.eye(45)
    seen = np.flatnonzero(np.isfinite(losses))
    data = ((losses - middle) / spread).ravel()[seen]
    gain = latent[:, seen] @ np.linalg.inv((latent + luck)[np.ix_(seen, seen)])
    ends = np.arange(36, 45)[2::3]
    means = middle[2] + spread[2] * (gain @ data)[ends]
    variances = spread[2] ** 2 * np.diag(latent - gain @ latent[seen])[ends]
    found = CurveModel(GENES.similarity, KERNEL, COURSE, inputs, losses).predict(new)
    assert found[0] == pytest.approx(means, abs=1e-6)
    assert found[1] == pytest.approx(np.sqrt(variances), abs=1e-6)


def test_early_losses_make_predictions_of_the_end_better_and_honest() -> None:
    inside, errors = [], []
    for seed in range(4):
        inputs = draw(60, seed)
        losses, truth = curves(inputs, 10 + seed)
        seen = stopped(losses)
        rows = np.flatnonzero(np.isnan(seen[:, 2]))
        found = fit_curves(GENES.similarity, inputs, seen)
        model = CurveModel(GENES.similarity, *found, inputs, seen)
        mean, sd = model.predict(inputs[rows])
        ends = np.where(np.isnan(seen[:, 2:]), np.nan, seen[:, 2:])
        bare = np.hstack([np.full((60, 2), np.nan), ends])
        without = CurveModel(GENES.similarity, model.kernel, model.course, inputs, bare)
        guess = without.predict(inputs[rows])[0]
        errors.append([np.square(mean - truth[rows]), np.square(guess - truth[rows])])
        inside += list(np.abs(mean - truth[rows]) < 1.64 * sd)
    seeing, blind = (np.mean(np.hstack(each)) for each in zip(*errors, strict=True))
    assert seeing < 0.7 * blind
    assert 0.75 < np.mean(inside) <= 1  # 90 % if the parameters were known


def test_belief_keeps_the_mean_and_narrows_the_interval() -> None:
    inputs, waiting = draw(20, 5), draw(2, 6)
    model = CurveModel(GENES.similarity, KERNEL, COURSE, inputs, stopped(curves(inputs, 7)[0]))
    before, after = model.predict(waiting), model.believe(waiting).predict(waiting)
    assert after[0] == pytest.approx(before[0], abs=0.2)
    assert (after[1] < before[1]).all()


def test_parameters_are_kept_until_the_losses_have_grown_by_a_tenth() -> None:
    inputs = draw(24, 8)
    losses, fits = curves(inputs, 9)[0], CurveFits(GENES.similarity)
    first = fits.model("dice", inputs[:20], losses[:20, :2], losses[:20, 2])
    same = fits.model("dice", inputs[:21], losses[:21, :2], losses[:20, 2])
    grown = fits.model("dice", inputs, losses[:, :2], losses[:20, 2])
    assert same.course is first.course
    assert grown.course is not first.course
    assert np.isnan(grown.losses[20:, 2]).all()


def test_of_many_runs_an_even_choice_is_kept() -> None:
    losses = np.ones((100, 3))
    assert thinned(losses, 300).tolist() == list(range(100))
    few = thinned(losses, 30)
    assert (len(few), few[0], few[-1]) == (10, 0, 99)
    assert set(np.diff(few)) == {11}
