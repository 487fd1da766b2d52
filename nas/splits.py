"""Which images train, which validate, which are kept for the end; and the files that say so."""

import csv
import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from primitives.core.errors import InvalidInput

PARTS = ("train", "val", "test")
SHARES = (0.70, 0.15, 0.15)
Split = dict[str, tuple[str, ...]]


def split_groups(groups: Mapping[str, str], seed: int) -> Split:
    """Deal whole groups to train, val and test, as near to 70/15/15 of the images as they allow.

    Large groups are dealt first, each to the part that misses most; ties fall by seed.

    Args:
        groups: the group of each stem; stems that belong together (one patient) share a group.
        seed: any integer; the same one gives the same split.

    Raises:
        InvalidInput: there are fewer than three groups.
    """
    sizes = Counter(groups.values())
    if len(sizes) < len(PARTS):
        raise InvalidInput(
            f"groups must be at least 3 to fill train, val and test, got {len(sizes)}; "
            "name the parts in splits.json"
        )
    names = sorted(sizes)
    shuffled = [names[i] for i in np.random.default_rng(seed).permutation(len(names))]
    missing = [share * len(groups) for share in SHARES]
    part_of: dict[str, int] = {}
    for left, name in zip(
        range(len(names), 0, -1), sorted(shuffled, key=lambda g: -sizes[g]), strict=True
    ):
        empty = [k for k in range(len(PARTS)) if k not in part_of.values()]
        # The last groups go to parts still empty: each part needs one.
        options = empty if left == len(empty) else range(len(PARTS))
        part = max(options, key=lambda k: missing[k])
        part_of[name] = part
        missing[part] -= sizes[name]
    return {
        part: tuple(sorted(stem for stem, group in groups.items() if part_of[group] == k))
        for k, part in enumerate(PARTS)
    }


def read_groups(path: Path, stems: Collection[str], usable: Collection[str]) -> dict[str, str]:
    """Read `groups.csv`: the header `stem,group`, then one line for every usable image.

    Args:
        path: the file; without it every image is a group of its own.
        stems: all images of the folder, bad ones too.
        usable: those that need a group.

    Raises:
        InvalidInput: the header differs, or stems are unknown, repeated or missing.
    """
    if not path.exists():
        return {stem: stem for stem in usable}
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
        rows = [[cell.strip() for cell in row] for row in csv.reader(lines) if row]
    except (UnicodeDecodeError, csv.Error) as error:
        raise InvalidInput(f"{path} must be CSV in UTF-8, got {error}") from error
    if not rows or rows[0] != ["stem", "group"] or any(len(row) != 2 for row in rows):
        raise InvalidInput(f"{path} must hold two columns under the header stem,group")
    listed = [stem for stem, _ in rows[1:]]
    _refuse(path, "names unknown images", set(listed) - set(stems))
    _refuse(path, "names images twice", _repeated(listed))
    _refuse(path, "must name every image, misses", set(usable) - set(listed))
    return dict(rows[1:])


def read_split(path: Path, stems: Collection[str]) -> Split:
    """Read `splits.json`: {"train": [stems], "val": [stems], "test": [stems]}; test may be missing.

    Raises:
        InvalidInput: the file has another form, or `check_split` refuses the parts.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InvalidInput(f"{path} must be JSON, got {error}") from error
    lists = isinstance(data, dict) and all(
        isinstance(part, list) and all(isinstance(stem, str) for stem in part)
        for part in data.values()
    )
    if not lists or not set(data) <= set(PARTS):
        raise InvalidInput(f"{path} must map train, val and test to lists of stems")
    return check_split(data, stems, path)


def check_split(split: Mapping[str, Sequence[str]], stems: Collection[str], name: object) -> Split:
    """Return the split with all three parts, in the order given.

    Args:
        split: stems by part.
        stems: all images of the data set.
        name: what to call the split in messages.

    Raises:
        InvalidInput: train or val is missing or empty, stems are unknown or in two parts.
    """
    whole = {part: tuple(split.get(part, ())) for part in PARTS}
    for part in ("train", "val"):
        if not whole[part]:
            raise InvalidInput(f"{name} must put at least 1 image in {part}, got none")
    listed = [stem for part in PARTS for stem in whole[part]]
    _refuse(name, "names unknown images", set(listed) - set(stems))
    _refuse(name, "names images twice", _repeated(listed))
    return whole


def check_groups(split: Split, groups: Mapping[str, str], name: object) -> None:
    """Refuse a split that puts one group in two parts.

    Raises:
        InvalidInput: naming the groups.
    """
    parts = {(groups[stem], part) for part, stems in split.items() for stem in stems}
    _refuse(name, "puts groups in two parts", _repeated([group for group, _ in parts]))


def some(names: Iterable[str], limit: int = 5) -> str:
    """List names for a message, the first few by the alphabet."""
    ordered = sorted(names)
    more = f" and {len(ordered) - limit} more" if len(ordered) > limit else ""
    return ", ".join(ordered[:limit]) + more


def _repeated(names: Iterable[str]) -> set[str]:
    return {name for name, times in Counter(names).items() if times > 1}


def _refuse(name: object, rule: str, stems: Collection[str]) -> None:
    if stems:
        raise InvalidInput(f"{name} {rule}: {some(stems)}")
