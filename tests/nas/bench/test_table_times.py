"""Times of a table's networks: what a second run adds, and whose times may stand in one file."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from nas.costs import measure_costs
from nas.trained_table import add_entry, begin_table
from search_spaces.ultralight import SPACE
from tests.commands import run, run_json
from tests.nas.test_trained_table import ENTRY, PLAN

SMALL = replace(PLAN, size=32)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Return a table of two published networks, the first of which was trained twice."""
    path = tmp_path / "table.jsonl"
    begin_table(path, SMALL)
    for net, (name, seeds) in enumerate({"ultralight-t": 2, "ultralight-s": 1}.items()):
        point = SPACE.baselines[name].point
        arch = SPACE.arch(point, *PLAN.channels)
        costs = measure_costs(arch, 32)
        for seed in range(seeds):
            facts = {"key": arch.key, "params": costs.params, "macs": costs.macs}
            add_entry(path, replace(ENTRY, net=net, seed=seed, point=point, **facts))
    return path


def test_each_network_is_timed_once_and_a_second_run_adds_what_is_missing(table: Path) -> None:
    out = table.with_name("times.jsonl")
    command = f"bench times {table} {out} --device cpu"
    found = run_json(command)
    assert found["networks"] == 2
    assert 0 < found["least_ms"] <= found["median_ms"] <= found["most_ms"]
    head, first, second = map(json.loads, out.read_text().splitlines())
    assert (head["size"], head["rig"]["device"], head["rig"]["threads"]) == (32, "cpu", 1)
    assert first["latency"]["low_ms"] <= first["latency"]["latency_ms"]
    out.write_text("".join(out.read_text().splitlines(keepends=True)[:2]) + '{"key": "cut')
    text = run(command).stdout
    assert f"{out}: 2 networks" in text
    assert "Spearman with parameters 1.00" in text or "Spearman with parameters -1.00" in text
    again = [json.loads(line) for line in out.read_text().splitlines()]
    assert again[:2] == [head, first]
    assert again[2]["key"] == second["key"]


def test_times_of_another_rig_are_not_mixed_in(table: Path) -> None:
    out = table.with_name("times.jsonl")
    assert run(f"bench times {table} {out} --device cpu").exit_code == 0
    before = out.read_bytes()
    refused = run(f"bench times {table} {out} --device cpu --threads 2")
    assert refused.exit_code == 2
    assert "was made with rig=" in refused.stderr
    assert "name another file" in refused.stderr
    assert out.read_bytes() == before
    refused = run(f"bench times {out} {out}")
    assert "must be a file of `nas bench table`, it is not" in refused.stderr
