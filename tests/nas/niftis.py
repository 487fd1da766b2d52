"""Folders of small NIfTI volumes for tests to read."""

from pathlib import Path

import nibabel
import numpy as np

AFFINE = np.diag([1.0, 1.0, 1.0, 1.0])
SHAPE = (20, 24, 18)


def write_nifti(path: Path, values: np.ndarray, affine: np.ndarray = AFFINE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(values, affine), path)


def ball(shape: tuple[int, ...] = SHAPE, classes: int = 2) -> np.ndarray:
    """Return labels: a ball in the middle, of several classes cut across the second axis."""
    axes = np.indices(shape)
    centre = [(side - 1) / 2 for side in shape]
    inside = sum((a - c) ** 2 for a, c in zip(axes, centre, strict=True)) <= 36
    label = 1 + (axes[1] * classes // shape[1]).clip(0, classes - 1)
    return (inside * label).astype(np.uint8)


def write_pair(
    folder: Path,
    stem: str,
    *,
    labels: np.ndarray | None = None,
    affine: np.ndarray = AFFINE,
    scale: float = 1.0,
    seed: int = 0,
) -> None:
    """Write noise in which the labels shine, and the labels."""
    labels = ball() if labels is None else labels
    noise = np.random.default_rng([seed, *stem.encode()]).normal(100, 10, labels.shape)
    write_nifti(
        folder / "images" / f"{stem}.nii.gz", ((noise + 40 * labels) * scale).astype("f4"), affine
    )
    write_nifti(folder / "masks" / f"{stem}.nii.gz", labels, affine)


def write_volumes(folder: Path, number: int) -> Path:
    for k in range(number):
        write_pair(folder, f"v{k:02}", scale=10.0**k)
    return folder
