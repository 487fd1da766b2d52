"""Early stopping with several objectives: who goes on past a rung of its training.

A rung is an epoch, a ninth and a third of the budget; one candidate in two goes on. The others are
paused and may be resumed. Two rules:

- "mo-asha": a candidate goes on if it is in the better half of all that reached the rung, sorted
  into fronts of validation loss against exact costs, and within a front by an epsilon-net, so that
  those that go on spread over it. One that was paused is resumed when it has come into the better
  half and fewer than half went on.
- "model": whenever fewer than half went on, the candidate goes on that promises the largest gain of
  hypervolume given its curve so far (`curve_gain`), out of all that wait at the rung. Until
  `ENOUGH` candidates were trained in full there is nothing to learn from, and "mo-asha" decides.

The loss is that of `nas.train.Training.settled_loss`; thresholded Dice ranks early epochs worse
than chance.

Source: Schmucker, Donini, Zafar, Salinas and Archambeau, MO-ASHA, arXiv 2106.12639 (fronts and
epsilon-net); Li et al., ASHA, MLSys 2020 (promotion without waiting for others). Needs numpy and
scipy alone.
"""

from collections.abc import Sequence
from math import ceil

import numpy as np

from nas.pareto import Floats, front_mask
from primitives.core.errors import InvalidInput, nearest

FIDELITIES = ("none", "mo-asha", "model")
ENOUGH = 10  # trained in full, before a rung is judged, or a model made, by what became of them

_SHARES = (1 / 9, 1 / 3)  # of the budget
_ONE_IN = 2  # goes on


def check_fidelity(name: str) -> None:
    """Check that there is a rule of that name.

    Raises:
        InvalidInput: there is none.
    """
    if name not in FIDELITIES:
        known = ", ".join(FIDELITIES)
        hint = nearest(name, FIDELITIES)
        raise InvalidInput(f"fidelity must be one of {known}, got {name!r}{hint}")


def rung_epochs(fidelity: str, epochs: int) -> tuple[int, ...]:
    """Return after which epochs candidates are compared; none where everybody trains in full.

    Args:
        fidelity: one of `FIDELITIES`.
        epochs: the full budget.
    """
    if fidelity == "none":
        return ()
    return tuple(sorted({ceil(share * epochs) for share in _SHARES} - {epochs}))


def better_half(losses: Floats) -> list[int]:
    """Return the rows that "mo-asha" lets go on, best first.

    Args:
        losses: of all that reached a rung, every column minimised.

    Shape: (n, k) -> n / 2, rounded up
    """
    return ranked(losses)[: quota(len(losses))]


def quota(reached: int) -> int:
    """Return how many of those that reached a rung go on."""
    return ceil(reached / _ONE_IN)


def ranked(losses: Floats) -> list[int]:
    """Return rows from best to worst: front by front, each from its best loss to its widest gaps.

    Shape: (n, k) -> n
    """
    span = np.ptp(losses, axis=0)
    scaled = (losses - losses.min(0)) / np.where(span > 0, span, 1.0)
    order: list[int] = []
    left = np.arange(len(losses))
    while len(left):
        mask = front_mask(scaled[left], ["minimize"] * losses.shape[1])
        order += _spread(scaled, left[mask])
        left = left[~mask]
    return order


def _spread(scaled: Floats, rows: np.ndarray) -> list[int]:
    """Order rows: the least first column, then always the one that is farthest from those taken."""
    taken = [int(rows[np.argmin(scaled[rows, 0])])]
    left = [int(row) for row in rows if row != taken[0]]
    while left:
        gaps = [min(float(np.linalg.norm(scaled[r] - scaled[t])) for t in taken) for r in left]
        taken.append(left.pop(int(np.argmax(gaps))))
    return taken


def foresight(losses: Sequence[float], scores: Sequence[float]) -> float | None:
    """Return how well low losses at a rung foretold high final scores: Spearman's correlation.

    Only those that went on have a final score, which lowers it. None for fewer than `ENOUGH` or
    where all are equal.
    """
    if len(losses) < ENOUGH or len(set(losses)) == 1 or len(set(scores)) == 1:
        return None
    from scipy.stats import spearmanr  # takes a second, and most commands do without

    return float(spearmanr(np.negative(losses), scores).statistic)
