"""Runs of a comparison in a file, so that one which was killed, or has more of them, goes on.

Two revisions of a method are not told apart: a run that was kept counts as what it is called.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nas.bench.judge import Replay
from nas.json_lines import add_line, begin_lines, locked, not_of

VERSION = 1
_COMMAND = "nas bench search --keep"


class KeptRuns:
    """Runs that have ended, by method and seed.

    Args:
        path: of the file, which is made where there is none.
        task: what is searched, and for how long; the same for all runs of a file.

    Raises:
        InvalidInput: the file is of another task, or something else.
        OSError: it cannot be written.
    """

    def __init__(self, path: Path, task: Mapping[str, Any]) -> None:
        self._path = path
        lines = begin_lines(path, {**task, "version": VERSION}, _COMMAND)
        try:
            self._runs = {
                (line["method"], line["seed"]): Replay.from_json(line["run"]) for line in lines
            }
        except (KeyError, TypeError):
            raise not_of(path, _COMMAND) from None

    def find(self, method: str, seed: int) -> Replay | None:
        """Return a run, None where it is not in the file."""
        return self._runs.get((method, seed))

    def add(self, method: str, seed: int, run: Replay) -> None:
        """Add a run, on the disk when this returns.

        Raises:
            OSError: it cannot be written.
        """
        self._runs[method, seed] = run
        with locked(self._path):
            add_line(self._path, {"method": method, "seed": seed, "run": run.to_json()})
