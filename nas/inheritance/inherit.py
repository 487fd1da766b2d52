"""Start a network with the weights of another one: what both have is copied, what is new is quiet.

Layers are paired by name; members of a list that a block calls interchangeable (`vanishing`) by the
side of their kernels. Rows and columns are paired by the channels that they stand for
(`channels`), else by position. Then

- what both have is copied, kernels centred: cropped, or widened by zeros;
- a row that both have gets zeros in the columns that are new, so that new channels change nothing
  that was there; new rows, and layers without a counterpart, stay as they were drawn;
- a new part that its block lets vanish starts at zero and passes its input on.

So a child that is wider, deeper or has larger kernels computes what its parent did where its
blocks allow that; they say in `keeps` where they do.

Source: Chen, Goodfellow and Shlens, Net2Net, ICLR 2016 (arXiv 1511.05641); Wei et al., Network
morphism, ICML 2016; zeros at the end of a residual branch: Goyal et al., arXiv 1706.02677,
section 5.1.
Departure: new channels are drawn anew and read by nobody at first, rather than copies of others.
"""

import re
from collections.abc import Iterator, Set
from fnmatch import fnmatch

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from nas.inheritance.channels import Axes, Channels, Labels, trace
from nas.inheritance.counterparts import Indices, Pairs, Places, join, pair, vanishing
from primitives.core.contract import find_block
from search_spaces.core.network import Network

_HAIR = 1e-7  # where a bias vanishes: a ReLU passes no gradient at 0


def inherit(child: Network, parent: Network, in_channels: int) -> float:
    """Give a network the weights of another one, as far as they go.

    Args:
        child: freshly built, on the CPU.
        parent: trained; stays as it is.
        in_channels: of both.

    Returns:
        The share of the child's parameters that were copied, 0 to 1.
    """
    pairs: dict[str, str] = {}
    for layer, source in _layers(child, parent):
        pairs |= pair(child.get_submodule(layer), parent.get_submodule(source), layer, source)
    return transfer(child, parent, pairs, *(_traced(net, in_channels) for net in (child, parent)))


def _layers(child: Network, parent: Network) -> Iterator[tuple[str, str]]:
    """Yield the layers that both networks have; decoder stages of one scale belong together."""
    theirs = dict(parent.named_children())
    offset = _decoders(parent) - _decoders(child)  # they count from the bottom
    for layer, _ in child.named_children():
        source = re.sub(r"^decoder(\d+)", lambda m: f"decoder{int(m[1]) + offset}", layer)
        if source in theirs:
            yield layer, source


def _decoders(net: Network) -> int:
    numbers = (re.match(r"decoder(\d+)", layer) for layer, _ in net.named_children())
    return max((int(found[1]) for found in numbers if found), default=0)


def _traced(net: Network, in_channels: int) -> Channels:
    # Instance norms need more than one pixel at the bottom; no more, for attention's sake.
    sides = [2 * net.multiple, *[net.multiple] * (net.ndim - 1)]
    steps = [step for step in net.steps if step.spec]
    opaque = [s.layer for s in steps if s.spec and find_block(s.spec.name).role == "encoder"]
    return trace(net, [(1, in_channels, *sides)], opaque)


def transfer(
    child: nn.Module, parent: nn.Module, pairs: Pairs, mine: Channels, theirs: Channels
) -> float:
    """Copy what paired layers share and quiet what is new.

    Args:
        child: to fill.
        parent: to copy.
        pairs: see `pair`.
        mine: labels of the child.
        theirs: labels of the parent.

    Returns:
        The share of the child's parameters that were copied, 0 to 1.
    """
    places = Places(mine, theirs, pairs)
    copied = 0
    with torch.no_grad():
        silent = _quiet(child, pairs, mine, places)
        for path, source in pairs.items():
            old = dict(_own(parent.get_submodule(source)))
            for name, tensor in _own(child.get_submodule(path)):
                if name in old:
                    axes = mine.axes.get(path), theirs.axes.get(source)
                    known = _copy(tensor, old[name], *axes, places, silent)
                    copied += known if isinstance(tensor, nn.Parameter) else 0
    return copied / max(1, sum(p.numel() for p in child.parameters()))


def _own(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from module.named_parameters(recurse=False)
    yield from module.named_buffers(recurse=False)


def _copy(
    new: Tensor,
    old: Tensor,
    mine: Axes | None,
    theirs: Axes | None,
    places: Places,
    silent: Set[int],
) -> int:
    """Copy what two tensors share; return how many numbers those are.

    Columns of silent channels stay as drawn: two zeros in a row would never learn.
    """
    if mine is None or theirs is None or not new.ndim:
        if new.shape != old.shape:
            return 0
        new.copy_(old)
        return new.numel()
    rows = places(mine.rows, theirs.rows)
    if new.ndim > 1:
        depthwise = [axes.columns is None for axes in (mine, theirs)]
        both = new.shape[1] == old.shape[1] == 1  # one channel alone is dense and depthwise
        if new.ndim != old.ndim or (len(set(depthwise)) > 1 and not both):
            return 0
        new, old = (_rows_first(*both) for both in ((new, mine), (old, theirs)))
        sides = [a - b for a, b in zip(new.shape[:1:-1], old.shape[:1:-1], strict=True)]
        old = F.pad(old, [half for side in sides for half in (side // 2, side - side // 2)])
    if new.ndim == 1 or mine.columns is None or theirs.columns is None:
        new[rows >= 0] = old[rows[rows >= 0]]
        return int((rows >= 0).sum()) * new[0].numel()
    columns = places(mine.columns, theirs.columns)
    mute = np.array([label not in silent for label in mine.columns.tolist()])
    return _copy_rows(new, old, rows, columns, mute, (mine.groups, theirs.groups))


def _rows_first(weight: Tensor, axes: Axes) -> Tensor:
    return weight.transpose(0, 1) if axes.transposed else weight


def _copy_rows(
    new: Tensor,
    old: Tensor,
    rows: Indices,
    columns: Indices,
    mute: NDArray[np.bool_],
    groups: tuple[int, int],
) -> int:
    """Copy rows of a weight, each of which has the columns of its group alone; mute the others.

    Shape: (O, I / groups, *kernel), (O', I' / groups', *kernel)
    """
    copied = 0
    for row in np.flatnonzero(rows >= 0):
        first = row // (len(new) // groups[0]) * new.shape[1]
        first_old = rows[row] // (len(old) // groups[1]) * old.shape[1]
        own = slice(first, first + new.shape[1])
        read = columns[own] - first_old
        known = (read >= 0) & (read < old.shape[1]) & (columns[own] >= 0)
        if known.any():
            new[row, mute[own]] = 0
            new[row, known] = old[rows[row], read[known]]
            copied += int(known.sum()) * new[row, 0].numel()
    return copied


def _quiet(child: nn.Module, pairs: Pairs, channels: Channels, places: Places) -> set[int]:
    """Let the outermost new parts vanish that are added to channels which the parent has.

    Returns:
        Labels of the channels of those that are members of lists: nothing else is in them.
    """
    done: list[str] = []
    silent: set[int] = set()
    for path, module in child.named_modules():
        for pattern, names in vanishing(module).items():
            for part in _parts(module, path, pattern):
                inside = any(part == other or part.startswith(f"{other}.") for other in done)
                if part in pairs or inside or not _adds(part, channels, places):
                    continue
                done.append(part)
                if pattern:
                    silent |= set(_last(part, channels).tolist())
                for name, parameter in child.get_submodule(part).named_parameters():
                    if any(fnmatch(name, wanted) for wanted in names):
                        parameter.fill_(_HAIR if name.endswith("bias") else 0.0)
    return silent


def _adds(part: str, channels: Channels, places: Places) -> bool:
    """Whether what a part gives is one with channels of the parent."""
    return places.known(_last(part, channels))


def _last(part: str, channels: Channels) -> Labels:
    """Return the labels of a part's last layer."""
    layers = [p for p in channels.axes if p == part or p.startswith(f"{part}." if part else "")]
    return channels.axes[layers[-1]].rows


def _parts(module: nn.Module, path: str, pattern: str) -> list[str]:
    """Return the paths of the parts that "", the module, or "NAME.*", a list's members, names."""
    if not pattern:
        return [path]
    name = pattern.removesuffix(".*")
    return [join(path, f"{name}.{i}") for i, _ in module.get_submodule(name).named_children()]
