"""What two networks have in common: layers by name, rows and columns by their channels.

Members of a list that a block calls interchangeable (`vanishing`) are paired by their kernels.
"""

import operator
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray
from torch import nn

from nas.inheritance.channels import Channels, Labels

Pairs = Mapping[str, str]  # path in the child -> path in the parent
Indices = NDArray[np.intp]  # in the parent, of each row or column of the child; -1: none

_CONVS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


def pair(child: nn.Module, parent: nn.Module, path: str = "", source: str = "") -> dict[str, str]:
    """Return the modules of a block that have a counterpart in another one of its kind.

    Args:
        child: a block or a part of one.
        parent: the same of the other network.
        path: of the child in its network.
        source: of the parent in its network.
    """
    if not _kin(child, parent):
        return {}
    pairs = {path: source}
    lists = {pattern.removesuffix(".*") for pattern in vanishing(child)}
    theirs = dict(parent.named_children())
    for name, part in child.named_children():
        if name not in theirs:
            continue
        names = [(name, name)]
        if name in lists:
            pairs[join(path, name)] = join(source, name)
            names = [(f"{name}.{a}", f"{name}.{b}") for a, b in _aligned(part, theirs[name])]
        for mine, other in names:
            modules = child.get_submodule(mine), parent.get_submodule(other)
            pairs |= pair(*modules, join(path, mine), join(source, other))
    return pairs


def join(path: str, name: str) -> str:
    """Return the path of a module's part."""
    return f"{path}.{name}" if path else name


def vanishing(module: nn.Module) -> Mapping[str, tuple[str, ...]]:
    """Return what a module says of parts that can begin without an effect."""
    found: Mapping[str, tuple[str, ...]] = getattr(module, "vanishing", {})
    return found


def _kin(child: nn.Module, parent: nn.Module) -> bool:
    """Whether two modules do the same to channels; some convolutions have a class of their own."""
    same = any(isinstance(child, kind) and isinstance(parent, kind) for kind in _CONVS)
    return same or type(child) is type(parent)


def _aligned(child: nn.Module, parent: nn.Module) -> Iterator[tuple[str, str]]:
    """Pair the members of a list: those of equal kernels first, then smaller ones with larger."""
    mine, theirs = dict(child.named_children()), dict(parent.named_children())
    for fits in (operator.eq, operator.gt, operator.lt):
        for name in list(mine):
            for other in list(theirs):
                alike = _build_of(mine[name]) == _build_of(theirs[other])
                if alike and fits(_side(mine[name]), _side(theirs[other])):
                    del mine[name], theirs[other]
                    yield name, other
                    break


def _side(module: nn.Module) -> tuple[int, ...]:
    """Return the kernel of the first convolution of a module, () if it has none."""
    kernels = (m.kernel_size for m in module.modules() if isinstance(m, _CONVS))
    return tuple(next(kernels, ()))


def _build_of(module: nn.Module) -> list[tuple[str, type]]:
    """Return what a module is made of, without layers that learn nothing."""
    found = []
    for path, part in module.named_modules():
        if next(part.parameters(recurse=False), None) is not None:
            kinds = (kind for kind in _CONVS if isinstance(part, kind))
            found.append((path, next(kinds, type(part))))
    return found


class Places:
    """Where rows and columns of a child are found in its parent.

    Args:
        child: labels of the child.
        parent: labels of the parent.
        pairs: see `pair`.
    """

    def __init__(self, child: Channels, parent: Channels, pairs: Pairs) -> None:
        self._child, self._parent, self._pairs = child, parent, pairs
        self._members = child.groups()
        self._known: dict[tuple[str, int, bool], int] = {}  # what it was made for -> parent's label
        for label in (label for labels in parent.groups().values() for label in labels):
            origin = parent.origin(label)
            if origin.base:
                self._known[origin.layer, parent.group(origin.base), True] = label
            if not origin.base or len(parent.axes[origin.layer].rows) == 1:
                self._known[origin.layer, origin.row, False] = label
        self._found: dict[int, list[int]] = {}

    def __call__(self, child: Labels, parent: Labels) -> Indices:
        """Return the place of each label of a child's axis among those of the parent's.

        First by channel; where a channel is there several times, by the layer that it comes from.
        What is left by position.
        """
        free: dict[int, list[int]] = defaultdict(list)
        for place, label in enumerate(parent.tolist()):
            free[self._parent.group(label)].append(place)
        places = np.full(len(child), -1, dtype=np.intp)
        channels = [self._child.group(label) for label in child.tolist()]
        repeated = {group for group, times in Counter(channels).items() if times > 1}
        for i in [i for i, group in enumerate(channels) if group in repeated]:
            for same in self._counterparts(int(child[i])):
                several = free[self._parent.group(same)]
                if exact := [place for place in several if parent[place] == same]:
                    several.remove(exact[0])
                    places[i] = exact[0]
                    break
        for i in np.flatnonzero(places < 0).tolist():
            groups = self._groups(channels[i])
            left = next((free[group] for group in groups if free.get(group)), None)
            if left:
                places[i] = left.pop(0)
        used = set(places.tolist())
        for i in np.flatnonzero(places < 0).tolist():
            if i < len(parent) and i not in used:
                places[i] = i
        return places

    def known(self, labels: Labels) -> bool:
        """Whether the parent has any of these channels of the child."""
        return any(self._groups(self._child.group(label)) for label in labels.tolist())

    def _groups(self, group: int) -> list[int]:
        """Return the parent's groups that a group of the child corresponds to, closest first."""
        if group not in self._found:
            self._found[group] = []  # a filter of its own group adds nothing
            labels = [
                p for label in self._members.get(group, []) for p in self._counterparts(label)
            ]
            self._found[group] = list(dict.fromkeys(map(self._parent.group, labels)))
        return self._found[group]

    def _counterparts(self, label: int) -> list[int]:
        """Return the parent's labels that were made for what a label of the child was made for."""
        origin = self._child.origin(label)
        source = self._pairs.get(origin.layer, origin.layer if "input" in origin.layer else "")
        bases = self._groups(self._child.group(origin.base)) if origin.base else []
        keys = [*((source, base, True) for base in bases), (source, origin.row, False)]
        return [self._known[key] for key in keys if key in self._known]
