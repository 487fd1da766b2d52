import numpy as np
import pytest
from scipy import ndimage

from nas.phantom import phantom
from primitives.core.errors import InvalidInput

IMAGES, MASKS = phantom(24, 64)


def test_images_are_grey_and_masks_binary_and_never_empty():
    assert IMAGES.shape == MASKS.shape == (24, 64, 64)
    assert IMAGES.dtype == MASKS.dtype == np.uint8
    assert set(np.unique(MASKS)) == {0, 1}
    assert MASKS.any(axis=(1, 2)).all()


def test_the_same_seed_gives_the_same_pixels_and_another_seed_others():
    again, masks = phantom(24, 64)
    assert (again == IMAGES).all()
    assert (masks == MASKS).all()
    assert (phantom(1, 64, 1)[0] != IMAGES[0]).any()


def test_an_image_does_not_depend_on_how_many_are_made():
    images, masks = phantom(2, 64, first=5)
    assert (images == IMAGES[5:7]).all()
    assert (masks == MASKS[5:7]).all()


def test_any_side_gives_the_same_scenes():
    shares = phantom(24, 128)[1].mean((1, 2)), MASKS.mean((1, 2))
    np.testing.assert_allclose(*shares, atol=0.005)  # borders fall between pixels


def test_lesions_differ_widely_in_size_and_cover_a_minor_share():
    sizes = []
    for mask in MASKS:
        labelled, count = ndimage.label(mask)
        sizes += [(labelled == k).sum() for k in range(1, count + 1)]
    low, high = np.quantile(sizes, (0.1, 0.9))
    assert high / low > 8
    assert 0.05 < MASKS.mean() < 0.25


def test_brightness_alone_does_not_find_the_lesions():
    dark = -ndimage.gaussian_filter(IMAGES.astype(float), (0, 2, 2))
    area = MASKS.sum((1, 2))
    dice = [
        (2 * ((dark > cut) & (MASKS > 0)).sum((1, 2)) / ((dark > cut).sum((1, 2)) + area)).mean()
        for cut in np.quantile(dark, np.linspace(0.02, 0.98, 25))
    ]
    everywhere = (2 * area / (64 * 64 + area)).mean()
    assert everywhere < max(dice) < 0.45


def test_images_use_the_grey_range_without_clipping():
    assert IMAGES.std() > 10
    assert np.isin(IMAGES, (0, 255)).mean() < 0.01


def test_a_side_too_short_for_the_texture_is_refused():
    with pytest.raises(InvalidInput, match="at least 32 for phantom, got 16"):
        phantom(1, 16)
