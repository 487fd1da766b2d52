import json

import pytest

from nas.splits import check_groups, check_split, read_groups, read_split, split_groups
from primitives.core.errors import InvalidInput

STEMS = [f"s{k:03}" for k in range(200)]
ALONE = {stem: stem for stem in STEMS}


def test_single_images_are_dealt_70_15_15_without_overlap():
    split = split_groups(ALONE, seed=0)
    assert [len(split[part]) for part in ("train", "val", "test")] == [140, 30, 30]
    assert sorted(stem for part in split.values() for stem in part) == STEMS


def test_the_seed_decides_the_split_and_the_order_of_the_files_does_not():
    backwards = dict(reversed(ALONE.items()))
    assert split_groups(ALONE, 3) == split_groups(backwards, 3)
    assert split_groups(ALONE, 3) != split_groups(ALONE, 4)


def test_groups_stay_whole_and_sizes_stay_near_the_shares():
    groups = {stem: f"patient{int(stem[1:]) // 4}" for stem in STEMS}
    split = split_groups(groups, seed=1)
    parts = [{groups[stem] for stem in stems} for stems in split.values()]
    assert not (parts[0] & parts[1] | parts[0] & parts[2] | parts[1] & parts[2])
    for part, size in (("train", 140), ("val", 30), ("test", 30)):
        assert abs(len(split[part]) - size) <= 4


def test_one_huge_group_leaves_something_for_every_part():
    groups = {stem: "big" if k < 190 else f"small{k % 2}" for k, stem in enumerate(STEMS)}
    split = split_groups(groups, seed=0)
    assert sorted(map(len, split.values())) == [5, 5, 190]
    assert len(split["train"]) == 190


def test_two_groups_are_too_few():
    with pytest.raises(InvalidInput, match=r"at least 3 .* got 2"):
        split_groups({stem: "odd" if int(stem[1:]) % 2 else "even" for stem in STEMS}, seed=0)


def test_groups_are_read_from_the_file_or_are_the_stems(tmp_path):
    path = tmp_path / "groups.csv"
    assert read_groups(path, ["a", "b", "bad"], ["a", "b"]) == {"a": "a", "b": "b"}
    path.write_text("stem,group\na, p1\nb,p1\n")
    assert read_groups(path, ["a", "b", "bad"], ["a", "b"]) == {"a": "p1", "b": "p1"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a,p1\nb,p2\n", "under the header stem,group"),
        ("stem,group\na,p1,x\nb,p1\n", "two columns"),
        ("stem,group\na,p1\nb,p1\nghost,p1\n", "unknown images: ghost"),
        ("stem,group\na,p1\nb,p1\na,p2\n", "twice: a"),
        ("stem,group\na,p1\n", "misses: b"),
        ("", "header"),
    ],
)
def test_wrong_group_files_are_refused_with_names(tmp_path, text, words):
    path = tmp_path / "groups.csv"
    path.write_text(text)
    with pytest.raises(InvalidInput, match=words):
        read_groups(path, ["a", "b"], ["a", "b"])


def test_a_group_file_in_another_encoding_is_refused(tmp_path):
    path = tmp_path / "groups.csv"
    path.write_bytes("stem,group\na,Jörg\n".encode("latin-1"))
    with pytest.raises(InvalidInput, match="must be CSV in UTF-8"):
        read_groups(path, ["a"], ["a"])


def test_splits_are_read_with_an_empty_test_part_by_default(tmp_path):
    path = tmp_path / "splits.json"
    path.write_text(json.dumps({"train": ["b", "a"], "val": ["c"]}))
    assert read_split(path, ["a", "b", "c"]) == {"train": ("b", "a"), "val": ("c",), "test": ()}


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"train": ["a"], "val": ["a"]}, "twice: a"),
        ({"train": ["a"], "val": ["ghost"]}, "unknown images: ghost"),
        ({"train": ["a"]}, "at least 1 image in val"),
        ({"train": ["a"], "val": []}, "at least 1 image in val"),
        ({"train": ["a"], "valid": ["b"]}, "must map train, val and test"),
        ({"train": "a", "val": ["b"]}, "lists of stems"),
        (["a"], "lists of stems"),
    ],
)
def test_wrong_splits_are_refused_with_names(tmp_path, data, words):
    path = tmp_path / "splits.json"
    path.write_text(json.dumps(data))
    with pytest.raises(InvalidInput, match=words):
        read_split(path, ["a", "b"])


def test_a_split_file_that_is_no_json_is_refused(tmp_path):
    (tmp_path / "splits.json").write_text("{train")
    with pytest.raises(InvalidInput, match="must be JSON"):
        read_split(tmp_path / "splits.json", ["a"])


def test_many_names_are_cut_short():
    with pytest.raises(InvalidInput, match=r"x0, x1, x2, x3, x4 and 4 more$"):
        check_split({"train": [f"x{k}" for k in range(9)], "val": ["a"]}, ["a"], "split")


def test_a_group_in_two_parts_is_named():
    split = {"train": ("a",), "val": ("b",), "test": ()}
    check_groups(split, {"a": "p1", "b": "p2"}, "splits.json")
    with pytest.raises(InvalidInput, match="groups in two parts: p1"):
        check_groups(split, {"a": "p1", "b": "p1"}, "splits.json")
