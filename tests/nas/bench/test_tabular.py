"""A table as a world to search: its scores, luck and costs against what the entries say."""

import random
from dataclasses import replace
from functools import cache
from math import log
from pathlib import Path

import numpy as np
import pytest

from nas.bench.search import _play
from nas.bench.table_world import PredictedWorld
from nas.bench.tabular import Tabular
from nas.cost_table import CostTable
from nas.costs import measure_costs
from nas.sampler.known_cost import KnownCostSampler
from nas.trained_table import Entry, Plan, add_entry, begin_table
from primitives.core.errors import InvalidInput
from search_spaces.ultralight import SPACE
from tests.commands import run, run_json
from tests.nas.test_trained_table import PLAN

NETS, LUCK = 60, 0.01


def merit(params: int) -> float:
    return 0.1 * log(params)


@cache
def entries() -> list[Entry]:
    """Small networks whose Dice rises with their parameters alone; luck is +-0.01."""
    rng, table, found = random.Random(0), CostTable(PLAN.size), []
    for net in range(NETS):
        point = {**SPACE.sample(rng), "width": rng.choice([4, 8])}
        arch = SPACE.arch(point, *PLAN.channels)
        params, macs = table.costs(arch)
        for seed in (0, 1):
            luck = LUCK * (2 * seed - 1)
            dice = merit(params) - 0.5 + luck
            found.append(
                Entry(
                    net=net,
                    seed=seed,
                    origin="published" if net == 0 else "spread",
                    key=arch.key,
                    point=point,
                    params=params,
                    macs=macs,
                    dice=dice,
                    losses=[1.0 - luck, 0.8 - dice],
                    curve=[[1.0, 1.0, 0.1 * epoch + luck] for epoch in range(9)],
                    seconds=macs / 1e5,
                )
            )
    return found


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Costs are estimated from few networks."""
    monkeypatch.setattr("nas.sampler.cost_book._FIRST", 40)


@pytest.fixture(scope="module")
def world() -> PredictedWorld:
    return PredictedWorld(PLAN, entries())


@pytest.fixture(scope="module")
def ground(world: PredictedWorld) -> Tabular:
    return Tabular(world, seed=3, limit=50_000.0)


def test_networks_that_were_left_out_are_predicted(world: PredictedWorld) -> None:
    quality = world.quality()
    assert quality.spearman > 0.9  # parameters tell all
    assert quality.error < 0.02
    assert quality.ceiling == pytest.approx(1.0)
    assert quality.noise == pytest.approx(np.sqrt(2) * LUCK)  # of two, unbiased


def test_points_go_there_and_back(ground: Tabular) -> None:
    for entry in entries()[::10]:
        assert ground.decoded(ground.coded(entry.point)) == entry.point
    assert ground.coded(SPACE.baselines["ultralight-t"].point)["width"] == 0  # the narrowest
    switch, off = ground.conditions["gate_kernel"]
    assert (switch, off) == ("gate", {"ag", "add"})


def test_costs_are_those_of_the_network(ground: Tabular) -> None:
    for entry in entries()[1:20:6]:
        costs = measure_costs(SPACE.arch(entry.point, *PLAN.channels), PLAN.size)
        assert ground.costs(ground.coded(entry.point)) == (costs.params, costs.macs)
        assert ground.key(ground.coded(entry.point)) == entry.key


def test_trainings_take_as_long_as_those_of_the_table(ground: Tabular) -> None:
    found = [ground.seconds(ground.coded(entry.point)) for entry in entries()]
    true = [entry.seconds for entry in entries()]
    assert np.median(np.abs(np.log(np.divide(found, true)))) < 0.05


def test_luck_is_what_equal_networks_had(ground: Tabular) -> None:
    point = ground.coded(entries()[0].point)
    true = ground.dice(point)
    trained = np.array([ground.train(point, number) - true for number in range(40)])
    assert set(np.abs(trained).round(6)) == {round(np.sqrt(2) * LUCK, 6)}
    assert {*np.sign(trained)} == {-1, 1}
    # Losses and early Dice share the luck of their training.
    losses = np.array([ground.loss(point, number, 1 / 9) for number in range(40)])
    early = np.array([ground.early_dice(point, number, 1 / 3) for number in range(40)])
    assert np.corrcoef(trained, losses)[0, 1] == pytest.approx(-1)
    assert np.corrcoef(trained, early)[0, 1] == pytest.approx(1)
    assert ground.train(point, 7) == ground.train(point, 7)


def test_losses_are_missing_dice_and_log_parameters(ground: Tabular) -> None:
    nets = {entry.net: entry for entry in entries()}
    points = [ground.coded(entry.point) for entry in nets.values()]
    losses = ground.losses(points)
    params = np.array([entry.params for entry in nets.values()])
    assert losses[:, 1] == pytest.approx(np.log(params / ground.limit))
    worst = min(merit(entry.params) - 0.5 for entry in nets.values())
    assert losses[:, 0] == pytest.approx([worst - ground.dice(point) for point in points])


def test_networks_below_the_smallest_of_the_table_count_as_large_for_all(
    world: PredictedWorld, ground: Tabular
) -> None:
    tiny = {**SPACE.baselines["ultralight-t"].point, "growth": "1-1-2-3-4", "levels": 4}
    tiny |= {name: "1" for name in SPACE.dimensions if "_kernels_" in name}
    tiny |= {name: "none" for name in SPACE.dimensions if "_attention_" in name}
    codes = world.nets.genes.encode([tiny])
    least = min(entry.params for entry in entries())
    assert world.nets.facts(codes[0])[1] < least
    assert world.losses(codes, 0, 50_000.0)[0, 1] == pytest.approx(np.log(least / 50_000))
    point = ground.coded(tiny)
    assert ground.costs(point)[0] == pytest.approx(least)
    assert ground.problem().cost([point])["params"] == pytest.approx([least])


def test_known_cost_is_told_the_conditions_and_the_limit(ground: Tabular) -> None:
    sampler = KnownCostSampler(ground.problem(), seed=0)
    assert sampler.genes.conditions == ground.conditions
    assert ground.problem().limits == {"params": 50_000.0}


@pytest.fixture(scope="module")
def limited() -> Tabular:
    """Networks beyond the table's median of multiply-adds may not be trained."""
    most = sorted(entry.macs for entry in entries())[NETS]
    world = PredictedWorld(replace(PLAN, most_macs=most), entries()[2:])
    return Tabular(world, seed=0, limit=float(PLAN.most_params))


def test_nothing_beyond_a_limit_on_multiply_adds_is_trained(limited: Tabular) -> None:
    most = limited.world.plan.most_macs
    assert most
    assert limited.problem().limits == {"params": PLAN.most_params, "macs": most}
    points = [limited.coded(entry.point) for entry in entries()]
    assert [limited.knows(p) for p in points] == [entry.macs <= most for entry in entries()]
    done = _play("random", limited, 5)
    assert done.refused
    assert all(limited.costs(one.point)[1] <= most for one in done.ended)


@pytest.mark.slow
@pytest.mark.usefixtures("few")
def test_who_knows_costs_proposes_nothing_beyond_a_limit_on_multiply_adds(
    limited: Tabular,
) -> None:
    done = _play("stratified", limited, 8)
    assert len(done.ended) == 8
    assert not done.refused


@pytest.mark.slow
@pytest.mark.usefixtures("few")
def test_the_best_keeps_a_limit_on_multiply_adds(
    world: PredictedWorld, limited: Tabular, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nas.bench.table_world._GENERATIONS", 2)  # of the search for the best
    assert limited.best < 0.95 * world.best(limited.limit)  # larger networks are better there


def write(path: Path, count: int, plan: Plan = PLAN) -> Path:
    begin_table(path, plan)
    for entry in entries()[:count]:
        add_entry(path, entry)
    return path


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize(("name", "begins"), [("random", True), ("no-baselines", False)])
def test_searches_begin_with_the_published_networks(
    ground: Tabular, name: str, begins: bool
) -> None:
    done = _play(name, ground, 1)
    assert (done.ended[0].point == ground.first[0]) is begins


def test_another_table_is_an_earlier_search(ground: Tabular) -> None:
    found = ground.earlier(entries()[:40])
    assert [ground.decoded(point) for point in found.points] == [e.point for e in entries()[:40:2]]
    true = [merit(entry.params) - 0.5 for entry in entries()[:40:2]]
    assert found.values[:, 0] == pytest.approx(true)  # means of two seeds, whose luck cancels
    assert np.isnan(found.values[:, 1]).all()
    assert set(found.counts) == {2.0}


@pytest.mark.slow
@pytest.mark.usefixtures("few")
def test_the_command_replays_searches(tmp_path: Path) -> None:
    path = write(tmp_path / "table.jsonl", 2 * NETS)
    other = write(tmp_path / "other.jsonl", 2 * NETS, replace(PLAN, fingerprint="other"))
    command = f"bench search --task tabular --table {path} --seeds 1 --trials 7 --samplers"
    options = f"--earlier-table {other}"
    found = run_json(f"{command} known-cost,ray-asha,random,warm-start,warm-start+model {options}")
    assert (found["task"]["trainings"], found["task"]["earlier"]) == (2 * NETS, "other.jsonl")
    rows = found["samplers"]
    assert rows["known-cost"]["infeasible"] == rows["known-cost"]["refused"] == 0
    assert rows["random"]["refused"] > 0  # no table tells of what is larger than its networks
    assert rows["known-cost"]["partly"] == 0
    assert all(0 < row["curve"][1][-1] <= 1.001 for row in rows.values())
    first = [row["curve"][1][0] for row in rows.values()]
    assert first[0] == first[2] == first[3]  # all begin with the published networks
    assert rows["warm-start"]["curve"] != rows["known-cost"]["curve"]  # it proposes others


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--task tabular", "needs --table"),
        ("--task tabular --table {table} --noise 0.1", "has no --noise"),
        ("--task tabular --table {table}", "must hold at least 20 networks, got 5"),
        ("--table {table}", "--table, --data and --earlier-table belong to --task tabular and"),
        ("--earlier-table {table}", "--table, --data and --earlier-table belong to --task tab"),
        (
            "--task tabular --table {enough} --earlier-table {enough}",
            "be of space 'ultralight' and of other data than 'cells', ",
        ),
        ("--task tabular --table {enough} --samplers warm-start", "or --earlier-table FILE"),
        ("--task live --table {table}", "--data belongs to --task live, which needs it"),
        ("--task tabular --table {table} --skip-bad", "--skip-bad belongs to --task live"),
        ("--task live --table {table} --data phantom", "data must be those of"),
        ("--samplers ray-asha", "sampler 'ray-asha' needs Dice before the end: --task tabular"),
    ],
)
def test_what_cannot_be_compared_is_refused(tmp_path: Path, options: str, message: str) -> None:
    files = {"table": write(tmp_path / "table.jsonl", 10)}
    files["enough"] = write(tmp_path / "enough.jsonl", 40)
    refused = run(f"bench search --seeds 1 --trials 5 {options.format(**files)}")
    assert refused.exit_code == 2
    assert message in refused.stderr


def test_one_training_of_each_network_tells_no_luck() -> None:
    with pytest.raises(InvalidInput, match="must hold two trainings of a network"):
        PredictedWorld(PLAN, entries()[::2]).luck(0.5, np.random.default_rng(0))


def test_a_table_of_an_older_space_is_refused() -> None:
    points = [{name: e.point[name] for name in e.point if name != "gate"} for e in entries()]
    older = [replace(e, point=point) for e, point in zip(entries(), points, strict=True)]
    with pytest.raises(InvalidInput, match="'gate' is missing"):
        PredictedWorld(PLAN, older)
