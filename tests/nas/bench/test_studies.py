"""Real searches, judged by trainings that they never saw."""

from pathlib import Path

import pytest

from nas.handle import open_study
from nas.trained_table import begin_table, read_table
from tests.commands import run, run_json
from tests.nas.test_trained_table import PLAN

SEARCH = (
    "search --space ultralight --objective dice,params --constraint params<=0.1M --data phantom "
    "--size 32 --recipe brief --epochs 9"
)


@pytest.mark.slow
def test_searches_are_judged_by_other_seeds_over_time(tmp_path: Path) -> None:
    table = tmp_path / "table.jsonl"
    made = f"bench table {table} --data phantom --size 32 --nets 1 --seeds 1 --most-params 100000"
    assert run(made).exit_code == 0
    ours, other = tmp_path / "ours", tmp_path / "other"
    first, second = "--study a --trials 2", "--study b --trials 1 --sampler random --seed 3"
    for store, more in ((ours, first), (other, second)):
        assert run(f"{SEARCH} --store {store} {more}").exit_code == 0
    found = run_json(f"bench studies {ours} {other} --table {table}")
    assert (set(found["samplers"]), found["seeds"]) == ({"known-cost", "random"}, [0, 3])
    _, entries = read_table(table)
    for store, name, seed, trials in ((ours, "a", 1, 2), (other, "b", 4, 1)):
        study = open_study(store, name)
        trained = [t for t in study.trials() if t.state == "complete"]
        judged = {entry.key for entry in entries if entry.seed == seed}
        assert {t.arch.key for t in study.front() if t.arch} <= judged
        assert judged <= {t.arch.key for t in trained if t.arch} | {entries[0].key}
        row = found["samplers"][study.settings.sampler]
        assert len(row["curve"][1]) == len(trained) == trials
        assert row["curve"][1] == sorted(row["curve"][1])
        longest = max(t.evaluation.train_seconds for t in trained if t.evaluation)
        assert row["clock"][0][-1] > longest / 60  # workers train beside each other
        assert row["infeasible"] == row["repeats"] == 0
    # Together they are the best that is known here.
    assert max(row["curve"][1][-1] for row in found["samplers"].values()) <= 1
    assert "sampler" in run(f"bench studies {ours} {other} --table {table}").stdout
    assert read_table(table)[1] == entries

    assert run(f"{SEARCH} --trials 1 --store {ours} --study again --sampler random").exit_code == 0
    refused = run(f"bench studies {ours} --table {table}")
    assert refused.exit_code == 2
    assert "study 'again' in" in refused.stderr
    assert "must have trained all by itself; give it a store of its own" in refused.stderr
    begin_table(tmp_path / "cells.jsonl", PLAN)
    refused = run(f"bench studies {other} --table {tmp_path / 'cells.jsonl'}")
    assert refused.exit_code == 2
    assert "must have the table's data and split, 0123456789ab, got" in refused.stderr
