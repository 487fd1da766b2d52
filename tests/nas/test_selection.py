import json

import numpy as np
import pytest
import torch
from PIL import Image

from nas.data import DataSpec, open_test, prepare
from primitives.core.errors import InvalidInput

CPU = torch.device("cpu")


def spec(folder, **changes):
    return DataSpec(**{"source": str(folder), "size": 32, **changes})


@pytest.fixture
def folder(tmp_path):
    mask = np.zeros((32, 32), np.uint8)
    mask[8:20, 8:20] = 255
    for k in range(20):
        image = np.random.default_rng(k).integers(0, 256, (32, 32), dtype=np.uint8)
        for name, pixels in (("images", image), ("masks", mask)):
            (tmp_path / "set" / name).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(tmp_path / "set" / name / f"a{k:02}.png")
    return tmp_path / "set"


@pytest.fixture
def store(tmp_path):
    return tmp_path / "cache"


def test_fewer_than_ten_pairs_are_refused(folder, store):
    for k in range(9, 20):
        for kind in ("images", "masks"):
            (folder / kind / f"a{k:02}.png").unlink()
    with pytest.raises(InvalidInput, match="at least 10 usable pairs, got 9"):
        prepare(spec(folder), store, seed=0)


def test_groups_stay_in_one_part(folder, store):
    rows = "".join(f"a{k:02},p{k // 2}\n" for k in range(20))
    (folder / "groups.csv").write_text("stem,group\n" + rows)
    split = prepare(spec(folder), store, seed=0).split
    groups = [{int(stem[1:]) // 2 for stem in stems} for stems in split.values()]
    assert sum(map(len, groups)) == 10


def test_bad_files_need_no_group_and_may_stay_in_splits_json(folder, store):
    rows = "".join(f"a{k:02},p{k}\n" for k in range(1, 20))
    (folder / "groups.csv").write_text("stem,group\n" + rows)
    stems = [f"a{k:02}" for k in range(20)]
    (folder / "splits.json").write_text(json.dumps({"train": stems[:15], "val": stems[15:]}))
    (folder / "images" / "a00.png").write_bytes(b"broken")
    split = prepare(spec(folder, skip_bad=True), store, seed=0).split
    assert split == {"train": tuple(stems[1:15]), "val": tuple(stems[15:]), "test": ()}


def test_images_in_no_part_of_splits_json_are_reported(folder, store):
    split = {"train": [f"a{k:02}" for k in range(15)], "val": ["a15", "a16", "a17", "a18"]}
    (folder / "splits.json").write_text(json.dumps(split))
    prepared = prepare(spec(folder), store, seed=0)
    assert prepared.skipped == ("a19: in no part of splits.json",)
    assert prepared.split["test"] == ()
    with pytest.raises(InvalidInput, match="test must hold at least 1 image"):
        open_test(spec(folder), prepared, CPU)


def test_a_group_in_two_parts_of_splits_json_is_refused(folder, store):
    rows = "".join(f"a{k:02},p{k // 2}\n" for k in range(20))
    (folder / "groups.csv").write_text("stem,group\n" + rows)
    (folder / "splits.json").write_text(json.dumps({"train": ["a00"], "val": ["a01"]}))
    with pytest.raises(InvalidInput, match="groups in two parts: p0"):
        prepare(spec(folder), store, seed=0)
