import json

import numpy as np
import pytest
from PIL import Image

from nas.findings import BadData, BadFile
from nas.folder import check_folder
from primitives.core.errors import InvalidInput


def write(folder, stem, *, labels=(0, 255), shape=(24, 32), seed=None, image=True, mask=True):
    """Write one good pair, half background, half the last label."""
    for name in ("images", "masks"):
        (folder / name).mkdir(exist_ok=True, parents=True)
    rng = np.random.default_rng(list(stem.encode()) if seed is None else seed)
    if image:
        pixels = rng.integers(0, 256, shape, dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "images" / f"{stem}.png")
    if mask:
        values = np.resize(np.array(labels, dtype=np.uint8), shape)
        Image.fromarray(values).save(folder / "masks" / f"{stem}.png")


@pytest.fixture
def folder(tmp_path):
    for k in range(12):
        write(tmp_path, f"a{k:02}", seed=k)
    return tmp_path


def only_fault(folder, **options):
    (fault,) = check_folder(folder, **options).bad
    return str(fault)


def test_a_clean_folder_has_no_bad_files_and_its_counts_are_right(folder):
    report = check_folder(folder)
    assert report.bad == ()
    assert report.labels == (0, 255)
    assert [facts.pair.stem for facts in report.pairs] == [f"a{k:02}" for k in range(12)]
    assert report.summary() == {
        "usable": 12,
        "bad": 0,
        "smallest": [24, 32],
        "largest": [24, 32],
        "grey": 12,
        "colour": 0,
        "bits": [8],
        "label_share": {"0": 0.5, "255": 0.5},
    }
    assert json.loads(json.dumps(report.to_json()))["bad_files"] == []


def test_the_report_prints_bad_files_first(folder):
    (folder / "masks" / "a03.png").unlink()
    assert str(check_folder(folder)).splitlines() == [
        "images/a03.png: no mask; add masks/a03.png or remove the image",
        "11 usable pairs, 1 bad files",
        "size: 32x24 to 32x24 pixels, 8 bit",
        "channels: 11 grey, 0 colour",
        "label 0: 50.0% of the pixels",
        "label 255: 50.0% of the pixels",
    ]


def test_a_mask_without_image_is_named(folder):
    (folder / "images" / "a03.png").unlink()
    assert only_fault(folder).startswith("masks/a03.png: no image; add images/a03.png")


def test_a_mask_of_another_size_is_named_with_both_sizes(folder):
    write(folder, "a05", shape=(10, 20), image=False)
    assert only_fault(folder) == ("masks/a05.png: has size 20x10, its image 32x24; make them equal")


def test_an_unreadable_file_is_named(folder):
    (folder / "images" / "a02.png").write_bytes(b"no image")
    assert only_fault(folder).startswith("images/a02.png: is not a readable PNG")


def test_an_empty_mask_is_named(folder):
    write(folder, "a07", labels=(0,), image=False)
    assert only_fault(folder).startswith("masks/a07.png: empty mask;")


def test_after_inversion_the_full_mask_is_the_empty_one(folder):
    write(folder, "a07", labels=(0,), image=False)
    write(folder, "a08", labels=(255,), image=False)
    assert only_fault(folder, invert=True).startswith("masks/a08.png: empty mask;")


def test_a_duplicate_names_the_other_file_whatever_the_format(folder):
    copy = Image.open(folder / "images" / "a01.png")
    copy.save(folder / "images" / "a09.png", compress_level=0)
    assert only_fault(folder) == ("images/a09.png: duplicate of images/a01.png; remove one of them")


def test_two_images_with_one_stem_are_named(folder):
    Image.open(folder / "images" / "a01.png").save(folder / "images" / "a01.bmp")
    assert only_fault(folder).startswith("images/a01.png: has the stem of images/a01.bmp")


def test_strangers_are_named_and_hidden_files_ignored(folder):
    (folder / "images" / "notes.txt").write_text("x")
    (folder / "images" / ".hidden").write_text("x")
    (folder / "masks" / "Thumbs.db").write_text("x")
    assert only_fault(folder).startswith("images/notes.txt: is no PNG, JPEG, TIFF or BMP")


@pytest.mark.parametrize(
    ("usual", "odd", "words"),
    [
        ((0, 255), (0, 1), "unexpected labels 1; the set has 0 and 255"),
        ((0, 1), (0, 255), "unexpected labels 255; the set has 0 and 1"),
        ((0, 1), (0, 2), "unexpected labels 2; the set has 0 and 1"),
        ((0, 1, 2, 3), (0, 5, 7), "unexpected labels 5, 7; the set has 0 to 3"),
        ((0, 1, 2), (0, 128, 255), "unexpected labels 128, 255; the set has 0 to 2"),
    ],
)
def test_a_mask_with_other_labels_than_the_majority_is_named(tmp_path, usual, odd, words):
    for k in range(12):
        write(tmp_path, f"a{k:02}", labels=odd if k == 4 else usual)
    assert only_fault(tmp_path) == f"masks/a04.png: {words}"


def test_a_rare_label_in_two_masks_is_a_class(tmp_path):
    for k in range(12):
        write(tmp_path, f"a{k:02}", labels=(0, 1, 2) if k < 2 else (0, 1))
    report = check_folder(tmp_path)
    assert report.labels == (0, 1, 2)
    assert report.bad == ()


def test_grey_values_of_jpeg_masks_are_refused_with_the_cause(folder):
    path = folder / "masks" / "a00.png"
    Image.open(path).save(path.with_suffix(".jpg"), quality=60)
    path.unlink()
    assert only_fault(folder).endswith("the set has 0 and 255, store masks without loss as PNG")


def test_only_named_stems_are_opened(folder):
    (folder / "images" / "a02.png").write_bytes(b"no image")
    report = check_folder(folder, only={"a00", "a01"})
    assert report.bad == ()
    assert len(report.pairs) == 2
    assert only_fault(folder, only={"a00", "zz"}) == "images/zz: is gone; put it back"


def test_a_folder_without_masks_is_refused(tmp_path):
    (tmp_path / "images").mkdir()
    with pytest.raises(InvalidInput, match="has no masks"):
        check_folder(tmp_path)
    with pytest.raises(InvalidInput, match="has no images"):
        check_folder(tmp_path / "missing")


def test_bad_data_counts_and_lists_its_files():
    error = BadData([BadFile("images/a.png", "x"), BadFile("masks/b.png", "y")])
    assert error.lines == ("images/a.png: x", "masks/b.png: y")
    assert str(error).splitlines()[0].startswith("data must be free of bad files, got 2")
    assert "--skip-bad" in str(error).splitlines()[0]
    assert str(error).splitlines()[1:] == list(error.lines)


def test_progress_counts_every_pair(folder):
    calls = []
    check_folder(folder, progress=lambda *call: calls.append(call))
    assert calls == [("checking", k, 12) for k in range(1, 13)]
