"""The comparison of inherited and scratch trainings, on real ones."""

from pathlib import Path

import pytest

from nas.bench.inheritance import CHANGES
from tests.commands import run_json


@pytest.mark.slow
def test_children_are_trained_from_scratch_and_inherited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nas.phantom.TRAIN", 16)
    monkeypatch.setattr("nas.recipes._MIN_STEPS", 2)  # an epoch, in place of twenty
    command = f"bench inherit --size 32 --epochs 2 --folder {tmp_path}"
    found = run_json(command)
    rows = found["children"]
    assert [row["change"] for row in rows] == list(CHANGES)
    assert 0 <= found["parent"] < 1  # so short a plan may find nothing
    for row in rows:
        assert 0.3 < row["share"] < 1  # one change leaves most of a network
        assert all(0 <= row[plan] <= 1 for plan in ("full", "short", "inherited"))
        scratch, inherited = row["epochs"]
        assert scratch in {1, 2}  # the best epoch is within .005 of itself
        assert inherited in {1, None}  # the short plan has one epoch
    assert run_json(command) == found  # from what the folder holds
