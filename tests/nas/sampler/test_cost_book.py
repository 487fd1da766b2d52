"""Estimates of dear costs against the costs themselves, of the synthetic problem's formula."""

import numpy as np
import pytest

from nas.bench.grounds import Synthetic
from nas.bench.synthetic import Instance
from nas.sampler.cost_book import CostBook
from nas.sampler.pool import Pool


@pytest.fixture(scope="module")
def ground() -> Synthetic:
    return Synthetic(Instance(0))


def make_book(ground: Synthetic, *, dear: bool) -> CostBook:
    problem = ground.problem()
    return CostBook(problem.cost, problem.genes(), dear=dear)


def test_small_networks_are_not_taken_for_large_ones(ground: Synthetic) -> None:
    """A search finds the cheap end of a front only if estimates see how cheap it is."""
    codes = Pool(ground.problem().genes().sizes, np.random.default_rng(1)).random(2000)
    true = make_book(ground, dear=False).exact(codes)
    error = make_book(ground, dear=True).estimate(codes) - true
    small = true[:, 0] <= np.quantile(true[:, 0], 0.02)
    # Log-costs of random designs have standard deviations of 1.1 and 0.9.
    assert np.sqrt((error**2).mean(0)).max() < 0.6
    assert abs(error[small].mean(0)).max() < 0.6


def test_what_was_measured_is_exact_and_not_measured_again(ground: Synthetic) -> None:
    book = make_book(ground, dear=True)
    codes = Pool(ground.problem().genes().sizes, np.random.default_rng(2)).random(20)
    assert book.exact(codes) == pytest.approx(make_book(ground, dear=False).exact(codes))
    book._cost = lambda points: pytest.fail("measured again")
    assert book.exact(codes[::-1]).shape == (20, 2)


def test_an_estimate_learns_what_was_measured_since(ground: Synthetic) -> None:
    book = make_book(ground, dear=True)
    codes = Pool(ground.problem().genes().sizes, np.random.default_rng(4)).random(100)
    before = book.estimate(codes)
    true = book.exact(codes)
    assert abs(book.estimate(codes) - true).mean() < 0.3 * abs(before - true).mean()


def test_two_books_of_one_space_estimate_alike(ground: Synthetic) -> None:
    """So that a continued search proposes like one that never stopped."""
    codes = Pool(ground.problem().genes().sizes, np.random.default_rng(3)).random(50)
    one, other = (make_book(ground, dear=True).estimate(codes) for _ in range(2))
    assert one == pytest.approx(other)
