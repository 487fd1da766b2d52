"""The warp of scores against numeric integrals, and that it is chosen where scores level off."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from nas.sampler.gain import expected_gain
from nas.sampler.genes import Genes
from nas.sampler.similarity import Inputs
from nas.sampler.surrogate import prior
from nas.sampler.warp import Warp, choose_margins

VALUES = np.array([-0.9, -0.8, -0.55, -0.5])
SPACE = Genes({f"gene_{i}": range(4) for i in range(6)}, {})


def test_it_has_slope_one_in_the_middle_and_an_inverse() -> None:
    warp = Warp.around(VALUES, (0.5, 0.25))
    assert (warp.low, warp.high) == pytest.approx((-1.1, -0.4))
    assert warp.slope(np.array([-0.75])) == pytest.approx([1.0])
    assert warp.value(warp.latent(VALUES)) == pytest.approx(VALUES)
    step = 1e-6
    numeric = (warp.latent(VALUES + step) - warp.latent(VALUES - step)) / (2 * step)
    assert warp.slope(VALUES) == pytest.approx(numeric)
    assert warp.latent(np.array([-1.1, -0.4])) == pytest.approx([-np.inf, np.inf])


def test_wide_margins_leave_differences_as_they_are() -> None:
    warp = Warp.around(VALUES, (10.0, 10.0))
    assert np.diff(warp.latent(VALUES)) == pytest.approx(np.diff(VALUES), rel=0.01)


def test_a_mean_counts_less_where_the_map_is_steep() -> None:
    warp = Warp.around(VALUES, (0.1, 0.1))
    worth = warp.worth(VALUES, np.full(4, 2.0))
    noise = 1 / np.sqrt(worth) / warp.slope(VALUES)  # of one mean, back in units of the values
    assert noise == pytest.approx(np.full(4, noise[0]))


@pytest.mark.parametrize("mean", [-0.2, 0.0, 0.3])
def test_the_expected_gain_of_a_warped_score_is_its_integral(mean: float) -> None:
    warp = Warp(-1.0, -0.4)
    level, sd, cost, corner = -0.85, 0.1, 2.0, np.array([-0.5, 3.0])

    def improvement(x: float) -> float:
        loss = warp.low + (warp.high - warp.low) / (1 + np.exp(-4 * x / 0.6))
        return max(0.0, level - loss) * norm.pdf(x, mean, sd)

    at_level = 0.15 * np.log((level + 1.0) / (-0.4 - level))
    expected, _ = quad(improvement, mean - 9 * sd, at_level, epsabs=1e-12, limit=200)
    gain = expected_gain(
        np.array([[level, 1.0]]),
        corner,
        np.array([[mean, cost]]),
        np.array([[sd, 0.0]]),
        [warp, None],
    )
    assert gain == pytest.approx([expected * (3.0 - cost)], rel=0.01, abs=1e-9)


@pytest.mark.parametrize(("squeezed", "narrow"), [(True, True), (False, False)])
def test_narrow_margins_are_chosen_where_effects_add_up_but_scores_level_off(
    squeezed: bool, narrow: bool
) -> None:
    rng = np.random.default_rng(0)
    codes = rng.integers(4, size=(60, 6))
    merit = (codes @ np.array([1.0, 0.7, 0.5, 0.3, 0.0, 0.0])) - 3.75
    values = 1 / (1 + np.exp(-1.5 * merit)) if squeezed else merit
    inputs = Inputs(codes, np.empty((60, 0)))
    similarity = SPACE.similarity
    found = choose_margins(similarity, inputs, values, np.ones(60), prior(inputs, similarity))
    assert (max(found) <= 0.1) is narrow
    assert (min(found) >= 1.0) is not narrow
