"""One NIfTI volume or its labels: decoding, checking, resampling; the sibling of `nas.images`."""

import hashlib
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from nas.findings import BadFile, Facts, Pair
from nas.images import BadImage
from nas.portable3d import read_volume, sides_at, standardise

VERSION = 1  # of the encoding; part of the fingerprint
SUFFIXES = (".nii.gz", ".nii")

_T = TypeVar("_T")
_MOST = 65535  # largest label value
_SHIFT = 0.5  # of a mask's corner against its image's, voxels


def is_volume(path: Path) -> bool:
    """Tell by its name whether a file is a NIfTI volume."""
    return path.name.lower().endswith(SUFFIXES)


def stem_of(path: Path) -> str:
    """Return the name of a file without its suffix, which may have two parts."""
    suffix = next((s for s in SUFFIXES if path.name.lower().endswith(s)), path.suffix)
    return path.name[: len(path.name) - len(suffix)]


def holds_volumes(folder: Path) -> bool:
    """Tell whether most files of a folder's `images/` are NIfTI volumes."""
    if not (folder / "images").is_dir():
        return False
    files = [path for path in (folder / "images").iterdir() if not path.name.startswith(".")]
    return 2 * sum(map(is_volume, files)) > len(files)


def count(folder: Path) -> int:
    """Return how many volumes a folder has."""
    return sum(map(is_volume, (folder / "images").iterdir()))


def median_sides(folder: Path) -> tuple[int, ...]:
    """Return the median sides of a folder's volumes, voxels, from their headers alone.

    () if none of them can be read.
    """
    shapes = []
    for path in sorted((folder / "images").iterdir()):
        if is_volume(path):
            try:
                shapes.append(_header(path)[0])
            except BadImage:  # named when the files are checked
                continue
    return tuple(int(median(sides)) for sides in zip(*shapes, strict=True))


def decode_volume(path: Path) -> tuple[Tensor, tuple[float, ...]]:
    """Read a volume in RAS orientation; see `nas.portable3d.read_volume`.

    Raises:
        BadImage: the file is unreadable, has not three axes, values that are not finite or all
            equal, or no spacing.
    """
    volume, spacing = _decode(path)
    strange = int((~volume.isfinite()).sum())
    if strange:
        raise BadImage(path, f"holds {strange} voxels without a finite value; mend it")
    if volume.min() == volume.max():
        raise BadImage(path, "is blank: all voxels are equal; remove the pair")
    return volume, spacing


def decode_labels(path: Path) -> tuple[Tensor, tuple[float, ...]]:
    """Read the label values of a mask in RAS orientation.

    Returns:
        labels (D, H, W), int64, and the spacing, mm.

    Raises:
        BadImage: the file is unreadable, has not three axes, or values that are no labels.
    """
    values, spacing = _decode(path)
    # What is not a number fails too.
    if not bool(((values >= 0) & (values <= _MOST) & (values == values.round())).all()):
        raise BadImage(
            path, f"has values that are no labels; store whole numbers from 0 to {_MOST}"
        )
    return values.long(), spacing


def inspect(folder: Path, pair: Pair) -> Facts | BadFile:
    """Read a pair and return what it holds, or which file is bad and why."""
    name = pair.mask.relative_to(folder).as_posix()
    try:
        (sides, affine), (other, mask_affine) = _header(pair.image), _header(pair.mask)
        if other != sides:
            reason = f"has {text_of(other)} voxels, its image {text_of(sides)}; make them equal"
            return BadFile(name, reason)
        shift = _shift(affine, mask_affine, sides)
        if shift > _SHIFT:
            reason = f"lies {shift:.3g} voxels away from its image; resample it onto the image"
            return BadFile(name, reason)
        volume, spacing = decode_volume(pair.image)
        labels, _ = decode_labels(pair.mask)
    except BadImage as error:
        return BadFile(error.path.relative_to(folder).as_posix(), error.reason)
    depth, height, width = volume.shape
    counts = torch.bincount(labels.flatten())
    digest = hashlib.sha256(f"{tuple(volume.shape)}".encode() + volume.numpy().tobytes())
    return Facts(
        pair,
        height,
        width,
        channels=1,
        bits=32,
        labels={int(k): int(counts[k]) for k in counts.nonzero().flatten()},
        digest=digest.hexdigest(),
        depth=depth,
        spacing=spacing,
    )


def common_spacing(facts: Sequence[Facts]) -> tuple[float, ...]:
    """Return the median spacing along each axis, mm."""
    return tuple(median(values) for values in zip(*(f.spacing for f in facts), strict=True))


def encode(
    pair: Pair, spacing: Sequence[float], classes: int, invert: bool
) -> tuple[Tensor, Tensor]:
    """Read a pair as the network sees it: standardised, at a common spacing.

    Values are interpolated linearly; a voxel gets the label with the largest interpolated share.

    Args:
        pair: passed `inspect`.
        spacing: wanted, mm.
        classes: 1 for binary masks, else the number of labels.
        invert: swap foreground and background of a binary mask.

    Returns:
        volume (1, D, H, W) float32 and labels (D, H, W) uint8.

    Raises:
        BadImage: a file changed since.
    """
    volume, own = decode_volume(pair.image)
    labels, _ = decode_labels(pair.mask)
    if classes == 1:
        labels = ((labels > 0) != invert).long()
    x, sides = standardise(volume)[None], sides_at(volume.shape, own, spacing)
    if sides != tuple(volume.shape):
        x = _resample(x, sides)
        shares = [_resample((labels == k).float()[None], sides) for k in range(max(2, classes))]
        labels = torch.cat(shares).argmax(0)
    return x, labels.to(torch.uint8)


def text_of(sides: Sequence[float]) -> str:
    """Return sides as text: "35x50x36"."""
    return "x".join(f"{side:g}" for side in sides)


def _resample(x: Tensor, sides: Sequence[int]) -> Tensor:
    return F.interpolate(x[None], tuple(sides), mode="trilinear")[0]


def _decode(path: Path) -> tuple[Tensor, tuple[float, ...]]:
    _header(path)
    return _reading(path, lambda: read_volume(path))


def _header(path: Path) -> tuple[tuple[int, ...], Any]:
    """Return sides and affine of a file as it is stored, without its voxels."""
    import nibabel

    image: Any = _reading(path, lambda: nibabel.load(path))
    sides = tuple(int(side) for side in image.shape)
    if len(sides) != 3:
        reason = f"has {len(sides)} axes ({text_of(sides)}); store one volume of 3 axes per file"
        raise BadImage(path, reason)
    edges = np.linalg.norm(image.affine[:3, :3], axis=0)
    if not (np.isfinite(image.affine).all() and (edges > 0).all()):
        raise BadImage(path, f"has a spacing of {text_of(edges)} mm; mend its header")
    return sides, image.affine


def _reading(path: Path, read: Callable[[], _T]) -> _T:
    from nibabel.filebasedimages import ImageFileError
    from nibabel.spatialimages import HeaderDataError

    try:
        return read()
    except ImageFileError:
        raise BadImage(path, "is not a readable NIfTI volume; replace it") from None
    except (OSError, EOFError, ValueError, HeaderDataError, zlib.error, MemoryError) as error:
        cause = " ".join(str(error).split()) or type(error).__name__
        raise BadImage(path, f"unreadable ({cause}); replace it") from error


def _shift(one: Any, other: Any, sides: Sequence[int]) -> float:
    """Return how far two affines put the corners of a volume apart, in voxels of the first."""
    corners = np.array(np.meshgrid(*[(0, side - 1) for side in sides])).reshape(3, -1)
    points = np.vstack([corners, np.ones(8)])
    moved = np.linalg.inv(one) @ other @ points
    return float(np.abs(moved - points).max())
