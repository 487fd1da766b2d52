"""A search's progress on the terminal, on stderr."""

import sys
import time
from collections.abc import Mapping

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

from nas.render import data_lines
from nas.runner import Watcher
from nas.study import StudyDriver

_PIPE = 160  # columns where there is no terminal
_QUIET = 60.0  # seconds between lines of a long preparation there


class TerminalWatcher(Watcher):
    """Draws one bar for the data and one for the trials, and tells what ended; a context."""

    def __init__(self) -> None:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}"),
        )
        self._console = Console(stderr=True, width=None if sys.stderr.isatty() else _PIPE)
        self._progress = Progress(*columns, console=self._console)
        self._bars: dict[str, TaskID] = {}
        self._told = time.monotonic()
        self._reported: int | None = None  # endings told so far; None before the data were

    def __enter__(self) -> "TerminalWatcher":
        return self

    def __exit__(self, *_: object) -> None:
        if self._bars:
            self._progress.stop()

    def preparing(self, what: str, done: int, total: int) -> None:
        """Draw how far a piece of work is: files read, networks timed; in a log, now and then."""
        self._update(what, done, total, "")
        if not self._console.is_terminal and time.monotonic() >= self._told + _QUIET:
            self._told = time.monotonic()
            of = f"/{total}" if total else ""  # how many a search will ask for is not known
            self._console.print(f"{what} {done}{of}", highlight=False)

    def changed(self, driver: StudyDriver, running: Mapping[int, Mapping[str, float]]) -> None:
        """Draw how many trials have ended, and how those in training stand."""
        epochs = driver.study.epochs
        parts = [f"#{n} epoch {int(row.get('epoch', 0))}/{epochs}" for n, row in running.items()]
        if driver.proposals > driver.trials:
            parts.append(f"{driver.proposals} proposals")
        self._update("trials", driver.ledger.counted, driver.trials, " · ".join(parts))
        self._report(driver)

    def _update(self, name: str, done: int, total: int, note: str) -> None:
        self._progress.start()
        if name not in self._bars:
            self._bars[name] = self._progress.add_task(name, total=total, note=note)
        self._progress.update(self._bars[name], completed=done, total=total, note=note)

    def _report(self, driver: StudyDriver) -> None:
        """Print what the data turned out to be, then one line for each trial that has ended."""
        lines = driver.ledger.lines[self._reported or 0 :]
        if self._reported is None:
            lines = [*data_lines(driver.study, driver.prepared), *lines]
        for line in lines:
            self._console.print(line, highlight=False, markup=False, soft_wrap=True)
        self._reported = len(driver.ledger.lines)
