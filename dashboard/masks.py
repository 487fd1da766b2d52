"""A sheet of validation images with the outlines of truth and prediction."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import maximum_filter, minimum_filter
from torch import Tensor, nn

from dashboard.canvas import SCALE, Canvas, length_of
from dashboard.theme import GREY, INK
from nas.data import open_data
from nas.handle import StudyHandle
from nas.images import normalise
from nas.metrics import dice_per_image, labels
from nas.samples import Samples
from nas.score import predict
from nas.slot import DeviceSlot

IMAGES, COLUMNS = 8, 4
TRUTH, PREDICTION = "#00E08A", "#FF3DCB"  # green and magenta: apart for every eye, and on grey
_TILE, _GAP, _HEAD, _CAPTION = 250, 16, 52, 26
_CPU = torch.device("cpu")


@dataclass(frozen=True, slots=True)
class Picture:
    """A validation image with its labels, or a volume, of which one slice is shown.

    Attributes:
        image: (C, H, W) float32 in [0, 1]; smaller pictures are mirrored up to the network's size.
            A volume is (C, D, H, W), standardised.
        truth: (H, W) labels, or (D, H, W).
        size: height and width of the picture itself, or depth, height and width of the volume.
        stem: name of the file.
    """

    image: Tensor
    truth: Tensor
    size: tuple[int, ...]
    stem: str


def pick_pictures(handle: StudyHandle) -> list[Picture]:
    """Return up to eight validation images, evenly spread and the same for every trial.

    Raises:
        InvalidInput: the cache of the data is gone.
    """
    samples = open_data(handle.prepared, _CPU).val
    count = min(IMAGES, len(samples))
    rows = np.linspace(0, len(samples) - 1, count).round().astype(int)
    return [_picture(samples, int(row), handle.prepared.size) for row in rows]


def draw_predictions(
    handle: StudyHandle, number: int, pictures: list[Picture] | None = None
) -> bytes:
    """Draw what a trial's network finds in a few validation images.

    Args:
        handle: the study.
        number: of the trial.
        pictures: of `pick_pictures`, if they are at hand.

    Returns:
        a PNG file.

    Raises:
        InvalidInput: the trial has no weights, or the cache of the data is gone.
    """
    net = handle.net(number)
    pictures = pick_pictures(handle) if pictures is None else pictures
    rows = -(-len(pictures) // COLUMNS)
    canvas = Canvas(
        _GAP + COLUMNS * (_TILE + _GAP), _HEAD + rows * (_TILE + _CAPTION + _GAP) + _GAP // 2
    )
    _draw_title(canvas, f"trial {number}, validation images")
    for i, picture in enumerate(pictures):
        guess = _guess(net, picture, handle)
        truth = picture.truth[*map(slice, picture.size)]
        score = float(dice_per_image(guess[None], truth[None], handle.prepared.classes))
        x = _GAP + (i % COLUMNS) * (_TILE + _GAP)
        y = _HEAD + (i // COLUMNS) * (_TILE + _CAPTION + _GAP)
        image = picture.image[:, *map(slice, picture.size)]
        if truth.ndim == 3:
            image, truth, guess = _slice(image, truth, guess)
        canvas.paste(x, y, _tile(image, truth.numpy(), guess.numpy()))
        canvas.text(x, y + _TILE + 6, _short(picture.stem), 14, GREY)
        canvas.text(x + _TILE, y + _TILE + 6, f"Dice {score:.3f}", 14, INK, "ra")
    return canvas.png(colours=128)


def outline(label_map: NDArray[np.int64], thickness: int) -> NDArray[np.bool_]:
    """Return the pixels of each label within `thickness` of another label or of the border.

    Shape: (H, W) -> (H, W)
    """
    reach = 2 * thickness + 1
    lowest = minimum_filter(label_map, reach, mode="constant", cval=0)
    mixed = maximum_filter(label_map, reach) != lowest
    return np.asarray(mixed & (label_map > 0))


@torch.inference_mode()
def _guess(net: nn.Module, picture: Picture, handle: StudyHandle) -> Tensor:
    """Predict labels of a picture; a latency measurement on this machine is waited for."""
    prepared = handle.prepared
    x = normalise(picture.image[None], prepared.mean, prepared.std)
    with DeviceSlot(_CPU) as slot, slot.shared():
        logits = predict(net, x, size=prepared.size, fit=prepared.fit)
    return labels(logits)[0][tuple(map(slice, picture.size))]


def _slice(image: Tensor, truth: Tensor, guess: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Take the axial slice with the most foreground, front at the top.

    Shape: (C, D, H, W) and twice (D, H, W) -> (C, H, D) and twice (H, D)
    """
    level = int((truth > 0).sum((0, 1)).argmax())
    planes = (volume[..., level].transpose(-1, -2).flip(-2) for volume in (image, truth, guess))
    return next(planes), next(planes), next(planes)


def _picture(samples: Samples, row: int, size: int) -> Picture:
    sides = samples.sizes[row]
    frame = tuple(slice(max(side, size)) for side in sides)
    image = samples.pixels(slice(row, row + 1))[0][:, *frame]
    return Picture(image, samples.masks[row][frame].long(), sides, samples.stems[row])


def _tile(image: Tensor, truth: NDArray[np.int64], guess: NDArray[np.int64]) -> Image.Image:
    """Fit a picture into a square tile and draw both outlines on it, sharp at the tile's size."""
    height, width = truth.shape
    longest = max(height, width)
    side = _TILE * SCALE
    size = (
        max(1, round(side * width / longest)),
        max(1, round(side * height / longest)),
    )
    pixels = image.permute(1, 2, 0).numpy()
    shown = Image.fromarray(_stretch(pixels)).resize(size, Image.Resampling.BICUBIC)
    # Truth is the broader line, so that it shows on both sides of a prediction that meets it.
    for label_map, colour, thickness in ((truth, TRUTH, 7), (guess, PREDICTION, 3)):
        scaled = Image.fromarray(label_map.astype(np.uint8)).resize(size, Image.Resampling.NEAREST)
        edge = outline(np.asarray(scaled).astype(np.int64), thickness)
        shown.paste(colour, mask=Image.fromarray(edge))
    tile = Image.new("RGB", (side, side), "#F2F4F6")
    tile.paste(shown, ((side - size[0]) // 2, (side - size[1]) // 2))
    return tile


def _stretch(pixels: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Spread the values between the darkest and the brightest percent over 8 bits, as RGB.

    Shape: (H, W, C) in [0, 1] -> (H, W, 3)
    """
    low, high = np.percentile(pixels, (1, 99))
    spread = (pixels - low) / max(high - low, 1e-6)
    grey = (np.clip(spread, 0, 1) * 255).round().astype(np.uint8)
    return np.broadcast_to(grey, (*grey.shape[:2], 3)).copy()


def _draw_title(canvas: Canvas, title: str) -> None:
    canvas.text(_GAP, 16, title, 20, INK)
    x = float(_GAP + COLUMNS * (_TILE + _GAP) - _GAP)
    for name, colour in (("prediction", PREDICTION), ("truth", TRUTH)):
        x -= length_of(name, 15)
        canvas.text(x, 28, name, 15, INK, "lm")
        canvas.box(x - 34, 25, 26, 6, colour, outline=False)
        x -= 54


def _short(stem: str) -> str:
    return stem if len(stem) <= 18 else f"{stem[:17]}..."
