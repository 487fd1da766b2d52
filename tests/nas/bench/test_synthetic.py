"""The made-up problem: costs by hand, and what its truth promises."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from nas.bench.synthetic import GENES, Instance, costs

SIZES = [len(values) for values in GENES.values()]


def draw(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(SIZES, size=(count, len(SIZES)))


def test_there_are_about_two_million_million_designs() -> None:
    assert len(GENES) == 20
    assert np.prod(np.array(SIZES, dtype=float)) == pytest.approx(1.9e12, rel=0.01)


def test_the_parameters_of_the_first_design_by_hand() -> None:
    # Widths 2, 4, 8, 12, 16; one plain 3x3 block each, behind a 1x1 (from 3 at first).
    encoder = (6 + 36) + (8 + 144) + (32 + 576) + (96 + 1296) + (192 + 2304)
    decoder = (8 + 36) + (32 + 144) + (96 + 576) + (192 + 1296)
    assert costs(np.zeros((1, 20), dtype=int))[0, 0] == encoder + decoder


def test_dice_has_the_range_and_the_noise_that_are_promised() -> None:
    instance, designs = Instance(3, noise=0.02), draw(400)
    dice = instance.dice(designs)
    assert 0.5 < dice.min() < 0.6
    assert 0.8 < dice.max() < 0.9
    trained = np.array([instance.train(design, i) for i, design in enumerate(designs)])
    assert (trained - dice).std() == pytest.approx(0.02, rel=0.1)
    assert instance.train(designs[0], 7) == instance.train(designs[0], 7)
    assert (Instance(4).dice(designs) != dice).all()


@pytest.mark.parametrize(("share", "promised"), [(1 / 27, 0.1), (1 / 9, 0.5), (1 / 3, 0.9)])
def test_early_losses_foretell_the_final_dice_as_promised(share: float, promised: float) -> None:
    designs, found = draw(250), []
    for instance in map(Instance, range(3)):
        losses = [instance.loss(design, i, share) for i, design in enumerate(designs)]
        finals = [instance.train(design, i) for i, design in enumerate(designs)]
        found.append(spearmanr(np.negative(losses), finals).statistic)
    assert np.mean(found) == pytest.approx(promised, abs=0.1)


def test_the_last_loss_ranks_as_the_final_dice_does() -> None:
    instance, designs = Instance(3), draw(50)
    losses = [instance.loss(design, i, 1.0) for i, design in enumerate(designs)]
    finals = [instance.train(design, i) for i, design in enumerate(designs)]
    assert (np.argsort(losses) == np.argsort(finals)[::-1]).all()


def test_no_random_designs_come_near_the_best() -> None:
    instance = Instance(3)
    assert 0.3 < instance.volume(draw(200)) / instance.best < 0.8


def test_a_tight_budget_leaves_one_design_in_twenty() -> None:
    instance = Instance(3, tight=True)
    assert instance.limit is not None
    within = costs(draw(4000))[:, 0] <= instance.limit
    assert within.mean() == pytest.approx(0.05, abs=0.015)
    assert instance.volume(draw(4000)[~within]) == 0


def test_relatives_go_together_and_strangers_do_not() -> None:
    """0.8 of a relative's effects, 0.6 of its own: a correlation of about 0.8."""
    designs, other = draw(2000), Instance(8)
    together = np.corrcoef(Instance(3, kin=other).dice(designs), other.dice(designs))[0, 1]
    apart = np.corrcoef(Instance(3).dice(designs), other.dice(designs))[0, 1]
    assert 0.65 < together < 0.95
    assert abs(apart) < 0.5
