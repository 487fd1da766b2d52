import itertools

import numpy as np
import pytest
from optuna._hypervolume.wfg import compute_hypervolume

from nas.pareto import (
    COST_RANGES,
    front_mask,
    hypervolume,
    unit_losses,
    volume_gains,
    volume_shares,
)

MINIMISE = {k: ("minimize",) * k for k in (1, 2, 3, 4)}


def beats(a, b):
    return all(x <= y for x, y in zip(a, b, strict=True)) and any(
        x < y for x, y in zip(a, b, strict=True)
    )


@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_front_holds_exactly_the_rows_that_no_row_beats(k):
    values = np.random.default_rng(k).integers(0, 6, (80, k)).astype(float)
    rows = [tuple(row) for row in values]
    expected = [
        not any(beats(other, row) for other in rows) and row not in rows[:i]
        for i, row in enumerate(rows)
    ]
    assert front_mask(values, MINIMISE[k]).tolist() == expected


def test_front_maximises_where_it_is_told_to():
    dice_and_params = np.array([[0.9, 300.0], [0.8, 30.0], [0.7, 40.0], [0.95, 900.0]])
    mask = front_mask(dice_and_params, ("maximize", "minimize"))
    assert mask.tolist() == [True, True, False, True]


def test_of_equal_rows_the_first_stays_on_the_front():
    values = np.array([[2.0, 2.0], [1.0, 3.0], [1.0, 3.0], [2.0, 2.0]])
    assert front_mask(values, MINIMISE[2]).tolist() == [True, True, False, False]


def test_no_rows_have_an_empty_front_and_no_volume():
    assert front_mask(np.empty((0, 2)), MINIMISE[2]).tolist() == []
    assert hypervolume(np.empty((0, 3)), np.ones(3)) == 0
    assert volume_shares(np.empty((0, 2)), ("dice", "params")).tolist() == []


@pytest.mark.parametrize(
    ("points", "reference", "volume"),
    [
        ([[3.0], [1.0]], [4.0], 3.0),
        ([[1.0, 3.0], [2.0, 1.0]], [4.0, 4.0], 3 * 1 + 2 * 3 - 2 * 1),
        ([[1.0, 3.0], [2.0, 1.0], [3.0, 3.5]], [4.0, 4.0], 7.0),
        ([[0.0, 0.0, 0.0]], [2.0, 3.0, 4.0], 24.0),
        ([[0.0, 1.0, 1.0], [1.0, 0.0, 0.0]], [2.0, 2.0, 2.0], 2 + 4 - 1),
        ([[0.0, 0.0, 1.0, 1.0], [1.0, 1.0, 0.0, 0.0]], [2.0] * 4, 4 + 4 - 1),
        ([[1.0, 1.0], [5.0, 0.0]], [4.0, 4.0], 9.0),
    ],
)
def test_volumes_equal_those_computed_by_hand(points, reference, volume):
    assert hypervolume(np.array(points), np.array(reference)) == pytest.approx(volume)


@pytest.mark.parametrize("k", [2, 3, 4])
@pytest.mark.parametrize("seed", range(5))
def test_volume_agrees_with_optuna(k, seed):
    points = np.random.default_rng(seed).random((60, k)) * 1.2
    reference = np.ones(k)
    inside = points[(points < 1).all(1)]
    expected = compute_hypervolume(inside, reference)
    assert hypervolume(points, reference) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("k", [2, 3, 4])
def test_volume_agrees_with_counting_the_cells_of_a_grid(k):
    points = np.random.default_rng(k).integers(0, 6, (9, k))
    cells = itertools.product(range(6), repeat=k)
    count = sum(any((p <= cell).all() for p in points) for cell in map(np.array, cells))
    assert hypervolume(points.astype(float), np.full(k, 6.0)) == pytest.approx(count)


@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_gains_add_up_to_the_volume_of_every_beginning(k):
    points = np.random.default_rng(7).random((25, k))
    gains = volume_gains(points, np.ones(k))
    for n in (1, 5, 25):
        order = np.random.default_rng(n).permutation(n)
        assert sum(gains[:n]) == pytest.approx(hypervolume(points[order], np.ones(k)))
    assert min(gains) >= 0


def test_repeated_and_dominated_points_gain_exactly_nothing():
    points = np.array([[0.1, 0.3, 0.7], [0.1, 0.3, 0.7], [0.2, 0.9, 0.7]])
    assert volume_gains(points, np.ones(3))[1:] == [0.0, 0.0]


def test_volume_of_many_incomparable_points_agrees_with_random_points():
    rng = np.random.default_rng(0)
    points = np.abs(rng.normal(size=(300, 4)))
    points = 1 - points / np.linalg.norm(points, axis=1, keepdims=True)
    drawn = rng.random((20_000, 4))
    hits = np.zeros(len(drawn), dtype=bool)
    for point in points:
        hits |= (drawn >= point).all(1)
    assert hypervolume(points, np.ones(4)) == pytest.approx(hits.mean(), abs=0.015)


def test_costs_fill_the_fixed_box_by_decades_and_scores_as_they_are():
    values = np.array([[0.75, 1e3, 1e11], [1.0, 1e8, 1e6], [0.0, 10**5.5, 1e12]])
    losses = unit_losses(values, ("dice", "params", "macs"))
    assert losses == pytest.approx(np.array([[0.25, 0, 1], [0, 1, 0], [1, 0.5, 1]]))


def test_flops_fill_the_box_like_the_macs_they_are_twice_of():
    values = np.array([[0.9, 3e8], [0.5, 2e7]])
    doubled = values * [1, 2]
    expected = volume_shares(values, ("dice", "macs"))
    assert volume_shares(doubled, ("dice", "flops")) == pytest.approx(expected)


def test_shares_grow_from_trial_to_trial_by_what_it_adds():
    values = np.array([[0.5, 1e5], [0.4, 1e6], [0.8, 1e6]])
    # boxes: 0.5 x 3/5; nothing; up to 0.8 over 2/5, of which 0.5 x 2/5 is known
    assert volume_shares(values, ("dice", "params")) == pytest.approx([0.3, 0.3, 0.3 + 0.3 * 0.4])


def test_every_objective_but_the_scores_has_a_range():
    from nas.objectives import OBJECTIVES

    costs = {name for name, objective in OBJECTIVES.items() if objective.units}
    assert set(COST_RANGES) == costs
