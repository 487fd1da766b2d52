"""Runs of a comparison in a file, so that one which was killed, or has more of them, goes on.

Two revisions of a method are not told apart: a run that was kept counts as what it is called. What
it found is kept beside it, so that its shares are of the best that is known when it is read.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nas.bench.judge import Replay
from nas.json_lines import add_line, begin_lines, locked, not_of

VERSION = 2
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
                (line["method"], line["seed"]): (Replay.from_json(line["run"]), float(line["best"]))
                for line in lines
            }
        except (KeyError, TypeError):
            raise not_of(path, _COMMAND) from None

    def find(self, method: str, seed: int, best: float) -> Replay | None:
        """Return a run in shares of a hypervolume, None where it is not in the file."""
        if (method, seed) not in self._runs:
            return None
        run, once = self._runs[method, seed]
        return run.scaled(once / best)

    def add(self, method: str, seed: int, run: Replay, best: float) -> None:
        """Add a run in shares of a hypervolume, on the disk when this returns.

        Raises:
            OSError: it cannot be written.
        """
        self._runs[method, seed] = run, best
        line = {"method": method, "seed": seed, "best": best, "run": run.to_json()}
        with locked(self._path):
            add_line(self._path, line)
