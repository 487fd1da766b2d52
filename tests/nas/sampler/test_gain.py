"""The closed form against hand computation and an integral on a fine grid."""

import math

import numpy as np
import pytest
from scipy.stats import norm

from nas.sampler.gain import expected_gain

# Losses (height, cost): the front leaves a box of 4 x 4 uncovered but for two steps.
FRONT = np.array([[3.0, 1.0], [1.0, 2.0]])
CORNER = np.array([4.0, 4.0])


def test_an_exact_candidate_gains_its_area() -> None:
    means = np.array([[0.0, 0.0], [2.0, 1.5], [3.5, 3.0]])
    # (0, 0) covers 16 of which the front has 1 x 3 + 2 x 2 = 7; (2, 1.5) adds 1 x 0.5.
    assert expected_gain(FRONT, CORNER, means, np.zeros((3, 2))) == pytest.approx([9.0, 0.5, 0.0])


def test_with_an_exact_cost_it_is_expected_improvement_by_hand() -> None:
    # At cost 3, the front is at 1 up to the corner: length 1 x E[(1 - N(1, 1))+] = 1 / sqrt(2 pi).
    gain = expected_gain(FRONT, CORNER, np.array([[1.0, 3.0]]), np.array([[1.0, 0.0]]))
    assert gain == pytest.approx([1 / math.sqrt(2 * math.pi)])


def test_of_one_objective_it_is_expected_improvement() -> None:
    gain = expected_gain(np.array([[2.0], [1.0]]), CORNER[:1], np.array([[1.0]]), np.array([[2.0]]))
    assert gain == pytest.approx([2 / math.sqrt(2 * math.pi)])


@pytest.mark.parametrize("columns", [2, 3, 4])
@pytest.mark.parametrize("modelled", [0, 1, 2])
def test_it_equals_the_integral_over_what_the_front_leaves(columns: int, modelled: int) -> None:
    rng = np.random.default_rng(columns)
    front, mean = (rng.integers(10, size=(n, columns)) / 10 for n in (3, 2))
    sd = np.where(np.arange(columns) < modelled, 0.2, 0.0)
    # Everything exact lies on a grid of 0.1, so that cells of that side are integrated exactly.
    axes = [np.arange(-0.975, 1, 0.05) if s else np.arange(0.05, 1, 0.1) for s in sd]
    places = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, columns)
    left = places[~(front <= places[:, None]).all(2).any(1)]
    cell = np.prod([axis[1] - axis[0] for axis in axes])
    reached = [norm.cdf(left, row, sd + 1e-9).prod(1).sum() * cell for row in mean]
    gains = expected_gain(front, np.ones(columns), mean, np.tile(sd, (2, 1)))
    assert gains == pytest.approx(reached, rel=0.02, abs=1e-9)


def test_a_grid_that_is_too_large_is_rounded(monkeypatch: pytest.MonkeyPatch) -> None:
    angle = np.linspace(0.01, 1.56, 200)
    front = 1 - 0.9 * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    mean = np.array([[0.1, 0.1], [0.9, 0.9]])
    exact = expected_gain(front, np.ones(2), mean, np.zeros((2, 2)))
    monkeypatch.setattr("nas.sampler.gain.MAX_CELLS", 100)
    assert expected_gain(front, np.ones(2), mean, np.zeros((2, 2))) == pytest.approx(
        exact, abs=0.01
    )
