"""Random changes of a whole training batch, on its device: geometry first, then intensity."""

import math
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor
from torch.nn import functional as F

from primitives.core.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class Augment:
    """How far each change goes; every sample draws its own value, zero or False switches it off.

    Intensities are measured on a sample's own range from darkest (0) to brightest (1), so they mean
    the same for 8-bit images and for 12 bits stored in 16. Results may leave [0, 1] a little.

    Volumes are mirrored left-right alone, if `flips` is set, and change in intensity; other turns
    and moves are for images. (Front and back, top and bottom may be what labels tell apart.)

    Args:
        flips: mirror left-right and top-bottom, each in half of the samples.
        quarter_turns: turn by 0, 90, 180 or 270 degrees.
        rotation: largest further turn, degrees.
        scale: zoom between 1 / (1 + scale) and 1 + scale.
        shift: largest move along each axis, share of the side.
        brightness: largest value added.
        contrast: factor between 1 / (1 + contrast) and 1 + contrast around the sample's mean.
        gamma: exponent between 1 / (1 + gamma) and 1 + gamma.
        noise: largest standard deviation of Gaussian noise.

    Raises:
        InvalidInput: a range is negative.
    """

    flips: bool = True
    quarter_turns: bool = True
    rotation: float = 15.0
    scale: float = 0.2
    shift: float = 0.05
    brightness: float = 0.1
    contrast: float = 0.2
    gamma: float = 0.2
    noise: float = 0.03

    def __post_init__(self) -> None:
        for name in (*_WARPS, *_TONES, "noise"):
            if not 0 <= getattr(self, name) < math.inf:
                raise InvalidInput(f"{name} must be 0 or more, got {getattr(self, name)}")

    @classmethod
    def none(cls) -> Self:
        """Change nothing."""
        still = dict.fromkeys((*_WARPS, *_TONES, "noise"), 0.0)
        return cls(flips=False, quarter_turns=False, **still)


_WARPS = ("rotation", "scale", "shift")
_TONES = ("brightness", "contrast", "gamma")


def augment(
    x: Tensor, y: Tensor, generator: torch.Generator, ranges: Augment
) -> tuple[Tensor, Tensor]:
    """Change images and masks alike in geometry, images alone in intensity.

    Args:
        x: square images, float32 in [0, 1], or standardised volumes.
        y: labels, uint8.
        generator: on the device of `x`; decides everything.
        ranges: how far each change goes.

    Shape: x (N, C, S, S), y (N, S, S) -> the same; volumes x (N, C, D, H, W), y (N, D, H, W)
    """
    if x.ndim == 5:
        if ranges.flips:
            x, y = mirror(x, y, generator)
    elif ranges.flips or ranges.quarter_turns or any(getattr(ranges, name) for name in _WARPS):
        x, y = warp(x, y, draw_affine(len(x), generator, ranges))
    if any(getattr(ranges, name) for name in _TONES) or ranges.noise:
        x = _retone(x, generator, ranges)
    return x, y


def mirror(x: Tensor, y: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Flip half of the volumes left-right, which is along their depth.

    Shape: x (N, C, D, H, W), y (N, D, H, W) -> the same
    """
    flipped = _rand(generator, len(x)) < 0.5
    y = torch.where(flipped.view(-1, 1, 1, 1), y.flip(1), y)
    return torch.where(flipped.view(-1, 1, 1, 1, 1), x.flip(2), x), y


def draw_affine(samples: int, generator: torch.Generator, ranges: Augment) -> Tensor:
    """Draw maps from output to input positions, in units of half a side.

    Returns:
        (N, 2, 3): rotation, zoom and mirror in the first two columns, shift in the last.
    """

    def uniform(limit: float) -> Tensor:
        return (_rand(generator, samples) * 2 - 1) * limit

    angle = uniform(math.radians(ranges.rotation))
    if ranges.quarter_turns:
        angle = angle + (_rand(generator, samples) * 4).floor() * (math.pi / 2)
    zoom = torch.exp(uniform(math.log1p(ranges.scale)))
    signs = torch.ones(samples, 2, device=generator.device)
    if ranges.flips:
        signs = 1 - 2 * (_rand(generator, samples, 2) < 0.5).float()
    cos, sin = torch.cos(angle) / zoom, torch.sin(angle) / zoom
    turn = torch.stack((cos, -sin, sin, cos), 1).view(-1, 2, 2)
    shift = torch.stack((uniform(2 * ranges.shift), uniform(2 * ranges.shift)), 1)
    return torch.cat((turn * signs[:, None, :], shift[:, :, None]), 2)


def warp(x: Tensor, y: Tensor, affine: Tensor) -> tuple[Tensor, Tensor]:
    """Sample images bilinearly and masks by nearest pixel; both are mirrored beyond their border.

    Args:
        x: square images, float32.
        y: labels, uint8.
        affine: (N, 2, 3) of `draw_affine`.

    Shape: x (N, C, S, S), y (N, S, S) -> the same
    """
    grid = F.affine_grid(affine, list(x.shape), align_corners=False)
    images = F.grid_sample(x, grid, "bilinear", "reflection", align_corners=False)
    masks = F.grid_sample(y[:, None].float(), grid, "nearest", "reflection", align_corners=False)
    return images, masks[:, 0].to(y.dtype)


def _retone(x: Tensor, generator: torch.Generator, ranges: Augment) -> Tensor:
    samples = len(x)

    def column(values: Tensor) -> Tensor:
        return values.view(-1, *[1] * (x.ndim - 1))

    def factor(limit: float) -> Tensor:
        return column(torch.exp((_rand(generator, samples) * 2 - 1) * math.log1p(limit)))

    axes = tuple(range(1, x.ndim))
    low, high = x.amin(axes, keepdim=True), x.amax(axes, keepdim=True)
    span = (high - low).clamp_min(1e-6)  # a blank image has none
    tone = ((x - low) / span).clamp(0, 1) ** factor(ranges.gamma)
    mean = tone.mean(axes, keepdim=True)
    tone = (tone - mean) * factor(ranges.contrast) + mean
    tone = tone + column((_rand(generator, samples) * 2 - 1) * ranges.brightness)
    if ranges.noise:
        strength = column(_rand(generator, samples) * ranges.noise)
        noise = torch.randn(x.shape, generator=generator, device=x.device, dtype=x.dtype)
        tone = tone + noise * strength
    return tone * span + low


def _rand(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.rand(shape, generator=generator, device=generator.device)
