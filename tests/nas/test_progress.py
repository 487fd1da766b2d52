"""What is told of long work where nobody watches a terminal."""

import pytest

from nas import progress
from nas.progress import TerminalWatcher


@pytest.mark.parametrize(("total", "told"), [(9, ["3/9", "6/9"]), (0, ["3", "6"])])
def test_a_log_gets_a_line_a_minute(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    total: int,
    told: list[str],
) -> None:
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    with TerminalWatcher() as watcher:
        for done in range(1, 7):
            now[0] = 25.0 * done
            watcher.preparing("trainings", done, total)
    lines = capsys.readouterr().err.splitlines()
    assert [line for line in lines if "━" not in line] == [f"trainings {part}" for part in told]
    assert "6/" in lines[-1], "the bar as it was in the end"
