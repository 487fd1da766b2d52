"""Fronts and hypervolumes. Needs numpy alone.

Hypervolumes of studies are measured in one box that never changes, so that they can be compared
between trials and between studies: scores from 0 to 1 as they are, costs on a logarithmic scale
between the two ends of `COST_RANGES`.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# Five decades around every lightweight network, in the units of `nas.objectives`.
COST_RANGES: Mapping[str, tuple[float, float]] = {
    "params": (1e3, 1e8),
    "macs": (1e6, 1e11),
    "flops": (2e6, 2e11),
    "latency": (1e-1, 1e4),
    "memory": (1e-1, 1e4),
}


def front_mask(values: Floats, directions: Sequence[str]) -> NDArray[np.bool_]:
    """Return which rows no other row beats; of equal rows the first stays.

    Args:
        values: finite numbers, one row per candidate, one column per objective.
        directions: "maximize" or "minimize" for each column.

    Shape: (n, k) -> (n,)
    """
    signs = np.array([-1.0 if direction == "maximize" else 1.0 for direction in directions])
    losses = np.asarray(values, dtype=float).reshape(-1, len(signs)) * signs
    assert np.isfinite(losses).all()
    mask = np.zeros(len(losses), dtype=bool)
    # Sorted by all columns, nothing behind a row can beat it; the sort keeps equal rows in order.
    left = np.lexsort(losses.T[::-1])
    if len(signs) == 2:  # then a row is on the front if its second loss is the least so far
        second = losses[left, 1]
        least = np.minimum.accumulate(np.append(np.inf, second))[:-1]
        mask[left[second < least]] = True
        return mask
    while len(left):
        mask[left[0]] = True
        left = left[~(losses[left] >= losses[left[0]]).all(1)]
    return mask


def hypervolume(points: Floats, reference: Floats) -> float:
    """Return the volume that the points dominate up to the reference, exactly.

    Args:
        points: one row per candidate; every column is minimised. What is not better than
            the reference in every column adds nothing.
        reference: the worst value of each column.

    Shape: (n, k), (k,) -> scalar; k is 1 to 4
    """
    return sum(volume_gains(points, reference))


def volume_gains(points: Floats, reference: Floats) -> list[float]:
    """Return what each point adds to the hypervolume of the points before it.

    Args:
        points: one row per candidate, in order of time; every column is minimised.
        reference: the worst value of each column.

    Shape: (n, k), (k,) -> n
    """
    reference = np.asarray(reference, dtype=float)
    points = np.minimum(np.asarray(points, dtype=float).reshape(-1, len(reference)), reference)
    return list(_gains(points, reference))


def unit_losses(values: Floats, names: Sequence[str]) -> Floats:
    """Map objectives into the fixed box: 0 is the best end of each column, 1 the worst.

    Args:
        values: one row per candidate, in the units of `nas.objectives`.
        names: of the objectives, one per column; those outside `COST_RANGES` are scores, 0 to 1.

    Shape: (n, k) -> (n, k)
    """
    values = np.asarray(values, dtype=float).reshape(-1, len(names))
    columns = [_unit_loss(column, name) for column, name in zip(values.T, names, strict=True)]
    return np.stack(columns, axis=1)


def volume_shares(values: Floats, names: Sequence[str]) -> Floats:
    """Return the share of the fixed box that is dominated after each candidate.

    Args:
        values: one row per candidate, in order of time.
        names: of the objectives.

    Shape: (n, k) -> (n,)
    """
    gains = volume_gains(unit_losses(values, names), np.ones(len(names)))
    return np.cumsum(np.array(gains, dtype=float))


def _unit_loss(column: Floats, name: str) -> Floats:
    if name not in COST_RANGES:
        return np.asarray(1 - np.clip(column, 0, 1))
    low, high = np.log10(COST_RANGES[name])
    with np.errstate(divide="ignore"):  # a cost of 0 lies beyond the best end
        return np.asarray(np.clip((np.log10(column) - low) / (high - low), 0, 1))


def _gains(points: Floats, reference: Floats) -> Iterator[float]:
    """Yield the part of each point's box that no earlier box covers."""
    front = points[:0]
    for point in points:
        covered = _volume(np.maximum(front, point), reference)
        gain = float(np.prod(reference - point)) - covered
        if (front <= point).all(1).any():
            gain = 0.0  # the difference of two equal volumes may miss it by a rounding
        else:
            front = np.vstack([front[~(front >= point).all(1)], point])
        yield gain


def _volume(points: Floats, reference: Floats) -> float:
    """Return the hypervolume of points within the reference."""
    if not len(points):
        return 0.0
    if len(reference) == 1:
        return float(reference[0] - points.min())
    if len(reference) == 3:
        return _volume_in_space(points, reference)
    points = points[np.argsort(points[:, -1], kind="stable")]
    heights = np.diff(points[:, -1], append=reference[-1])
    if len(reference) == 2:
        areas = reference[0] - np.minimum.accumulate(points[:, 0])
    else:
        areas = np.cumsum(list(_gains(points[:, :-1], reference[:-1])))
    return float(areas @ heights)


def _volume_in_space(points: Floats, reference: Floats) -> float:
    """Return the hypervolume in three columns: the third over the grid that the first two span."""
    ranks = points[:, :2].argsort(0).argsort(0)
    floor = np.full((len(points), len(points)), reference[2])
    floor[ranks[:, 0], ranks[:, 1]] = points[:, 2]
    floor = np.minimum.accumulate(np.minimum.accumulate(floor, axis=0), axis=1)
    across = np.diff(np.sort(points[:, 0]), append=reference[0])
    along = np.diff(np.sort(points[:, 1]), append=reference[1])
    return float(across @ (reference[2] - floor) @ along)
