"""Whole searches in processes of their own: what they print, and what their deaths leave."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

import nas
from tests.commands import write_images

ROOT = Path(__file__).parents[1]
NAS = (sys.executable, "-c", "from nas.cli import main; main()")
TRIALS, EPOCHS = 2, 2
NEEDED = ("nas_epochs", "nas_evaluations", "trial_user_attributes")
TABLES = f"SELECT 1 FROM sqlite_master WHERE type = 'table' AND name IN {NEEDED}"


@dataclass
class Search:
    """A folder with images and a store, and commands run in it."""

    folder: Path
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def store(self) -> Path:
        return self.folder / "nas-store"

    @property
    def database(self) -> Path:
        return self.store / "nas.db"

    def command(self, *more: str) -> list[str]:
        fixed = "search --space ultralight --objective dice,params --constraint none --data images"
        size = f"--size 32 --trials {TRIALS} --epochs {EPOCHS} --workers 1 --study s"
        return [*NAS, *fixed.split(), *size.split(), *more]

    def start(self, *more: str) -> subprocess.Popen[str]:
        """Start a search as a terminal does, as the leader of a group of processes."""
        with (self.folder / "out").open("w") as out, (self.folder / "err").open("w") as err:
            self.started.append(
                subprocess.Popen(
                    self.command(*more),
                    cwd=self.folder,
                    env=environment(),
                    stdout=out,
                    stderr=err,
                    text=True,
                    start_new_session=True,
                )
            )
        return self.started[-1]

    def close(self) -> None:
        """End what a failed test left running."""
        for process in self.started:
            process.kill()
            process.wait()

    def run(self, *more: str) -> tuple[int, str, str]:
        """Run a search to its end and return its exit code, stdout and stderr."""
        code = self.start(*more).wait(timeout=900)
        return code, (self.folder / "out").read_text(), self.errors()

    def errors(self) -> str:
        return (self.folder / "err").read_text()

    def json(self, *arguments: str) -> object:
        found = subprocess.run(
            [*NAS, *arguments, "--json"],
            cwd=self.folder,
            env=environment(),
            capture_output=True,
            text=True,
            check=True,
        )
        return json.loads(found.stdout)

    def rows(self, query: str) -> list[tuple[object, ...]]:
        """Ask the database; one that is only being made answers nothing."""
        if not self.database.exists():
            return []
        with sqlite3.connect(self.database, timeout=60) as connection:
            ready = connection.execute(TABLES).fetchall()
            found = connection.execute(query).fetchall() if len(ready) == len(NEEDED) else []
        connection.close()
        return found

    def finished(self) -> dict[str, tuple[float, int]]:
        """Return when each finished training was stored, and when its weights were written."""
        query = "SELECT arch_key, created FROM nas_evaluations"
        weights = {p.name[:12]: p.stat().st_mtime_ns for p in self.store.glob("weights/*")}
        return {str(key): (float(str(at)), weights[str(key)]) for key, at in self.rows(query)}

    def counts(self) -> dict[str, int]:
        (row,) = self.status()
        return {k: v for k, v in row.items() if isinstance(v, int) and v and k != "front"}

    def status(self) -> list[dict[str, object]]:
        found = self.json("status")
        assert isinstance(found, list)
        return found

    def epochs(self) -> list[tuple[object, ...]]:
        return self.rows("SELECT trial, epoch FROM nas_epochs ORDER BY trial, epoch")


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200"}


@contextmanager
def searching(folder: Path) -> Iterator[Search]:
    write_images(folder / "images", 14)
    found = Search(folder)
    yield found
    found.close()


@pytest.fixture
def search(tmp_path: Path) -> Iterator[Search]:
    with searching(tmp_path) as found:
        yield found


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Search]:
    """Yield a search that ran to its end."""
    with searching(tmp_path_factory.mktemp("ended")) as found:
        code, out, err = found.run()
        assert code == 0, err
        assert "nas show s " in out
        yield found


def wait_for(ready: Callable[[], object], search: subprocess.Popen[str], seconds: float = 400):
    end = time.monotonic() + seconds
    while not ready():
        assert search.poll() is None, "the search ended too early"
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def kill(search: subprocess.Popen[str]) -> None:
    """Kill a driver alone; its workers must go by themselves."""
    left = psutil.Process(search.pid).children(recursive=True)
    # Two idle agents of Ray wait a minute for their dead server; they hold nothing of ours.
    left = [p for p in left if not title(p).endswith("Agent")]
    search.send_signal(signal.SIGKILL)
    search.wait(timeout=10)
    _, alive = psutil.wait_procs(left, timeout=15)
    assert not alive, f"these outlived their driver: {[title(p) for p in alive]}"


def workers(search: subprocess.Popen[str]) -> list[psutil.Process]:
    """Return the processes of a search that are training now."""
    found = psutil.Process(search.pid).children(recursive=True)
    return [p for p in found if title(p).endswith(".train")]


def title(process: psutil.Process) -> str:
    """Return what a process calls itself, "" if it is gone."""
    try:
        return (process.cmdline() or [""])[0]
    except psutil.Error:
        return ""


def test_a_search_prints_its_progress_and_no_warning(ended: Search) -> None:
    errors = ended.errors()
    for number in range(TRIALS):
        assert f"trial {number} complete: dice " in errors
    for noise in ("arning", "Traceback", "(pid=", "INFO", "Error"):
        assert noise not in errors, errors


def test_what_a_search_stored_is_read_by_the_commands(ended: Search) -> None:
    assert ended.counts() == {"complete": TRIALS}
    front = ended.json("front", "s")
    assert isinstance(front, list)
    assert {t["baseline"] for t in front} <= {"ultralight-t", "ultralight-s"}
    first = front[0]
    assert first["full_budget"]
    assert first["epochs"] == EPOCHS
    assert first["values"] == {"dice": first["dice"], "params": first["params"]}
    shown = ended.json("show", "s", "0")
    assert isinstance(shown, dict)
    assert shown["baseline"] == "ultralight-t"
    net = nas.build(nas.baseline("ultralight-t", in_channels=1))
    assert shown["params"] == sum(p.numel() for p in net.parameters())
    assert [row["epoch"] for row in shown["curve"]] == list(range(1, EPOCHS + 1))
    assert shown["dice"] == max(row["dice"] for row in shown["curve"])


def test_a_search_leaves_nothing_but_results(ended: Search) -> None:
    assert not list(ended.store.glob("checkpoints/*"))
    assert len(list(ended.store.glob("weights/*"))) == TRIALS
    assert not (ended.store / "ray-s").exists()


def test_the_same_command_again_trains_nothing(ended: Search) -> None:
    before = ended.finished()
    code, out, _ = ended.run()
    assert code == 0
    assert "(--trials is the total)" in out
    assert ended.finished() == before
    assert len(ended.epochs()) == TRIALS * EPOCHS


def test_other_settings_are_refused_with_their_differences(ended: Search) -> None:
    before = ended.finished()
    code, out, err = ended.run("--epochs", "4", "--seed", "1")
    assert code == 2
    assert out == ""
    last = err.strip().splitlines()[-1]
    assert "study 's' was made with epochs=2, got epochs=4; seed=0, got seed=1" in last
    assert ended.finished() == before


MOMENTS: dict[str, Callable[[Search], object]] = {
    "while the database is made": lambda s: s.database.exists(),
    "while Ray starts": lambda s: (s.store / "ray-s").exists(),
    "in the first training": lambda s: list(s.store.glob("checkpoints/*.pt")),
    "after the first training": lambda s: s.rows("SELECT 1 FROM nas_evaluations"),
    "in the second training": lambda s: (
        s.rows("SELECT 1 FROM nas_evaluations") and list(s.store.glob("checkpoints/*.pt"))
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_killed_search_goes_on_as_if_it_had_not_been(
    search: Search, ended: Search, moment: str
) -> None:
    dying = search.start()
    wait_for(lambda: MOMENTS[moment](search), dying)
    kill(dying)
    before = search.finished()
    code, _, err = search.run()
    assert code == 0, err
    assert search.counts() == ended.counts()
    assert before.items() <= search.finished().items(), "a finished trial was trained again"
    assert search.epochs() == ended.epochs()
    assert results(search) == results(ended), "a continued training must end the same"


def results(search: Search) -> list[tuple[object, object, object]]:
    found = search.rows("SELECT arch_key, trial, value FROM nas_evaluations ORDER BY trial")
    return [(key, trial, json.loads(str(value))["dice"]) for key, trial, value in found]


RUNG_REACHED = "SELECT 1 FROM trial_user_attributes WHERE key = 'rungs'"


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_killed_worker_is_replaced_and_its_trial_goes_on(search: Search) -> None:
    running = search.start()
    wait_for(lambda: MOMENTS["in the first training"](search) and workers(running), running)
    workers(running)[0].kill()
    assert running.wait(timeout=900) == 0, search.errors()
    assert search.counts()["complete"] == TRIALS
    assert len(search.epochs()) == TRIALS * EPOCHS


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_trial_that_takes_too_long_is_recorded_with_its_reason(search: Search) -> None:
    code, _, err = search.run("--trials", "1", "--trial-timeout", "0.2s")
    assert code == 0, err
    assert search.counts() == {"failed": 1}
    shown = search.json("show", "s", "0")
    assert isinstance(shown, dict)
    assert shown["reason"] == "no result within 0.2 s (--trial-timeout)"


@pytest.mark.slow
def test_a_search_that_runs_out_of_time_is_continued_later(search: Search) -> None:
    code, _, err = search.run("--time", "1s")
    assert code == 0, err
    assert search.counts().get("complete", 0) < TRIALS
    code, _, err = search.run()
    assert code == 0, err
    assert search.counts()["complete"] == TRIALS


@pytest.mark.slow
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


@pytest.mark.slow
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
