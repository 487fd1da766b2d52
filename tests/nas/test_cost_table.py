"""Sums over blocks against one trace of the whole network."""

import random

import pytest

import search_spaces
from nas.cost_table import CostTable
from nas.costs import measure_costs
from search_spaces.core.arch import Arch

SIZE = 64


def assert_equal(table: CostTable, arch: Arch) -> None:
    expected = measure_costs(arch, SIZE)
    assert table.costs(arch) == (expected.params, expected.macs)


@pytest.mark.parametrize("name", ["ultralight", "unet", "uconvnext"])
def test_costs_of_blocks_add_up_to_those_of_the_network(name: str) -> None:
    space, rng = search_spaces.load(name), random.Random(7)
    table, point = CostTable(SIZE), space.sample(rng)
    for changed in (point, space.mutate(point, rng)):  # the second one finds most blocks known
        assert_equal(table, space.arch(changed))


def test_a_table_that_forgets_blocks_counts_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nas.cost_table._MOST", 5)
    space, rng = search_spaces.load("ultralight"), random.Random(8)
    table = CostTable(SIZE)
    for _ in range(3):
        assert_equal(table, space.arch(space.sample(rng)))
    blocks = table._table
    assert len(blocks._blocks) == len(blocks._seen) == 5  # what was seen went with its block


@pytest.mark.slow
@pytest.mark.parametrize("name", search_spaces.names())
def test_costs_of_all_baselines_add_up(name: str) -> None:
    space = search_spaces.load(name)
    table = CostTable(SIZE)
    for baseline in space.baselines.values():
        assert_equal(table, space.arch(baseline.point))
