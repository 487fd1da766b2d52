"""The embedded data set: synthetic ultrasound with lesions among distractors that look alike.

Lesions and distractors share intensity, contrast, sizes, and smooth and star-shaped borders; each
has a texture, fine to coarse. Only its form tells them apart: lesions are streaky, in a direction
of their own, distractors blotchy. Finding objects is soon learned; telling lesions takes filters
for streaks of every wavelength in every direction. Shading, blur and speckle hide the easy cues.

Every length is a share of the side, so any side gives the same task. Image `i` is a pure function
of (seed, side, i); the random stream is PCG64. Sine, exponential and FFT may round differently on
another machine, which can move single pixels by one grey level.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from primitives.core.errors import InvalidInput

VERSION = 3  # raise whenever any pixel changes: fingerprints contain it
SEED = 0  # the data set is the same for every study
TRAIN, VAL, TEST = 160, 40, 40
SHORTEST = 32

RADIUS = (0.055, 0.30)  # of an object, share of the side, log-uniform
LESIONS = (1, 3)  # per image, both ends included
DISTRACTORS = (2, 5)
DARKNESS = (0.16, 0.30)  # of an object against the tissue; full range is 1
TEXTURE = 0.18  # standard deviation inside objects
WAVES = (6, 10, 17)  # of a texture, per side, from coarse to fine
WOBBLE = 0.15  # largest change of their logarithm
SPECKLE = 0.11  # standard deviation of the multiplicative noise
BLUR = 0.006  # of the scanner, share of the side; twice that sideways
SHADING = 0.30  # largest change of brightness across the image

Map = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class _Rng:
    """Two streams, so that noise, whose length depends on the side, leaves the scene alone."""

    scene: np.random.Generator
    grain: np.random.Generator


@dataclass(frozen=True, slots=True)
class _Object:
    row: float  # centre, share of the side
    column: float
    radius: float
    star: bool
    lesion: bool


def phantom(
    n: int, side: int, seed: int = SEED, *, first: int = 0
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Make images `first` to `first + n - 1` of the endless set with this seed.

    Returns:
        Grey images and masks with 1 in lesions, both uint8 (n, side, side).

    Raises:
        InvalidInput: the side is too short for the finest texture.
    """
    if side < SHORTEST:
        raise InvalidInput(f"size must be at least {SHORTEST} for phantom, got {side}")
    images, masks = np.empty((2, n, side, side), dtype=np.uint8)
    for k in range(n):
        rng = _Rng(*np.random.default_rng((seed, first + k)).spawn(2))
        images[k], masks[k] = _picture(rng, side)
    return images, masks


def _picture(rng: _Rng, side: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    image = 0.5 + _tissue(rng, side)
    mask = np.zeros((side, side), dtype=np.uint8)
    for thing in _place(rng.scene):
        depth = _depth(rng.scene, thing, side)
        inside = 1 / (1 + np.exp(np.clip(depth * side / 0.7, -30, 30)))  # soft border, in pixels
        waves = rng.scene.choice(WAVES) * math.exp(rng.scene.uniform(-WOBBLE, WOBBLE))
        texture = _texture(rng, side, waves, streaky=thing.lesion)
        filling = TEXTURE * texture - rng.scene.uniform(*DARKNESS)
        # Tissue goes on faintly inside, so its absence gives no object away.
        image += inside * (filling + 0.7 * (0.5 - image))
        mask[depth < 0] = thing.lesion
    image = gaussian_filter(image, (BLUR * side, 2 * BLUR * side), mode="nearest")
    image *= 1 + SPECKLE * _speckle(rng.grain, side)
    image *= _shading(rng.scene, side)
    return np.clip(image * 255, 0, 255).round().astype(np.uint8), mask


def _place(rng: np.random.Generator) -> list[_Object]:
    """Scatter objects that hardly touch; the first lesion always finds its place."""
    lesions = int(rng.integers(LESIONS[0], LESIONS[1] + 1))
    total = lesions + int(rng.integers(DISTRACTORS[0], DISTRACTORS[1] + 1))
    low, high = np.log(RADIUS)
    placed: list[_Object] = []
    for k in range(total):
        radius = math.exp(rng.uniform(low, high))
        star = bool(rng.integers(2))
        for _ in range(40):
            row, column = rng.uniform(0.6 * radius, 1 - 0.6 * radius, 2)
            if all(
                math.hypot(row - o.row, column - o.column) > 1.15 * (radius + o.radius)
                for o in placed
            ):
                placed.append(_Object(row, column, radius, star, lesion=k < lesions))
                break
    return placed


def _depth(rng: np.random.Generator, thing: _Object, side: int) -> Map:
    """Distance beyond the border along the ray from the centre, share of the side; < 0 inside."""
    axis = (np.arange(side) + 0.5) / side
    rows, columns = axis[:, None] - thing.row, axis[None, :] - thing.column
    flat, tilt = rng.uniform(0.6, 0.95), rng.uniform(0, math.pi)
    along = columns * math.cos(tilt) + rows * math.sin(tilt)
    across = (rows * math.cos(tilt) - columns * math.sin(tilt)) / flat
    angle = np.arctan2(across, along)
    border = np.ones_like(angle)
    arms, phase = int(rng.integers(5, 9)), rng.uniform(0, 2 * math.pi)
    if thing.star:
        border += 0.28 * np.cos(arms * angle + phase)
    else:
        border += 0.06 * np.cos(2 * angle + phase)
    return np.hypot(along, across) - thing.radius * math.sqrt(1 / flat) * 0.9 * border


def _texture(rng: _Rng, side: int, waves: float, *, streaky: bool) -> Map:
    """Noise of one wavelength: streaks in one direction, or blotches without; unit deviation."""
    direction = rng.scene.uniform(0, math.pi)
    rows, columns = np.fft.fftfreq(side)[:, None] * side, np.fft.rfftfreq(side)[None, :] * side
    if streaky:
        along = columns * math.cos(direction) + rows * math.sin(direction)
        across = rows * math.cos(direction) - columns * math.sin(direction)
        band = ((np.abs(along) - waves) ** 2 + across**2) / (0.25 * waves) ** 2
    else:
        band = ((np.hypot(rows, columns) - waves) / (0.25 * waves)) ** 2
    noise = np.fft.rfft2(rng.grain.standard_normal((side, side))) * np.exp(-band / 2)
    return _unit(np.fft.irfft2(noise, (side, side)))


def _tissue(rng: _Rng, side: int) -> Map:
    """Wavy layers and clouds around zero."""
    axis = (np.arange(side) + 0.5) / side
    scene = rng.scene
    wave = 0.04 * np.sin(2 * math.pi * (scene.uniform(0.5, 1.5) * axis + scene.uniform()))
    depth = axis[:, None] + wave[None, :]
    layers = np.sin(2 * math.pi * (scene.uniform(1.5, 3.5) * depth + scene.uniform()))
    noise = rng.grain.standard_normal((side, side))
    clouds = _unit(gaussian_filter(noise, 0.035 * side, mode="wrap"))
    return 0.04 * layers + 0.05 * clouds


def _speckle(rng: np.random.Generator, side: int) -> Map:
    """Grain of unit deviation with a long bright tail, wider than high."""
    waves = rng.standard_normal((2, side, side))
    grain = (0, 0.35 * side / 64, 0.7 * side / 64)
    return _unit(np.hypot(*gaussian_filter(waves, grain, mode="wrap")))


def _shading(rng: np.random.Generator, side: int) -> Map:
    """Gain that falls with depth, and rises or falls sideways."""
    axis = (np.arange(side) + 0.5) / side - 0.5
    down, sideways = rng.uniform(0, SHADING), rng.uniform(-SHADING, SHADING)
    bend = rng.uniform(0, SHADING) * (axis**2)[None, :]
    return 1 - down * axis[:, None] - sideways * axis[None, :] - bend


def _unit(values: Map) -> Map:
    unit: Map = (values - values.mean()) / values.std()
    return unit
