"""Comparisons that go on from the runs that a file keeps."""

import json
from pathlib import Path

import pytest

from nas.bench.synthetic import Instance
from tests.commands import run, run_json

COMMAND = "bench search --samplers {} --seeds {} --trials 10 --keep {}"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look for the best that is known in less than seconds."""
    monkeypatch.setattr("nas.bench.synthetic._GENERATIONS", 40)


def test_kept_runs_are_not_repeated_and_others_are_added(tmp_path: Path) -> None:
    file = tmp_path / "runs.jsonl"
    first = run_json(COMMAND.format("random", 1, file))
    head, line = map(json.loads, file.read_text().splitlines())
    assert head["trials"] == 10
    assert (line["method"], line["seed"]) == ("random", 0)
    line["run"]["shares"] = [0.25] * 10  # what no run would give
    file.write_text(f"{json.dumps(head)}\n{json.dumps(line)}\n" + '{"method": "nsg')  # killed
    found = run_json(COMMAND.format("random,nsga2", 2, file))["samplers"]
    methods = [json.loads(line).get("method") for line in file.read_text().splitlines()]
    assert methods == [None, "random", "nsga2", "random", "nsga2"]
    plain = run_json("bench search --samplers random,nsga2 --seeds 2 --trials 10")["samplers"]
    assert found["nsga2"]["curve"] == plain["nsga2"]["curve"]
    other = 2 * plain["random"]["share"]["10"] - first["samplers"]["random"]["share"]["10"]
    assert found["random"]["share"]["10"] == pytest.approx((0.25 + other) / 2, abs=2e-4)
    # Minutes hold how long proposals took.
    ends = [[part[-1] for part in row["random"]["clock"][1:]] for row in (found, plain)]
    assert ends[0] == ends[1]


def test_kept_runs_are_shares_of_the_best_that_is_known_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "runs.jsonl"
    before = run_json(COMMAND.format("random", 1, file))["samplers"]["random"]
    best = Instance.best.func  # type: ignore[attr-defined]
    monkeypatch.setattr(Instance, "best", property(lambda self: 2 * best(self)))
    after = run_json(COMMAND.format("random", 1, file))["samplers"]["random"]
    assert after["share"]["10"] == pytest.approx(before["share"]["10"] / 2, abs=1e-4)
    assert after["clock"][2][-1] == pytest.approx(before["clock"][2][-1] / 2, abs=1e-4)


def test_runs_of_another_comparison_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "runs.jsonl"
    run_json(COMMAND.format("random", 1, file))
    refused = run(f"{COMMAND.format('random', 1, file)} --noise 0.02")
    assert refused.exit_code == 2
    assert "was made with noise=0.006, got noise=0.02; name another file" in refused.stderr
    file.write_text(file.read_text() + '{"method": "random"}\n')
    refused = run(COMMAND.format("random", 1, file))
    assert refused.exit_code == 2
    assert "must be a file of `nas bench search --keep`, it is not" in refused.stderr
    live = run(f"bench search --task live --data phantom --table t.jsonl --keep {file}")
    assert live.exit_code == 2
    assert "--keep belongs to other tasks" in live.stderr
