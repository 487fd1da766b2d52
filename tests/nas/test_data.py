import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from nas import phantom
from nas.data import DataSpec, Prepared, open_data, open_test, prepare
from nas.findings import BadData
from primitives.core.errors import InvalidInput

CPU = torch.device("cpu")


def write(folder, stem, image, mask):
    for name, pixels in (("images", image), ("masks", mask)):
        (folder / name).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / name / f"{stem}.png")


def picture(seed, height=40, width=50, labels=(0, 255)):
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (height, width), dtype=np.uint8)
    mask = np.full((height, width), labels[0], np.uint8)
    for k, label in enumerate(labels[1:]):
        mask[4 + 10 * k : 14 + 10 * k, 5:35] = label
    return image, mask


@pytest.fixture
def folder(tmp_path):
    for k in range(20):
        write(tmp_path / "set", f"a{k:02}", *picture(k))
    return tmp_path / "set"


@pytest.fixture
def store(tmp_path):
    return tmp_path / "store" / "cache"


def spec(folder, **changes):
    return DataSpec(**{"source": str(folder), "size": 32, **changes})


def test_a_folder_becomes_tensors_of_the_network_size(folder, store):
    prepared = prepare(spec(folder), store, seed=0)
    data = open_data(prepared, CPU)
    assert [len(prepared.split[part]) for part in ("train", "val", "test")] == [14, 3, 3]
    assert (prepared.in_channels, prepared.classes, prepared.deep) == (1, 1, False)
    assert data.train.images.shape == (14, 1, 32, 32)
    assert data.train.images.dtype == torch.uint8
    assert data.val.masks.shape == (3, 32, 32)
    assert set(data.val.masks.unique().tolist()) == {0, 1}
    assert data.train.stems == prepared.split["train"]


def test_pixels_of_the_right_size_pass_unchanged(tmp_path, store):
    pictures = {f"a{k:02}": picture(k, 32, 32) for k in range(12)}
    for stem, (image, mask) in pictures.items():
        write(tmp_path, stem, image, mask)
    data = open_data(prepare(spec(tmp_path), store, seed=0), CPU)
    for part in (data.train, data.val):
        for stem, image, mask in zip(part.stems, part.images, part.masks, strict=True):
            np.testing.assert_array_equal(image[0], pictures[stem][0])
            np.testing.assert_array_equal(mask * 255, pictures[stem][1])


def test_mean_and_deviation_are_those_of_the_train_pixels(folder, store):
    prepared = prepare(spec(folder, fit="crop"), store, seed=0)
    images = [picture(int(stem[1:]))[0] / 255 for stem in prepared.split["train"]]
    assert prepared.mean == pytest.approx([np.mean(images)])
    assert prepared.std == pytest.approx([np.std(images)])


def test_prepared_survives_json(folder, store):
    prepared = prepare(spec(folder), store, seed=0)
    assert Prepared.from_json(json.loads(json.dumps(prepared.to_json()))) == prepared


def test_the_test_part_is_neither_cached_nor_opened_again(folder, store):
    prepared = prepare(spec(folder), store, seed=0)
    assert not set(prepared.split["test"]) & {
        *open_data(prepared, CPU).train.stems,
        *open_data(prepared, CPU).val.stems,
    }
    for stem in prepared.split["test"]:
        for kind in ("images", "masks"):
            (folder / kind / f"{stem}.png").unlink()
    Path(prepared.cache).unlink()
    again = prepare(spec(folder), store, seed=7, split=prepared.split)
    assert again == prepared
    assert open_data(again, CPU).train.images.shape == (14, 1, 32, 32)


def test_the_test_part_is_encoded_like_the_others(folder, store):
    split = {"train": [f"a{k:02}" for k in range(10)], "val": ["a10", "a11"], "test": ["a12"]}
    (folder / "splits.json").write_text(json.dumps(split))
    prepared = prepare(spec(folder), store, seed=0)
    moved = {**split, "val": ["a10", "a12"], "test": ["a11"]}
    (folder / "splits.json").write_text(json.dumps(moved))
    other = open_data(prepare(spec(folder), store, seed=0), CPU)
    test = open_test(spec(folder), prepared, CPU)
    assert test.stems == ("a12",)
    assert torch.equal(test.images[0], other.val.images[1])
    assert torch.equal(test.masks[0], other.val.masks[1])


def test_a_second_call_reads_the_cache_and_decodes_nothing(folder, store, monkeypatch):
    prepared = prepare(spec(folder), store, seed=0)
    monkeypatch.setattr("nas.data.read_samples", None)
    monkeypatch.setattr("nas.folder.decode_image", None)
    assert prepare(spec(folder), store, seed=0, split=prepared.split) == prepared


def test_a_damaged_cache_is_built_again(folder, store):
    prepared = prepare(spec(folder), store, seed=0)
    path = Path(prepared.cache)
    whole = path.read_bytes()
    for damage in (whole[:-100], b"", whole[:-1] + bytes([whole[-1] ^ 1])):
        path.write_bytes(damage)
        assert prepare(spec(folder), store, seed=0, split=prepared.split) == prepared
        assert path.read_bytes() == whole
    assert [p.name for p in store.iterdir()] == [path.name]


def test_opening_a_missing_cache_is_one_clear_line(folder, store):
    prepared = prepare(spec(folder), store, seed=0)
    Path(prepared.cache).unlink()
    with pytest.raises(
        InvalidInput, match=r"cache must be readable, got .* prepare the data again"
    ):
        open_data(prepared, CPU)


def test_the_fingerprint_follows_pixels_encoding_and_split_but_not_the_test_part(folder, store):
    first = prepare(spec(folder), store, seed=0)
    assert len(first.fingerprint) == 12
    assert prepare(spec(folder), store, seed=0).fingerprint == first.fingerprint
    others = [
        prepare(spec(folder, size=64), store, seed=0),
        prepare(spec(folder, fit="crop"), store, seed=0),
        prepare(spec(folder, invert_masks=True), store, seed=0),
        prepare(spec(folder), store, seed=1),
    ]
    assert len({first.fingerprint, *(other.fingerprint for other in others)}) == 5
    write(folder, first.split["test"][0], *picture(99))
    assert prepare(spec(folder), store, seed=0).fingerprint == first.fingerprint
    write(folder, first.split["val"][0], *picture(98))
    assert prepare(spec(folder), store, seed=0).fingerprint != first.fingerprint


def test_bad_files_are_refused_or_left_out_by_name(folder, store):
    (folder / "masks" / "a03.png").unlink()
    (folder / "images" / "a05.png").write_bytes(b"broken")
    with pytest.raises(BadData) as caught:
        prepare(spec(folder), store, seed=0)
    assert [line.split(":")[0] for line in caught.value.lines] == [
        "images/a03.png",
        "images/a05.png",
    ]
    prepared = prepare(spec(folder, skip_bad=True), store, seed=0)
    assert prepared.skipped == caught.value.lines
    assert sum(map(len, prepared.split.values())) == 18
    assert not {"a03", "a05"} & {stem for part in prepared.split.values() for stem in part}


def test_a_stored_split_needs_its_files(folder, store):
    prepared = prepare(spec(folder), store, seed=0)
    (folder / "images" / f"{prepared.split['val'][0]}.png").unlink()
    with pytest.raises(BadData, match="the stored split needs them"):
        prepare(spec(folder), store, seed=0, split=prepared.split)


def test_inverted_masks_swap_foreground_and_background(folder, store):
    plain = prepare(spec(folder, fit="crop"), store, seed=0)
    inverse = prepare(spec(folder, fit="crop", invert_masks=True), store, seed=0)
    assert torch.equal(open_data(plain, CPU).train.masks, 1 - open_data(inverse, CPU).train.masks)


def test_label_values_become_classes_and_cannot_be_inverted(tmp_path, store):
    for k in range(12):
        write(tmp_path, f"a{k:02}", *picture(k, labels=(0, 1, 2, 3)))
    prepared = prepare(spec(tmp_path), store, seed=0)
    assert prepared.classes == 4
    assert open_data(prepared, CPU).val.masks.unique().tolist() == [0, 1, 2, 3]
    with pytest.raises(InvalidInput, match="--invert-masks needs masks with 2 labels, got 4"):
        prepare(spec(tmp_path, invert_masks=True), store, seed=0)


def test_a_label_missing_in_train_is_refused(tmp_path, store):
    for k in range(12):
        write(tmp_path, f"a{k:02}", *picture(k, labels=(0, 1, 2) if k > 9 else (0, 1)))
    split = {"train": [f"a{k:02}" for k in range(10)], "val": ["a10", "a11"]}
    (tmp_path / "splits.json").write_text(json.dumps(split))
    with pytest.raises(InvalidInput, match=r"labels must all be in train.* too few of 2;"):
        prepare(spec(tmp_path), store, seed=0)


def test_one_colour_image_makes_the_set_colour(tmp_path, store):
    for k in range(12):
        image, mask = picture(k, 32, 32)
        if k == 0:
            image = np.dstack((image, image // 2, image // 3))
        write(tmp_path, f"a{k:02}", image, mask)
    stems = [f"a{k:02}" for k in range(12)]
    (tmp_path / "splits.json").write_text(json.dumps({"train": stems[:9], "val": stems[9:]}))
    prepared = prepare(spec(tmp_path), store, seed=0)
    images = open_data(prepared, CPU).train.images
    assert prepared.in_channels == len(prepared.mean) == 3
    assert torch.equal(images[1, 0], images[1, 2])
    assert not torch.equal(images[0, 0], images[0, 2])
    swapped = {"train": stems[1:9], "val": stems[9:], "test": stems[:1]}
    (tmp_path / "splits.json").write_text(json.dumps(swapped))
    with pytest.raises(InvalidInput, match=r"test must be grey like train and val.* a00"):
        prepare(spec(tmp_path), store, seed=0)


def test_16_bit_images_keep_their_fine_steps(tmp_path, store):
    for k in range(12):
        image, mask = picture(k, 32, 32)
        write(tmp_path, f"a{k:02}", image.astype(np.uint16), mask)  # 8 of 16 bits are used
    prepared = prepare(spec(tmp_path), store, seed=0)
    samples = open_data(prepared, CPU).train
    first = picture(int(samples.stems[0][1:]), 32, 32)[0]
    assert prepared.deep
    np.testing.assert_allclose(samples.images[0, 0], first / 65535, rtol=1e-6)
    assert torch.equal(samples.pixels(slice(0, 1)), samples.images[:1])


def test_crops_keep_whole_pictures_in_a_common_frame(tmp_path, store):
    sizes = {f"a{k:02}": (20 + 5 * k, 70 - 3 * k) for k in range(12)}
    for k, (stem, size) in enumerate(sizes.items()):
        write(tmp_path, stem, *picture(k, *size))
    data = open_data(prepare(spec(tmp_path, fit="crop"), store, seed=0), CPU)
    for part in (data.train, data.val):
        for k, stem in enumerate(part.stems):
            height, width = sizes[stem]
            image, mask = picture(int(stem[1:]), height, width)
            assert (int(part.heights[k]), int(part.widths[k])) == (height, width)
            np.testing.assert_array_equal(part.images[k, 0, :height, :width], image)
            np.testing.assert_array_equal(part.masks[k, :height, :width] * 255, mask)
            if height < 32:
                mirrored = image[height - 2 : height - 2 - (32 - height) : -1]
                np.testing.assert_array_equal(part.images[k, 0, height:32, :width], mirrored)


def test_phantom_has_a_fixed_split_and_its_own_pixels(store):
    spec_ = DataSpec("phantom", 32)
    prepared = prepare(spec_, store, seed=0)
    data = open_data(prepared, CPU)
    images, masks = phantom.phantom(phantom.TRAIN + phantom.VAL + 1, 32)
    assert torch.equal(data.train.images[:, 0], torch.from_numpy(images[: phantom.TRAIN]))
    assert torch.equal(data.val.masks, torch.from_numpy(masks[phantom.TRAIN : -1]))
    assert torch.equal(open_test(spec_, prepared, CPU).images[0, 0], torch.from_numpy(images[-1]))
    assert prepare(spec_, store, seed=5, split=prepared.split) == prepared
    with pytest.raises(InvalidInput, match="phantom has one split"):
        prepare(spec_, store, seed=0, split={"train": ["phantom-000"], "val": ["phantom-001"]})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"size": 16}, "size must be at least 32 pixels, got 16"),
        ({"fit": "pad"}, "fit must be one of resize, crop, got 'pad'"),
        ({"source": "somewhere"}, "must be 'phantom' or a full path, got 'somewhere'"),
        ({"fit": "crop"}, "nothing to crop"),
        ({"invert_masks": True}, "drop --invert-masks"),
    ],
)
def test_choices_that_make_no_sense_are_refused(changes, words):
    with pytest.raises(InvalidInput, match=words):
        DataSpec(**{"source": "phantom", "size": 64, **changes})
