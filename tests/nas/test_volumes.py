import json

import nibabel
import numpy as np
import pytest
import torch

from nas.data import DataSpec, open_data, open_test, prepare
from nas.findings import Facts, Pair
from nas.folder import check_folder
from nas.volumes import (
    common_spacing,
    decode_volume,
    encode,
    holds_volumes,
    median_sides,
    stem_of,
)
from primitives.core.errors import InvalidInput
from tests.nas.niftis import AFFINE, SHAPE, ball, write_nifti, write_pair, write_volumes


@pytest.fixture
def folder(tmp_path):
    return write_volumes(tmp_path / "set", 5)


def pair_of(folder, stem):
    name = f"{stem}.nii.gz"
    return Pair(stem, folder / "images" / name, folder / "masks" / name)


def only_fault(folder):
    (fault,) = check_folder(folder).bad
    return str(fault)


def test_orientation_becomes_ras_and_spacing_is_that_of_the_affine(tmp_path):
    values = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    # First axis from front to back with 2 mm, second from right to left with 0.5, third up with 3.
    affine = np.array([[0, -0.5, 0, 9], [-2, 0, 0, 9], [0, 0, 3, 9], [0, 0, 0, 1.0]])
    write_nifti(tmp_path / "x.nii.gz", values, affine)
    volume, spacing = decode_volume(tmp_path / "x.nii.gz")
    assert spacing == pytest.approx((0.5, 2, 3))
    assert spacing == pytest.approx(nibabel.affines.voxel_sizes(affine)[[1, 0, 2]])
    assert volume.tolist() == values.transpose(1, 0, 2)[::-1, ::-1].tolist()


def test_a_stem_loses_both_parts_of_the_suffix(folder):
    assert stem_of(folder / "images" / "v01.nii.gz") == "v01"
    assert stem_of(folder / "v.01.nii") == "v.01"
    assert stem_of(folder / "v.01.png") == "v.01"


def test_volumes_are_told_from_images_by_most_names(folder):
    assert holds_volumes(folder)
    (folder / "images" / "x.png").touch()
    assert holds_volumes(folder)
    assert not holds_volumes(folder / "nowhere")
    assert median_sides(folder) == SHAPE


def test_a_clean_folder_tells_sides_spacing_and_shares(folder):
    report = check_folder(folder)
    voxels = np.prod(SHAPE)
    assert report.bad == ()
    assert report.labels == (0, 1, 2)
    assert report.stems == {f"v{k:02}" for k in range(5)}
    assert report.summary()["smallest"] == list(SHAPE)
    assert report.summary()["label_share"]["1"] == pytest.approx((ball() == 1).sum() / voxels)
    assert (
        str(report).splitlines()[1]
        == "size: 20x24x18 to 20x24x18 voxels, spacing 1x1x1 to 1x1x1 mm"
    )
    assert json.loads(json.dumps(report.to_json()))["warnings"] == []


def test_every_fault_is_named_with_its_file(folder):
    images, masks = folder / "images", folder / "masks"
    noise = np.random.default_rng(5).normal(size=SHAPE).astype("f4")
    hole = noise.copy()
    hole[0, 0, :3] = np.nan
    whole = (images / "v00.nii.gz").read_bytes()
    far = AFFINE.copy()
    far[0, 3] = 4
    for stem in ("nan", "other", "half", "four", "short", "text", "blank", "far"):
        write_pair(folder, stem)
    write_nifti(images / "nan.nii.gz", hole)
    write_nifti(masks / "other.nii.gz", np.full(SHAPE, 9, np.uint8))
    write_nifti(masks / "half.nii.gz", np.full(SHAPE, 0.5, np.float32))
    write_nifti(images / "four.nii.gz", np.stack([noise, noise], -1))
    write_nifti(masks / "short.nii.gz", ball()[:, :, :9].copy())
    write_nifti(images / "blank.nii.gz", np.full(SHAPE, 7, np.float32))
    write_nifti(masks / "far.nii.gz", ball(), far)
    (images / "text.nii.gz").write_bytes(b"no volume")
    (images / "cut.nii.gz").write_bytes(whole[: len(whole) // 2])
    write_nifti(masks / "cut.nii.gz", ball())
    write_nifti(images / "lone.nii.gz", noise)
    write_nifti(masks / "v01.nii", ball())
    (images / "x.png").touch()
    found = [str(fault) for fault in check_folder(folder).bad]
    starts = [
        "images/blank.nii.gz: is blank",
        "images/cut.nii.gz: unreadable (",
        "images/four.nii.gz: has 4 axes (20x24x18x2); store one volume of 3 axes per file",
        "images/lone.nii.gz: no mask; add masks/lone.nii.gz or remove the image",
        "images/nan.nii.gz: holds 3 voxels without a finite value; mend it",
        "images/text.nii.gz: ",
        "images/x.png: is no NIfTI volume (.nii.gz or .nii); convert or remove it",
        "masks/far.nii.gz: lies 4 voxels away from its image",
        "masks/half.nii.gz: has values that are no labels",
        "masks/other.nii.gz: unexpected labels 9; the set has 0 to 2",
        "masks/short.nii.gz: has 20x24x9 voxels, its image 20x24x18; make them equal",
        "masks/v01.nii.gz: has the stem of masks/v01.nii; rename or remove one",
    ]
    assert len(found) == len(starts)
    for line, start in zip(found, starts, strict=True):
        assert line.startswith(start)


def test_an_empty_mask_is_a_warning_and_the_pair_stays(folder):
    write_pair(folder, "empty", labels=np.zeros(SHAPE, np.uint8))
    report = check_folder(folder)
    assert report.bad == ()
    assert len(report.pairs) == 6
    (warning,) = [line for line in str(report).splitlines() if "warning" in line]
    assert warning.startswith("warning: masks/empty.nii.gz: empty mask")


def test_a_copy_of_a_volume_is_named(folder):
    (folder / "images" / "v09.nii.gz").write_bytes((folder / "images" / "v02.nii.gz").read_bytes())
    write_nifti(folder / "masks" / "v09.nii.gz", ball())
    assert only_fault(folder).startswith("images/v09.nii.gz: duplicate of images/v02.nii.gz")


def test_a_volume_is_standardised_by_its_own_values_whatever_their_scale(folder):
    one, two = (encode(pair_of(folder, stem), (1, 1, 1), 3, False)[0] for stem in ("v00", "v04"))
    assert one.shape == (1, *SHAPE)
    assert one.mean().item() == pytest.approx(0, abs=1e-4)
    assert one.std().item() == pytest.approx(1, abs=1e-3)
    assert two.mean().item() == pytest.approx(0, abs=1e-4)
    assert two.std().item() == pytest.approx(1, abs=1e-3)


def test_one_voxel_beyond_a_million_changes_next_to_nothing(tmp_path):
    labels = ball()
    write_pair(tmp_path, "a", labels=labels)
    clean = encode(pair_of(tmp_path, "a"), (1, 1, 1), 3, False)[0]
    values = np.asarray(nibabel.load(tmp_path / "images" / "a.nii.gz").dataobj).copy()
    values[0, 0, 0] = 1e7
    write_nifti(tmp_path / "images" / "a.nii.gz", values)
    spoilt = encode(pair_of(tmp_path, "a"), (1, 1, 1), 3, False)[0]
    assert (clean - spoilt).flatten()[1:].abs().max() < 0.05


def test_another_spacing_is_resampled_and_the_ball_keeps_its_size_in_mm(tmp_path):
    write_pair(tmp_path, "a", affine=np.diag([1, 1, 2, 1.0]))
    volume, labels = encode(pair_of(tmp_path, "a"), (1.0, 1.0, 1.0), 3, False)
    assert volume.shape == (1, 20, 24, 36)
    ratio = int((labels > 0).sum()) / int((ball() > 0).sum())
    assert ratio == pytest.approx(2, rel=0.03)
    same, _ = encode(pair_of(tmp_path, "a"), (1.0, 1.0, 2.01), 3, False)
    assert same.shape == (1, *SHAPE)  # within a percent


def test_the_common_spacing_is_the_median_along_each_axis(tmp_path):
    facts = [
        Facts(pair_of(tmp_path, "a"), 1, 1, 1, 32, {}, "", 1, spacing)
        for spacing in ((1, 5, 2), (2, 1, 2), (3, 3, 9))
    ]
    assert common_spacing(facts) == (2, 3, 2)


def test_prepared_volumes_have_frames_of_zeros_and_their_own_sizes(tmp_path):
    folder = write_volumes(tmp_path / "set", 10)
    write_pair(folder, "v03", labels=ball((40, 24, 18)))
    split = {"train": [f"v{k:02}" for k in range(6)], "val": ["v06", "v07"], "test": ["v08", "v09"]}
    (folder / "splits.json").write_text(json.dumps(split))
    spec = DataSpec(str(folder), 32, "crop")
    prepared = prepare(spec, tmp_path / "cache", seed=0)
    assert (prepared.ndim, prepared.classes, prepared.in_channels) == (3, 3, 1)
    assert prepared.spacing == (1, 1, 1)
    assert (prepared.mean, prepared.std) == ((0.0,), (1.0,))
    data = open_data(prepared, torch.device("cpu"))
    assert data.train.images.shape == (6, 1, 40, 32, 32)
    assert data.val.images.shape == (2, 1, 32, 32, 32)
    assert data.train.sizes == [(40, 24, 18) if k == 3 else SHAPE for k in range(6)]
    assert not data.val.images[:, :, 20:].any()
    assert torch.equal(data.val.masks[0][:20, :24, :18], torch.from_numpy(ball()))
    assert len(open_test(spec, prepared, torch.device("cpu"))) == 2
    again = prepare(spec, tmp_path / "cache", seed=0)
    assert again == prepared


def test_volumes_cannot_be_resized(folder, tmp_path):
    with pytest.raises(InvalidInput, match="fit must be 'crop' for volumes, got 'resize'"):
        prepare(DataSpec(str(folder), 32), tmp_path / "cache", seed=0)
