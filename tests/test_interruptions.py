"""Searches that are interrupted, lose a worker, run out of time or disk, and what they leave."""

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.processes import EPOCHS, MOMENTS, TRIALS, Search, kill, wait_for, workers

pytestmark = pytest.mark.slow

RUNG_REACHED = "SELECT 1 FROM trial_user_attributes WHERE key = 'rungs'"


def test_a_killed_search_with_early_stopping_ends_with_its_trials(search: Search) -> None:
    more = ["--trials", "4", "--epochs", "2", "--fidelity", "mo-asha", "--sampler", "random"]
    dying = search.start(*more)
    wait_for(lambda: search.rows(RUNG_REACHED), dying)
    kill(dying)
    code, out, err = search.run(*more)
    assert code == 0, err
    assert "early stopping after epoch 1: " in out
    counts = search.counts()
    assert counts["complete"] + counts.get("stopped", 0) == 4
    assert counts["complete"] >= 3, "published networks are trained in full"
    front = search.json("front", "s")
    assert isinstance(front, list)
    assert all(row["epochs"] == 2 and row["state"] == "complete" for row in front)
    trained = search.rows("SELECT trial, COUNT(*), MAX(epoch) FROM nas_epochs GROUP BY trial")
    assert len(trained) == 4
    assert all(count == last for _, count, last in trained), "no epoch was trained twice"
    assert sorted({last for *_, last in trained} | {1, 2}) == [1, 2]


def test_ctrl_c_stores_everything_and_says_how_to_go_on(search: Search) -> None:
    stopped = search.start()
    wait_for(lambda: MOMENTS["in the first training"](search), stopped)
    os.killpg(stopped.pid, signal.SIGINT)
    assert stopped.wait(timeout=60) == 1
    assert "Traceback" not in search.errors()
    assert "everything is stored. To continue:\n  nas search --space" in search.errors()
    assert list(search.store.glob("checkpoints/*.pt")), "its last epoch is kept"
    code, _, err = search.run()
    assert code == 0, err
    assert search.counts()["complete"] == TRIALS


def test_a_killed_worker_is_replaced_and_its_trial_goes_on(search: Search) -> None:
    running = search.start()
    wait_for(lambda: MOMENTS["in the first training"](search) and workers(running), running)
    workers(running)[0].kill()
    assert running.wait(timeout=900) == 0, search.errors()
    assert search.counts()["complete"] == TRIALS
    assert len(search.epochs()) == TRIALS * EPOCHS


def test_a_trial_that_dies_twice_is_recorded_and_the_search_goes_on(search: Search) -> None:
    running = search.start("--trials", "1")
    for _ in range(2):
        wait_for(lambda: workers(running), running)
        victim = workers(running)[0]
        victim.kill()
        victim.wait(timeout=10)
    assert running.wait(timeout=900) == 0, search.errors()
    assert search.counts() == {"failed": 1}
    shown = search.json("show", "s", "0")
    assert isinstance(shown, dict)
    assert shown["reason"] == "its process died: killed, or out of memory"
    assert search.run("--trials", "2")[0] == 0
    assert search.counts() == {"failed": 1, "complete": 1}


def test_a_trial_that_takes_too_long_is_recorded_with_its_reason(search: Search) -> None:
    code, _, err = search.run("--trials", "1", "--trial-timeout", "0.2s")
    assert code == 0, err
    assert search.counts() == {"failed": 1}
    shown = search.json("show", "s", "0")
    assert isinstance(shown, dict)
    assert shown["reason"] == "no result within 0.2 s (--trial-timeout)"


def test_a_search_that_runs_out_of_time_is_continued_later(search: Search) -> None:
    code, _, err = search.run("--time", "1s")
    assert code == 0, err
    assert search.counts().get("complete", 0) < TRIALS
    code, _, err = search.run()
    assert code == 0, err
    assert search.counts()["complete"] == TRIALS


def test_a_study_is_searched_by_one_driver_at_a_time(search: Search) -> None:
    first = search.start()
    wait_for(lambda: MOMENTS["while Ray starts"](search), first)
    code, out, err = search.run()
    assert (code, out) == (2, "")
    last = err.strip().splitlines()[-1]
    assert f"'s' is being searched by process {first.pid}; wait for it" in last
    assert first.poll() is None
    kill(first)


@pytest.fixture
def small_disk(search: Search) -> Iterator[Path]:
    """Make the store a disk of a few MB."""
    search.store.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=5m", "tmpfs", str(search.store)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {done.stderr.strip()}")
    yield search.store
    subprocess.run(["umount", "--lazy", str(search.store)], check=True)


def test_a_full_disk_ends_a_search_that_goes_on_when_there_is_room(
    search: Search, small_disk: Path
) -> None:
    code, out, err = search.run()
    assert (code, out) == (2, ""), err
    last = err.strip().splitlines()[-1]
    assert f"no space left for {small_disk}; free some and run the same command again" in last
    assert "Traceback" not in err
    assert not list(small_disk.glob("*/.*")), "a partial file was left"
    before = search.finished()
    assert before, "the first trial fits"
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    code, _, err = search.run()
    assert code == 0, err
    assert search.counts()["complete"] == TRIALS
    assert before.items() <= search.finished().items()
