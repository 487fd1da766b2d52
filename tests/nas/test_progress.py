"""What is told of long work where nobody watches a terminal."""

import pytest

from nas import progress
from nas.progress import TerminalWatcher


def test_a_log_gets_a_line_a_minute(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    with TerminalWatcher() as watcher:
        for done in range(1, 7):
            now[0] = 25.0 * done
            watcher.preparing("trainings", done, 9)
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("trainings ")]
    assert told[:2] == ["trainings 3/9", "trainings 6/9"]
    (bar,) = told[2:]
    assert " 6/9 " in bar
