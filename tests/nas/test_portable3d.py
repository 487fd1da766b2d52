import nibabel
import numpy as np
import pytest
import torch
from monai.inferers import sliding_window_inference
from torch import nn

from nas.portable3d import read_volume, segment_volume, sides_at, slide, standardise, write_labels
from nas.score import predict
from tests.nas.niftis import write_nifti


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv3d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv3d(4, 3, 3, padding=1))


@pytest.mark.parametrize("sides", [(40, 19, 16), (16, 16, 16), (33, 50, 20)])
@torch.inference_mode()
def test_windows_give_what_monai_gives(sides):
    x = torch.randn(1, 1, *sides, generator=torch.Generator().manual_seed(1))
    theirs = sliding_window_inference(x, (16, 16, 16), 2, net(), 0.25, mode="gaussian")
    assert torch.allclose(slide(net(), x, 16, 0.25), theirs, atol=1e-5)


@torch.inference_mode()
def test_a_small_volume_is_scored_and_exported_alike():
    x = torch.randn(1, 1, 10, 20, 5, generator=torch.Generator().manual_seed(1))
    ours = slide(net(), x, 16, 0.25)
    assert ours.shape == (1, 3, 10, 20, 5)
    assert torch.allclose(ours, predict(net(), x, size=16, fit="crop"), atol=1e-5)


def test_standardise_cuts_the_tails_and_then_takes_mean_and_deviation():
    x = torch.randn(10, 10, 20, generator=torch.Generator().manual_seed(0)) * 30 + 500
    x[0, 0, 0] = 3e6
    cut = np.clip(x.double().numpy(), *np.sort(x.double().numpy().ravel())[[10, -11]])
    expected = (cut - cut.mean()) / cut.std()
    assert np.allclose(standardise(x).numpy(), expected, atol=1e-5)


def test_sides_follow_the_spacing():
    assert sides_at((10, 20, 30), (1, 1, 3), (1, 2, 1.5)) == (10, 10, 60)
    assert sides_at((10, 20, 30), (1, 1, 3), (1.005, 1, 2.99)) == (10, 20, 30)


def test_labels_come_back_on_the_voxels_of_the_file_whatever_its_orientation(tmp_path):
    affine = np.array([[0, -0.5, 0, 9], [-2, 0, 0, 9], [0, 0, 3, 9], [0, 0, 0, 1.0]])
    values = np.random.default_rng(0).normal(size=(12, 16, 9)).astype("f4")
    write_nifti(tmp_path / "in.nii.gz", values, affine)
    volume, _ = read_volume(tmp_path / "in.nii.gz")
    write_labels((volume > 0.5).byte(), tmp_path / "out.nii.gz", like=tmp_path / "in.nii.gz")
    out = nibabel.load(tmp_path / "out.nii.gz")
    assert np.allclose(out.affine, affine)
    assert np.array_equal(np.asarray(out.dataobj), (values > 0.5).astype(np.uint8))


class Bright(nn.Module):
    """Class 1 where the standardised value is positive."""

    def forward(self, x):
        return torch.cat((-x, x), 1)


def test_a_volume_of_another_spacing_gets_labels_on_its_own_voxels():
    volume = torch.zeros(16, 16, 8)
    volume[..., 4:] = 100  # half of the voxels, so that their mean lies in between
    facts = {"spacing": [1.0, 1.0, 1.0], "size": 16, "overlap": 0.25, "threshold": None}
    labels = segment_volume(Bright(), volume, (1, 1, 2), facts)
    assert labels.shape == volume.shape
    assert torch.equal(labels.bool(), volume > 0)
