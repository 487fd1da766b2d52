"""Building a table with real trainings: what a second run adds, and that it repeats nothing."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import Future
from pathlib import Path

import psutil
import pytest

from nas.bench import table as bench_table
from nas.bench.table_training import open_plan
from nas.costs import measure_costs
from nas.task import TrainingFailed
from nas.trained_table import read_table
from search_spaces.ultralight import SPACE
from tests.commands import run, write_images


@pytest.fixture
def command(tmp_path: Path) -> str:
    """Build a table.jsonl of few images; lacks the number of networks."""
    write_images(tmp_path / "data", 20)
    table, data = tmp_path / "table.jsonl", tmp_path / "data"
    return f"bench table {table} --data {data} --size 32 --nets"


@pytest.mark.slow
def test_a_killed_build_goes_on_and_tells_what_trainings_showed(
    command: str, tmp_path: Path
) -> None:
    table = tmp_path / "table.jsonl"
    command = f"{command} 1 --seeds 2"
    code = "from nas.cli import main; main()"
    build = subprocess.Popen([sys.executable, "-c", code, *command.split()])
    deadline = time.monotonic() + 300
    while not (table.exists() and len(table.read_text().splitlines()) > 1):
        assert build.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.1)
    workers = psutil.Process(build.pid).children(recursive=True)
    os.kill(build.pid, signal.SIGKILL)
    build.wait()
    gone, alive = psutil.wait_procs(workers, timeout=20)
    assert gone
    assert not alive  # a worker ends with the one that it works for
    plan, before = read_table(table)
    assert run(command).exit_code == 0
    again, entries = read_table(table)
    assert again == plan
    assert entries[: len(before)] == before
    assert [(entry.net, entry.seed) for entry in entries] == [(0, 0), (0, 1)], "none twice"
    first, second = entries
    arch = SPACE.arch(SPACE.baselines["ultralight-t"].point, *plan.channels)
    costs = measure_costs(arch, plan.size)
    assert (first.key, first.params, first.macs) == (arch.key, costs.params, costs.macs)
    assert (first.origin, first.point) == ("published", SPACE.baselines["ultralight-t"].point)
    assert len(first.curve) == plan.epochs == 9
    assert first.dice == max(dice for _, _, dice in first.curve)
    assert len(first.losses) == len(plan.rungs) == 2
    assert (first.seed, second.seed) == (0, 1)
    assert first.curve != second.curve


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--epochs 10", "epochs must be a multiple of 9, got 10"),
        ("--space ultralite", "'ultralight'"),
        ("--data nowhere", "nowhere"),
        ("--most-params 100", "most-params"),
    ],
)
def test_a_table_that_cannot_be_is_refused(tmp_path: Path, options: str, message: str) -> None:
    refused = run(f"bench table {tmp_path / 'table.jsonl'} --data phantom --size 32 {options}")
    assert refused.exit_code == 2
    assert message in refused.stderr
    assert not (tmp_path / "table.jsonl").exists()


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every training fails, at once."""

    class Failing:
        def __init__(self, *_: object) -> None: ...
        def __enter__(self) -> "Failing":
            return self

        def __exit__(self, *_: object) -> None: ...
        def submit(self, *_: object) -> Future:
            future: Future = Future()
            future.set_exception(TrainingFailed("loss is nan in epoch 1"))
            return future

    monkeypatch.setattr(bench_table, "process_pool", Failing)


@pytest.mark.usefixtures("failing")
def test_a_training_that_fails_is_left_out_and_said(command: str) -> None:
    ended = run(f"{command} 2 --seeds 1")
    assert ended.exit_code == 0
    assert ended.stderr.count("left out: loss is nan in epoch 1") == 2
    assert "0 networks, 0 trainings" in ended.stdout


def test_limits_that_leave_no_network_are_refused_before_there_is_a_file(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench_table, "_TRIES", 20)
    refused = run(f"{command} 1 --most-macs 1000")
    assert refused.exit_code == 2
    assert "got 500000 and 1000 and none in 20 draws; raise them" in refused.stderr
    assert not (tmp_path / "table.jsonl").exists()


@pytest.mark.usefixtures("failing")
def test_bad_files_are_named_and_left_out_if_asked(tmp_path: Path) -> None:
    folder, table = tmp_path / "data", tmp_path / "table.jsonl"
    write_images(folder, 20)
    next(folder.glob("masks/*")).unlink()
    command = f"bench table {table} --data {folder} --size 32 --nets 1"
    refused = run(command)
    assert refused.exit_code == 2
    assert "mend them or use --skip-bad" in refused.stderr
    assert run(f"{command} --skip-bad").exit_code == 0
    plan, _ = read_table(table)
    search = f"bench search --task live --table {table} --data {folder} --trials 1"
    assert "mend them or use --skip-bad" in run(search).stderr
    again, prepared = open_plan(table, str(folder), lambda *_: None, skip_bad=True)
    assert again == plan
    assert sum(map(len, prepared.split.values())) == 19
