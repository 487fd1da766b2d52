"""The file of trained networks: what a killed writer leaves, and what is refused."""

from dataclasses import replace
from pathlib import Path

import pytest

from nas.trained_table import Entry, Plan, add_entry, begin_table, read_table
from primitives.core.errors import InvalidInput

PLAN = Plan(
    space="ultralight",
    most_params=500_000,
    data="cells",
    fingerprint="0123456789ab",
    images=(100, 20),
    channels=(1, 1),
    size=64,
    recipe=("brief", 1),
    epochs=9,
    steps=180,
    rungs=(1, 3),
)
ENTRY = Entry(
    net=0,
    seed=1,
    origin="spread",
    key="abc",
    point={"width": 8},
    params=9000,
    macs=1000,
    dice=0.7,
    losses=[1.2, 0.8],
    curve=[[1.0, 1.1, 0.5]],
    seconds=3.0,
)


def test_a_table_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "new" / "table.jsonl"
    assert begin_table(path, PLAN) == []
    add_entry(path, ENTRY)
    assert read_table(path) == (PLAN, [ENTRY])
    assert begin_table(path, PLAN) == [ENTRY]


def test_a_line_that_a_killed_writer_began_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "table.jsonl"
    begin_table(path, PLAN)
    add_entry(path, ENTRY)
    whole = path.read_bytes()
    path.write_bytes(whole + whole.splitlines()[1][:30])
    assert read_table(path) == (PLAN, [ENTRY])
    assert begin_table(path, PLAN) == [ENTRY]
    assert path.read_bytes() == whole
    add_entry(path, replace(ENTRY, seed=2))
    assert [entry.seed for entry in read_table(path)[1]] == [1, 2]


def test_another_plan_is_refused_with_what_differs(tmp_path: Path) -> None:
    path = tmp_path / "table.jsonl"
    begin_table(path, PLAN)
    with pytest.raises(InvalidInput, match="was made with epochs=9, got epochs=18; name another"):
        begin_table(path, replace(PLAN, epochs=18))
    limited = tmp_path / "limited.jsonl"
    begin_table(limited, replace(PLAN, most_macs=7))
    with pytest.raises(InvalidInput, match="made with most_macs=7, got most_macs=None; name"):
        begin_table(limited, PLAN)


def test_a_plan_without_a_limit_is_written_as_before_there_was_one(tmp_path: Path) -> None:
    path = tmp_path / "table.jsonl"
    begin_table(path, PLAN)
    assert "most_macs" not in path.read_text()
    begin_table(tmp_path / "limited.jsonl", limited := replace(PLAN, most_macs=10**8))
    assert read_table(tmp_path / "limited.jsonl") == (limited, [])


def test_a_plan_allows_what_keeps_both_limits() -> None:
    assert PLAN.allows(500_000, 1e12)
    assert not PLAN.allows(500_001, 1)
    limited = replace(PLAN, most_macs=10**8)
    assert limited.allows(500_000, 1e8)
    assert not limited.allows(500_000, 1e8 + 1)
    assert not limited.allows(500_001, 1e8)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("no JSON\n", "must be a file of `nas bench table`"),
        ("[]\n", "must be a file of `nas bench table`"),
        ("", "must be a file of `nas bench table`"),
        ('{"version": 7}\n', "must be of version 1, got 7"),
        ('{"version": 1, "colour": 3}\n', "must be a file of `nas bench table`"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "table.jsonl"
    path.write_text(text)
    with pytest.raises(InvalidInput, match=message):
        read_table(path)
    with pytest.raises(InvalidInput, match="cannot be read: no such file"):
        read_table(tmp_path / "absent")
