"""Expected hypervolume gain where some objectives are exact and the others independent Gaussians.

The costs of the front cut the space of all objectives but one into a grid. Over a cell, the front
reaches one level of the remaining objective, the height, and a candidate is expected to gain

    product over the grid's objectives of E[length of the cell's side that it dominates]
    x E[(level - height)+],

summed over the cells. An exact cost dominates a known length, a modelled one the difference of two
expected improvements: both are h(b) - h(a) with h(x) = E[(x - loss)+]. So the gain is a closed sum
of one-dimensional terms, without Monte Carlo and without a decomposition of boxes. Where the model
is Gaussian in a latent value (`warp`), h(x) is the integral of P(loss <= t) up to x, on a grid.

Source: Emmerich, Giannakoglou and Naujoks, IEEE TEC 2006 (expected improvement of hypervolume);
Emmerich, Deutz and Klinkenberg, CEC 2011 (closed form over a grid). That exact costs turn it into
expected improvements in one dimension is the special case sd = 0.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from nas.pareto import Floats
from nas.sampler.warp import Warp

MAX_CELLS = 2**15  # of the grid; beyond it the front's costs are rounded to fewer lines
_AT_ONCE = 2**22  # numbers held for one chunk of candidates
_NODES = 64  # of the grid over a warped loss
_FAR = 6.0  # standard deviations below the mean where it begins


def expected_gain(
    front: Floats,
    reference: Floats,
    mean: Floats,
    sd: Floats,
    warps: Sequence[Warp | None] | None = None,
) -> Floats:
    """Return the expected hypervolume that each candidate adds to a front.

    All columns are minimised; the first one is the height. Where the grid over the others would
    have more than `MAX_CELLS` cells (with three of them from 32 front members on), the front's
    values in them are rounded to the nearest of evenly ranked lines.

    Args:
        front: losses of the front's members, best known estimates; rows that are dominated or not
            better than the reference add nothing.
        reference: the worst value of each column.
        mean: of the candidates' losses.
        sd: standard deviations, 0 where a loss is exact.
        warps: per column, what maps losses to the latent values that `mean` and `sd` are of; None
            where they are of the loss itself.

    Shape: (n, k), (k,), (m, k), (m, k) -> (m,)
    """
    front = np.asarray(front, dtype=float).reshape(-1, len(reference))
    front = front[(front < reference).all(1)]
    columns = range(1, len(reference))
    warps = warps or [None] * len(reference)
    limit = int(MAX_CELLS ** (1 / max(1, len(columns))))
    edges = [_lines(front[:, i], limit - 1) for i in columns]
    levels = _levels(front, edges, float(reference[0]))
    heights, cell_level = np.unique(levels, return_inverse=True)
    gains = np.empty(len(mean))
    chunk = max(1, _AT_ONCE // levels.size)
    for start in range(0, len(mean), chunk):
        part = slice(start, start + chunk)
        volumes = np.ones((len(mean[part]), 1))
        for i, lines in zip(columns, edges, strict=True):
            ends = np.append(lines, reference[i])
            reach = _improvement(ends, mean[part, i], sd[part, i], warps[i])
            sides = np.diff(reach, axis=1, prepend=0.0)
            volumes = (volumes[:, :, None] * sides[:, None, :]).reshape(len(sides), -1)
        height = _improvement(heights, mean[part, 0], sd[part, 0], warps[0])
        gains[part] = np.einsum("mc,mc->m", volumes, height[:, cell_level.ravel()])
    return gains


def _lines(values: Floats, limit: int) -> Floats:
    """Return the ascending values that cut a column, at most `limit` of them."""
    lines = np.unique(values)
    if len(lines) > limit:
        lines = lines[np.linspace(0, len(lines) - 1, limit).round().astype(int)]
    return lines


def _levels(front: Floats, edges: list[Floats], worst: float) -> Floats:
    """Return the height that the front reaches in each cell; the first cells lie before any line.

    Shape: (n, k), k - 1 arrays of lines -> one axis per array, each one longer than it
    """
    levels = np.full([len(lines) + 1 for lines in edges], worst)
    cells = tuple(1 + _nearest(lines, front[:, i]) for i, lines in enumerate(edges, 1))
    if edges:
        np.minimum.at(levels, cells, front[:, 0])
    else:
        levels = np.array(front[:, 0].min(initial=worst))
    for axis in range(len(edges)):
        levels = np.minimum.accumulate(levels, axis=axis)
    return levels


def _nearest(lines: Floats, values: Floats) -> NDArray[np.intp]:
    if not len(lines):
        return np.zeros(len(values), dtype=np.intp)
    return np.asarray(np.abs(values[:, None] - lines).argmin(1))


def _improvement(levels: Floats, mean: Floats, sd: Floats, warp: Warp | None) -> Floats:
    """Return E[(level - loss)+] for losses that are Gaussian, or are so once warped.

    Shape: (l,), (m,), (m,) -> (m, l)
    """
    if warp is not None:
        return _warped_improvement(levels, mean, sd, warp)
    distance = levels - mean[:, None]
    spread = np.maximum(sd, 1e-12)[:, None]  # 0 in the limit: then this is max(0, distance)
    scaled = distance / spread
    density = np.exp(-0.5 * scaled**2) / np.sqrt(2 * np.pi)
    return np.asarray(np.maximum(0.0, distance * ndtr(scaled) + spread * density))


def _warped_improvement(levels: Floats, mean: Floats, sd: Floats, warp: Warp) -> Floats:
    """Return the integral of P(loss <= t) over t up to each level, by the trapezoid rule."""
    lowest = warp.value(np.array((mean - _FAR * sd).min(initial=np.inf)))
    nodes = np.linspace(min(float(lowest), float(levels.min())), float(levels.max()), _NODES)
    nodes = np.union1d(nodes, levels)
    below = ndtr((warp.latent(nodes) - mean[:, None]) / np.maximum(sd, 1e-12)[:, None])
    steps = 0.5 * (below[:, 1:] + below[:, :-1]) * np.diff(nodes)
    total = np.concatenate([np.zeros((len(below), 1)), np.cumsum(steps, axis=1)], axis=1)
    return np.asarray(total[:, np.searchsorted(nodes, levels)])
