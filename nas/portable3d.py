"""What an exported network for volumes brings along; `nas.standalone` copies this source.

Only torch is imported here, and nibabel where a file is read or written. The search prepares its
volumes with the same functions.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from math import ceil
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_TAIL = 0.005  # share of voxels at each end whose values count as outliers
_CLOSE = 0.01  # spacings that differ by a smaller share count as equal


def read_volume(path: str | Path) -> tuple[Tensor, tuple[float, ...]]:
    """Read a NIfTI volume with its axes turned to right, front and top (RAS).

    Returns:
        values (D, H, W), float32, D from left to right, H from back to front, W from bottom to
        top; and the spacing of voxels along these axes, mm.
    """
    import nibabel
    import numpy

    image: Any = nibabel.as_closest_canonical(nibabel.load(path))
    values = numpy.ascontiguousarray(image.get_fdata(dtype=numpy.float32))
    spacing = nibabel.affines.voxel_sizes(image.affine)
    return torch.from_numpy(values), tuple(map(float, spacing))


def standardise(volume: Tensor) -> Tensor:
    """Bring a volume to mean 0 and deviation 1, after values beyond 0.5 and 99.5 % are cut.

    Shape: any -> the same, float32
    """
    values = volume.flatten().double()
    outside = int(_TAIL * len(values))
    low = values.kthvalue(outside + 1).values
    high = values.kthvalue(len(values) - outside).values
    cut = volume.double().clamp(low, high)
    return ((cut - cut.mean()) / cut.std(correction=0).clamp_min(1e-12)).float()


def sides_at(
    sides: Sequence[int], spacing: Sequence[float], wanted: Sequence[float]
) -> tuple[int, ...]:
    """Return the sides in voxels that a volume has at another spacing, mm."""
    if all(abs(s - w) <= _CLOSE * w for s, w in zip(spacing, wanted, strict=True)):
        return tuple(sides)
    scaled = zip(sides, spacing, wanted, strict=True)
    return tuple(max(1, round(side * old / new)) for side, old, new in scaled)


def slide(net: nn.Module, x: Tensor, size: int, overlap: float) -> Tensor:
    """Average the logits of overlapping windows with Gaussian weights.

    Args:
        net: in eval mode.
        x: a volume; zeros are added after its ends where it is smaller than a window.
        size: side of a window, voxels.
        overlap: of neighbouring windows, share of `size`.

    Shape: (1, C, D, H, W) -> (1, classes, D, H, W)
    """
    sides = x.shape[2:]
    x = F.pad(x, [pad for side in reversed(sides) for pad in (0, max(0, size - side))])
    weights = _weights(size, x.device)
    total, weight = torch.zeros(()), torch.zeros(x.shape[2:], device=x.device)
    for corner in product(*(_starts(side, size, overlap) for side in x.shape[2:])):
        window = tuple(slice(start, start + size) for start in corner)
        logits = net(x[:, :, *window])
        if total.ndim == 0:
            total = torch.zeros(1, logits.shape[1], *x.shape[2:], device=x.device)
        total[:, :, *window] += logits * weights
        weight[window] += weights
    return (total / weight)[:, :, : sides[0], : sides[1], : sides[2]]


@torch.inference_mode()
def segment_volume(
    net: nn.Module, volume: Tensor, spacing: Sequence[float], preprocess: Mapping[str, Any]
) -> Tensor:
    """Return the label of each voxel of a volume of any size.

    Args:
        net: in eval mode.
        volume: (D, H, W) of `read_volume`.
        spacing: of its voxels, mm.
        preprocess: the content of preprocess.json.

    Returns:
        (D, H, W) uint8: labels, or 0 and 1 for a network of one class.
    """
    x = standardise(volume)[None, None]
    sides = sides_at(volume.shape, spacing, preprocess["spacing"])
    if sides != volume.shape:
        x = F.interpolate(x, sides, mode="trilinear")
    logits = slide(net, x, preprocess["size"], preprocess["overlap"])
    if sides != volume.shape:
        logits = F.interpolate(logits, volume.shape, mode="trilinear")
    if logits.shape[1] == 1:
        return logits[0, 0].sigmoid().gt(preprocess["threshold"]).byte()
    return logits[0].argmax(0).byte()


def write_labels(labels: Tensor, path: str | Path, like: str | Path) -> None:
    """Save labels of a volume as NIfTI on the voxels of the file that the volume was read from."""
    import nibabel
    from nibabel.orientations import io_orientation, ornt_transform

    original: Any = nibabel.load(like)
    canonical = nibabel.as_closest_canonical(original)
    back = ornt_transform(io_orientation(canonical.affine), io_orientation(original.affine))
    image = nibabel.Nifti1Image(labels.numpy(), canonical.affine).as_reoriented(back)
    image.header.set_xyzt_units("mm")
    nibabel.save(image, path)


def _weights(size: int, device: torch.device) -> Tensor:
    """Return the Gaussian weights of a window, deviation an eighth of its side."""
    steps = torch.arange(size, device=device) - (size - 1) / 2
    line = torch.exp(-(steps**2) / (2 * (size / 8) ** 2))
    cube = line[:, None, None] * line[:, None] * line
    return cube.clamp_min(max(float(cube.min()), 1e-3))


def _starts(side: int, size: int, overlap: float) -> Iterator[int]:
    """Yield where windows begin along an axis; the last one ends with the volume."""
    step = max(1, int(size * (1 - overlap)))
    for k in range(ceil((side - size) / step) + 1):
        yield min(k * step, side - size)
