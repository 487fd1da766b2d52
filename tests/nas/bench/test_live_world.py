"""Searches whose trainings are real: what they share, how they are judged, and what goes on."""

from pathlib import Path

import pytest

from nas.bench.trained_table import read_table
from tests.commands import run, run_json

TRIALS = 2


@pytest.mark.slow
def test_a_live_comparison_trains_once_and_is_judged_by_other_seeds(tmp_path: Path) -> None:
    table = tmp_path / "table.jsonl"
    made = f"bench table {table} --data phantom --size 32 --nets 1 --seeds 1 --most-params 60000"
    assert run(made).exit_code == 0
    command = (
        f"bench search --task live --table {table} --data phantom --seeds 1 --trials {TRIALS} "
        "--samplers known-cost,random"
    )
    found = run_json(command)
    _, entries = read_table(table)
    ours, other = found["samplers"]["known-cost"], found["samplers"]["random"]
    assert ours["infeasible"] == ours["repeats"] == ours["partly"] == 0
    assert len(ours["curve"][1]) == len(other["curve"][1]) == TRIALS
    assert len({(entry.key, entry.seed) for entry in entries}) == len(entries)  # none twice
    assert {entry.seed for entry in entries} == {0, 1}  # searched with 0, judged by 1
    searched = {entry.key for entry in entries if entry.seed == 0}
    assert {entry.key for entry in entries if entry.seed == 1} <= searched
    assert all(entry.params <= 60_000 for entry in entries)
    again = run_json(command)
    assert read_table(table)[1] == entries
    for name, row in again["samplers"].items():
        assert row["curve"] == found["samplers"][name]["curve"]
