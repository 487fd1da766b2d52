import dataclasses
import math

import pytest
import torch

from nas.augment import Augment, augment, draw_affine, warp
from primitives.core.errors import InvalidInput

SIDE = 16
X = torch.rand(8, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
Y = (X[:, 0] * 4).to(torch.uint8)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_nothing_changes_to_the_bit_without_ranges():
    x, y = augment(X, Y, generator(), Augment.none())
    assert torch.equal(x, X)
    assert torch.equal(y, Y)


def test_flips_and_quarter_turns_give_the_eight_symmetries_of_the_square():
    ranges = dataclasses.replace(Augment.none(), flips=True, quarter_turns=True)
    x, y = X[:1].repeat(200, 1, 1, 1), Y[:1].repeat(200, 1, 1)
    turned, labels = augment(x, y, generator(), ranges)
    expected = [
        torch.rot90(picture, turns, (1, 2))
        for picture in (X[0], X[0].flip(2))
        for turns in range(4)
    ]
    masks = [torch.rot90(m, turns) for m in (Y[0], Y[0].flip(1)) for turns in range(4)]
    found = set()
    for picture, mask in zip(turned, labels, strict=True):
        errors = [float((picture - other).abs().max()) for other in expected]
        which = errors.index(min(errors))
        assert errors[which] < 1e-4
        assert torch.equal(mask, masks[which])
        found.add(which)
    assert found == set(range(8))


def test_image_and_mask_move_together_under_every_warp():
    blob = torch.zeros(1, 1, 64, 64)
    blob[..., 20:44, 12:36] = 1
    x, y = blob.repeat(50, 1, 1, 1), blob[:, 0].repeat(50, 1, 1).to(torch.uint8)
    affine = draw_affine(50, generator(), Augment(rotation=40, scale=0.5, shift=0.1))
    moved, mask = warp(x, y, affine)
    assert float(((moved[:, 0] > 0.5) == (mask > 0)).float().mean()) > 0.99
    assert float((mask != y).float().mean()) > 0.05


def test_the_warp_stays_within_its_ranges():
    ranges = Augment(quarter_turns=False, flips=False, rotation=10, scale=0.25, shift=0.1)
    affine = draw_affine(2000, generator(), ranges)
    zoom = 1 / torch.linalg.det(affine[:, :, :2]).sqrt()
    angle = torch.atan2(affine[:, 1, 0], affine[:, 0, 0]) * 180 / math.pi
    assert zoom.min() >= 1 / 1.25 - 1e-5
    assert zoom.min() < 0.82
    assert zoom.max() <= 1.25 + 1e-5
    assert zoom.max() > 1.22
    assert 9.5 < angle.abs().max() <= 10 + 1e-3
    assert 0.19 < affine[:, :, 2].abs().max() <= 0.2  # 10 % of the side is 0.2 half sides


def test_a_zoom_above_one_enlarges_a_disc_by_its_square():
    axis = torch.arange(64) - 31.5
    disc = (axis[:, None] ** 2 + axis[None, :] ** 2 < 15**2).to(torch.uint8)[None]
    affine = torch.tensor([[[1 / 1.5, 0, 0], [0, 1 / 1.5, 0]]])
    _, mask = warp(disc[:, None].float(), disc, affine)
    assert abs(mask.sum().item() / disc.sum().item() - 2.25) < 0.05


def test_pixels_beyond_the_border_are_mirrored_alike_in_image_and_mask():
    shift = torch.tensor([[[1.0, 0, 0.25], [0, 1.0, 0]]])  # 2 of 16 pixels to the left
    x, y = warp(X[:1], Y[:1], shift)
    expected = torch.cat((X[:1, ..., 2:], X[:1, ..., -2:].flip(-1)), -1)
    torch.testing.assert_close(x, expected, atol=1e-5, rtol=0)
    assert torch.equal(y, torch.cat((Y[:1, :, 2:], Y[:1, :, -2:].flip(-1)), -1))


@pytest.mark.parametrize("name", ["brightness", "contrast", "gamma", "noise"])
def test_each_intensity_change_leaves_masks_alone_and_differs_by_sample(name):
    x, y = augment(X, Y, generator(), dataclasses.replace(Augment.none(), **{name: 0.2}))
    change = (x - X).abs().mean((1, 2, 3))
    assert torch.equal(y, Y)
    assert (change > 1e-5).all()
    assert len(set(change.tolist())) == 8


def test_brightness_adds_one_value_of_the_samples_own_range():
    ranges = dataclasses.replace(Augment.none(), brightness=0.2)
    shifts = (augment(X, Y, generator(), ranges)[0] - X).flatten(1)
    assert float(shifts.std(1).max()) < 1e-5
    dim = augment(X / 100, Y, generator(), ranges)[0] - X / 100
    torch.testing.assert_close(dim.flatten(1) * 100, shifts, atol=1e-4, rtol=0)


def test_contrast_keeps_the_mean_and_gamma_the_extremes():
    x = augment(X, Y, generator(), dataclasses.replace(Augment.none(), contrast=0.5))[0]
    torch.testing.assert_close(x.mean((1, 2, 3)), X.mean((1, 2, 3)), atol=1e-5, rtol=0)
    x = augment(X, Y, generator(), dataclasses.replace(Augment.none(), gamma=0.5))[0]
    torch.testing.assert_close(x.amax((1, 2, 3)), X.amax((1, 2, 3)), atol=1e-5, rtol=0)
    torch.testing.assert_close(x.amin((1, 2, 3)), X.amin((1, 2, 3)), atol=1e-5, rtol=0)


def test_a_blank_image_stays_finite():
    x, _ = augment(torch.zeros(2, 1, 8, 8), torch.zeros(2, 8, 8).byte(), generator(), Augment())
    assert torch.isfinite(x).all()


def test_the_generator_decides_everything():
    first, second = (augment(X, Y, generator(5), Augment()) for _ in range(2))
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])
    assert not torch.equal(first[0], augment(X, Y, generator(6), Augment())[0])


@pytest.mark.parametrize("value", [-0.1, math.inf, math.nan])
def test_impossible_ranges_are_refused(value):
    with pytest.raises(InvalidInput, match="scale must be 0 or more"):
        Augment(scale=value)
