import io
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from dashboard import masks
from dashboard.masks import Picture, draw_predictions, outline, pick_pictures
from nas.data import open_data
from primitives.core.errors import InvalidInput


def test_outline_holds_the_pixels_near_another_label_or_the_border():
    labels = np.zeros((9, 9), dtype=np.int64)
    labels[2:7, 2:7] = 1
    expected = labels.astype(bool)
    expected[3:6, 3:6] = False
    assert (outline(labels, 1) == expected).all()
    full = np.ones((5, 5), dtype=np.int64)
    assert outline(full, 1).sum() == 25 - 9
    assert not outline(np.zeros((5, 5), dtype=np.int64), 2).any()


def test_outline_separates_two_classes_that_touch():
    labels = np.ones((8, 8), dtype=np.int64)
    labels[:, 4:] = 2
    assert outline(labels, 1)[4].tolist() == [True, False, False, True, True, False, False, True]


def test_pictures_are_spread_evenly_over_the_validation_images(handle):
    val = open_data(handle.prepared, torch.device("cpu")).val
    pictures = pick_pictures(handle)
    assert [p.stem for p in pictures][:: masks.IMAGES - 1] == [val.stems[0], val.stems[-1]]
    assert len({p.stem for p in pictures}) == masks.IMAGES
    row = val.stems.index(pictures[3].stem)
    assert torch.equal(pictures[3].truth, val.masks[row].long())
    assert torch.equal(pictures[3].image, val.images[row].float() / 255)


def show(handle, monkeypatch, guess, pictures=None):
    monkeypatch.setattr(masks, "_guess", lambda net, picture, handle: guess(picture))
    written = []
    monkeypatch.setattr(masks.Canvas, "text", lambda self, x, y, text, *rest: written.append(text))
    png = draw_predictions(handle, 0, pictures)
    image = Image.open(io.BytesIO(png)).convert("RGB")
    return np.asarray(image).astype(int), [t for t in written if t.startswith("Dice")]


def count(pixels, colour):
    wanted = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    tiles = pixels[masks._HEAD :]  # without the legend
    return int((np.abs(tiles - wanted).max(2) < 60).sum())


def test_perfect_predictions_score_one_and_show_both_outlines(handle, monkeypatch):
    pixels, dice = show(handle, monkeypatch, lambda p: p.truth)
    assert dice == ["Dice 1.000"] * masks.IMAGES
    assert count(pixels, masks.TRUTH) > 500
    assert count(pixels, masks.PREDICTION) > 500


def test_empty_predictions_score_zero_and_have_no_outline(handle, monkeypatch):
    pixels, dice = show(handle, monkeypatch, lambda p: torch.zeros_like(p.truth))
    assert dice == ["Dice 0.000"] * masks.IMAGES
    assert count(pixels, masks.PREDICTION) == 0
    assert count(pixels, masks.TRUTH) > 500


def test_dice_printed_is_that_of_the_picture(handle, monkeypatch):
    truth = torch.zeros(40, 60, dtype=torch.long)
    truth[:20, :30] = 1
    half = torch.zeros_like(truth)
    half[:20, :15] = 1
    picture = Picture(torch.rand(1, 40, 60), truth, (40, 60), "wide")
    pixels, dice = show(handle, monkeypatch, lambda p: half, [picture])
    assert dice == ["Dice 0.667"]  # 2 x 300 / (600 + 300)
    assert pixels.shape == (344 + 8, 1080, 3)


def test_of_a_volume_the_slice_with_most_foreground_is_shown_front_at_the_top(handle, monkeypatch):
    truth = torch.zeros(30, 50, 8, dtype=torch.long)
    truth[:, 25:, 3] = 1  # the front half of one slice
    truth[:3, :3, 6] = 1  # a smaller part of another slice
    picture = Picture(torch.rand(1, 32, 50, 32), truth, (30, 50, 8), "volume")
    pixels, dice = show(handle, monkeypatch, lambda p: p.truth, [picture])
    assert dice == ["Dice 1.000"]
    top, bottom = pixels[masks._HEAD : masks._HEAD + 125], pixels[masks._HEAD + 140 :]
    green = [int(masks.TRUTH[i : i + 2], 16) for i in (1, 3, 5)]
    assert (np.abs(top - green).max(2) < 60).sum() > 100
    assert (np.abs(bottom - green).max(2) < 60).sum() == 0


def test_network_sees_normalised_images_and_only_the_picture_itself_counts(prepared):
    seen = []

    def net(x):
        seen.append(x)
        return torch.ones(1, 1, *x.shape[-2:])

    picture = Picture(torch.full((1, 32, 32), 0.5), torch.ones(20, 32), (20, 32), "low")
    guess = masks._guess(net, picture, SimpleNamespace(prepared=prepared))
    assert guess.shape == (20, 32)
    assert guess.all()
    expected = (0.5 - prepared.mean[0]) / prepared.std[0]
    assert seen[0][0, 0, 0, 0] == pytest.approx(expected, rel=1e-5)


def test_colour_images_stay_in_colour():
    red = np.zeros((4, 4, 3), dtype=np.float32)
    red[:2, :, 0] = 1
    shown = masks._stretch(red)
    assert shown[0, 0].tolist() == [255, 0, 0]
    assert shown[3, 3].tolist() == [0, 0, 0]


def test_a_trial_that_was_not_trained_has_no_picture(handle):
    with pytest.raises(InvalidInput, match="only a trained trial has weights, trial 3"):
        draw_predictions(handle, 3)
