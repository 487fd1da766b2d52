"""Who goes on past a rung: hand-made cases, and ranks checked against their definition."""

import numpy as np
import pytest

from nas.fidelity.rungs import ENOUGH, better_half, check_fidelity, foresight, ranked, rung_epochs
from primitives.core.errors import InvalidInput


@pytest.mark.parametrize(
    ("epochs", "rungs"),
    [(1, ()), (2, (1,)), (3, (1,)), (4, (1, 2)), (9, (1, 3)), (16, (2, 6)), (200, (23, 67))],
)
def test_rungs_are_a_ninth_and_a_third_of_the_budget(epochs: int, rungs: tuple[int, ...]) -> None:
    assert rung_epochs("mo-asha", epochs) == rungs
    assert rung_epochs("none", epochs) == ()


def test_an_unknown_rule_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(InvalidInput, match="mo-asha, model, got 'asha'; did you mean 'mo-a"):
        check_fidelity("asha")


def test_whoever_is_first_goes_on() -> None:
    assert better_half(np.array([[0.7, 11.0]])) == [0]


def test_of_two_the_beaten_one_stops_and_order_does_not_matter() -> None:
    losses = np.array([[0.7, 11.0], [0.6, 10.0]])
    assert better_half(losses) == [1]
    assert better_half(losses[::-1]) == [0]


def test_a_bad_loss_at_the_lowest_cost_is_on_the_front_and_goes_on() -> None:
    losses = np.array([[0.5, 12.0], [0.55, 12.1], [0.6, 12.2], [0.9, 8.0]])
    assert better_half(losses) == [0, 3]


def test_a_front_is_ordered_from_the_best_loss_to_the_widest_gaps() -> None:
    """From (0, 1): (1, 0) is farthest; then (0.5, 0.5); then what is left between."""
    front = np.array([[0.1, 0.9], [0.5, 0.5], [1.0, 0.0], [0.0, 1.0]])
    assert ranked(front) == [3, 2, 1, 0]


def test_no_row_comes_before_one_that_beats_it() -> None:
    losses = np.random.default_rng(0).integers(0, 6, (60, 3)).astype(float)
    place = {row: i for i, row in enumerate(ranked(losses))}
    assert sorted(place) == list(range(60))
    for a in range(60):
        for b in range(60):
            if (losses[a] <= losses[b]).all() and (losses[a] < losses[b]).any():
                assert place[a] < place[b]


def test_foresight_is_one_where_lower_losses_became_higher_scores() -> None:
    losses = list(np.linspace(0.9, 0.4, ENOUGH))
    assert foresight(losses, list(np.linspace(0.1, 0.8, ENOUGH) ** 3)) == pytest.approx(1)
    assert foresight(losses, list(np.linspace(0.8, 0.1, ENOUGH))) == pytest.approx(-1)


def test_foresight_of_few_or_of_equal_values_is_unknown() -> None:
    few = list(range(ENOUGH - 1))
    assert foresight(few, few) is None
    assert foresight([0.5] * ENOUGH, list(range(ENOUGH))) is None
