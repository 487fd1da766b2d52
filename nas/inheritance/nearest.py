"""How much of a network another one could lend, by names and shapes alone; builds no weights."""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from math import prod

from nas.meta import OnMeta
from search_spaces.core.arch import Arch
from search_spaces.core.network import build

Shapes = Mapping[str, tuple[int, ...]]


def nearest(arch: Arch, others: Sequence[Arch]) -> tuple[int, float]:
    """Return which of several networks has most of an arch's parameters, and their share.

    Args:
        arch: to begin.
        others: one or more; of equal ones the first is taken.
    """
    shares = [overlap(arch, other) for other in others]
    best = max(range(len(others)), key=lambda i: shares[i])
    return best, shares[best]


def overlap(child: Arch, parent: Arch) -> float:
    """Return the share of a network's parameters that another one has too, 0 to 1.

    Parameters are compared by name, the common part of their shapes counts. Where members of lists
    change places, `inherit.inherit` may copy more.
    """
    mine, theirs = _shapes(child), _shapes(parent)
    common = sum(
        prod(map(min, shape, theirs[name]))
        for name, shape in mine.items()
        if len(theirs.get(name, ())) == len(shape)
    )
    return common / max(1, sum(map(prod, mine.values())))


@lru_cache(maxsize=1024)
def _shapes(arch: Arch) -> Shapes:
    """Return the shapes of a network's parameters; decoder stages are counted from the top."""
    with OnMeta():
        net = build(arch)
    count = len(arch.decoder)

    def renamed(name: str) -> str:
        return re.sub(r"^decoder(\d+)", lambda m: f"decoder-{count - int(m[1])}", name)

    return {renamed(name): tuple(p.shape) for name, p in net.named_parameters()}
