"""Files of calibrations, and which one a search takes."""

import json
import os
from functools import cache
from pathlib import Path

import pytest

from nas.latency.calibration import (
    Calibration,
    find_calibration,
    kept_calibration,
    read_calibration,
)
from primitives.core.errors import InvalidInput
from tests.nas.devices import RIG, SIZE, affine, recording, wanted


@cache
def made(networks: int = 7) -> Calibration:
    return Calibration.of(recording(wanted("ultralight", networks, 3), affine))


def test_a_file_survives_and_has_one_key(tmp_path: Path) -> None:
    made().write(tmp_path / "a.json")
    again = read_calibration(tmp_path / "a.json")
    assert again.key == made().key
    assert again.model.to_json() == made().model.to_json()
    assert made(8).key != made().key


def test_a_file_of_a_device_without_this_project_is_fitted_when_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "device.json"
    path.write_text(json.dumps({"version": 1, "recording": made().recording}))
    found = read_calibration(path)
    assert found.key == made().key
    assert found.model.accuracy == made().model.accuracy


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "must be a file of `nas latency record`, it is not; record it anew"),
        ("[]", "must be a file of `nas latency record`, it is not; record it anew"),
        ('{"version": 1}', "must be a file of `nas latency record`, it is not; record it anew"),
        ('{"version": 2}', "must be of version 1, got 2; record it anew"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(InvalidInput, match=r"x\.json") as caught:
        read_calibration(tmp_path / "x.json")
    assert said in str(caught.value)


def test_a_search_finds_the_newest_of_its_rig_size_and_space(tmp_path: Path) -> None:
    rig = made().rig
    assert find_calibration(tmp_path, rig, SIZE, "ultralight") is None
    for age, networks in enumerate((7, 8)):
        path = made(networks).keep(tmp_path)
        os.utime(path, (1000 - age, 1000 - age))
    found = find_calibration(tmp_path, rig, SIZE, "ultralight")
    assert found is not None
    assert found.key == made(7).key
    assert find_calibration(tmp_path, rig, SIZE * 2, "ultralight") is None
    assert find_calibration(tmp_path, rig, SIZE, "unet") is None, "none of its networks were timed"
    assert find_calibration(tmp_path, "f" * 12, SIZE, "ultralight") is None


def test_a_study_gets_back_the_one_that_it_began_with(tmp_path: Path) -> None:
    for networks in (7, 8):
        made(networks).keep(tmp_path)
    assert kept_calibration(tmp_path, made(7).key).key == made(7).key
    with pytest.raises(
        InvalidInput, match=r"calibration 'abc' of the study is gone from .*latency"
    ):
        kept_calibration(tmp_path, "abc")


def test_the_rig_is_the_recorded_one() -> None:
    assert made().model.rig == RIG
