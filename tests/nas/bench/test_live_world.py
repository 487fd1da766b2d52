"""Searches whose trainings are real: what they share, how they are judged, and what goes on."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

import search_spaces
from nas.bench.live_world import LiveWorld
from nas.bench.table_training import make_plan, prepare_beside
from nas.losses import LOSSES
from nas.prepared import Prepared
from nas.trained_table import begin_table, read_table
from primitives.core.errors import InvalidInput
from tests.commands import run, run_json, write_images

TRIALS = 1  # a published network, so that no sampler has to be waited for


@pytest.mark.slow
def test_live_comparisons_train_once_and_are_judged_by_other_seeds(tmp_path: Path) -> None:
    table, data = tmp_path / "table.jsonl", tmp_path / "data"
    write_images(data, 20)
    made = f"bench table {table} --data {data} --size 32 --nets 1 --seeds 1 --most-params 100000"
    assert run(made).exit_code == 0
    command = (
        f"bench search --task live --table {table} --data {data} --trials {TRIALS} "
        "--samplers known-cost"
    )
    nas = [sys.executable, "-c", "import nas.cli; nas.cli.main()", *command.split()]
    beside = [subprocess.Popen([*nas, "--seeds", "1", "--first-seed", seed]) for seed in "01"]
    assert [one.wait() for one in beside] == [0, 0]
    _, entries = read_table(table)
    assert len({(entry.key, entry.seed) for entry in entries}) == len(entries)  # none twice
    assert {entry.seed for entry in entries} == {0, 1, 2, 3}  # searched with 0, 2; judged by 1, 3
    for search in (0, 2):
        searched = {entry.key for entry in entries if entry.seed == search}
        assert {entry.key for entry in entries if entry.seed == search + 1} <= searched
    assert all(entry.params <= 100_000 for entry in entries)
    networks = {(entry.net, entry.key) for entry in entries}
    assert len(networks) == len({net for net, _ in networks}) == len({key for _, key in networks})

    found = run_json(f"{command} --seeds 2")  # of both, from the table
    assert read_table(table)[1] == entries
    ours = found["samplers"]["known-cost"]
    assert ours["infeasible"] == ours["repeats"] == ours["partly"] == 0
    assert len(ours["curve"][1]) == TRIALS


def test_a_training_without_a_result_ends_the_comparison_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = tmp_path / "table.jsonl"
    phantom = prepare_beside(table, "phantom", 32, lambda *_: None)
    space = search_spaces.load("ultralight")
    begin_table(table, make_plan(space, "phantom", phantom, most_params=60_000, epochs=9))
    monkeypatch.setattr("nas.train.LOSSES", dict.fromkeys(LOSSES, lambda y, _: y.sum() * torch.nan))
    result = run(f"bench search --task live --table {table} --data phantom --seeds 1 --trials 1")
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1].startswith("Error: loss is nan in epoch 1; other --seeds")
    assert not read_table(table)[1]


def test_a_limit_below_all_published_networks_is_refused(
    tmp_path: Path, prepared: Prepared
) -> None:
    space, table = search_spaces.load("ultralight"), tmp_path / "table.jsonl"
    plan = make_plan(space, "phantom", prepared, most_params=20_000, epochs=9)
    with pytest.raises(InvalidInput, match="at most 20000 parameters"):
        LiveWorld(table, plan, prepared, torch.device("cpu"), lambda *_: None)
    assert not table.exists()
