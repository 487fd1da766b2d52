"""Whole searches in processes of their own, to watch and to kill."""

import os
import shlex
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import chdir, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from click.testing import Result

from tests.commands import run, run_json, write_images

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

    def arguments(self, *more: str) -> list[str]:
        fixed = "search --space ultralight --objective dice,params --constraint none --data images"
        size = f"--size 32 --trials {TRIALS} --epochs {EPOCHS} --workers 1 --study s"
        return [*fixed.split(), *size.split(), *more]

    def start(self, *more: str) -> subprocess.Popen[str]:
        """Start a search as a terminal does, as the leader of a group of processes."""
        with (self.folder / "out").open("w") as out, (self.folder / "err").open("w") as err:
            self.started.append(
                subprocess.Popen(
                    [*NAS, *self.arguments(*more)],
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

    def run_here(self, *more: str) -> Result:
        """Run a search that trains nothing in this process: starting one takes seconds."""
        with chdir(self.folder):
            return run(shlex.join(self.arguments(*more)))

    def errors(self) -> str:
        return (self.folder / "err").read_text()

    def json(self, *arguments: str) -> object:
        """Ask a command that reads, in this process."""
        with chdir(self.folder):
            return run_json(shlex.join(arguments))

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


MOMENTS: dict[str, Callable[[Search], object]] = {
    "while the database is made": lambda s: s.database.exists(),
    "while Ray starts": lambda s: (s.store / "ray-s").exists(),
    "in the first training": lambda s: list(s.store.glob("checkpoints/*.pt")),
    "after the first training": lambda s: s.rows("SELECT 1 FROM nas_evaluations"),
    "in the second training": lambda s: (
        s.rows("SELECT 1 FROM nas_evaluations") and list(s.store.glob("checkpoints/*.pt"))
    ),
}
