"""A folder of images and masks: which files pair up, which are bad and why."""

import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from nas.images import SUFFIXES, BadImage, Pixels, decode_image, decode_mask
from nas.splits import some
from primitives.core.errors import InvalidInput

Progress = Callable[[str, int, int], None]  # what is being done, files done, files in all

_T = TypeVar("_T")
_R = TypeVar("_R")
_BINARY = ((0, 255), (0, 1), (0, 65535))
_MOST_LABELS = 32
_THREADS = 8


@dataclass(frozen=True, slots=True)
class BadFile:
    """A file that cannot be used: its path inside the folder, and the reason with the way out."""

    path: str
    reason: str

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


class BadData(InvalidInput):
    """Bad files in a data set; `lines` has one line for each."""

    def __init__(
        self, bad: Iterable[BadFile], way_out: str = "mend them or use --skip-bad"
    ) -> None:
        self.lines = tuple(str(file) for file in bad)
        head = f"data must be free of bad files, got {len(self.lines)}; {way_out}"
        super().__init__("\n".join((head, *self.lines)))


@dataclass(frozen=True, slots=True)
class Pair:
    """An image and its mask, not opened yet."""

    stem: str
    image: Path
    mask: Path


@dataclass(frozen=True, slots=True)
class Facts:
    """What decoding a pair told: sizes in pixels, bits per value, pixels per label value."""

    pair: Pair
    height: int
    width: int
    channels: int
    bits: int
    labels: dict[int, int]
    digest: str  # of the decoded image


@dataclass(frozen=True, slots=True)
class Report:
    """Result of `check_folder`.

    Args:
        folder: the folder.
        pairs: usable pairs, by stem.
        bad: the other files, by path.
        labels: label values of the set, background first: (0, 1), (0, 255), (0, 65535) or 0..K-1.
        stems: every stem in `images` and `masks`, usable or not.
    """

    folder: Path
    pairs: tuple[Facts, ...]
    bad: tuple[BadFile, ...]
    labels: tuple[int, ...]
    stems: frozenset[str]

    def summary(self) -> dict[str, Any]:
        """Count sizes, channels, bits and the pixel share of each label over the usable pairs."""
        pixels: Counter[int] = Counter()
        for facts in self.pairs:
            pixels.update(facts.labels)
        sizes = sorted({(f.height, f.width) for f in self.pairs}, key=lambda s: (s[0] * s[1], s))
        return {
            "usable": len(self.pairs),
            "bad": len(self.bad),
            "smallest": list(sizes[0]) if sizes else None,
            "largest": list(sizes[-1]) if sizes else None,
            "grey": sum(facts.channels == 1 for facts in self.pairs),
            "colour": sum(facts.channels == 3 for facts in self.pairs),
            "bits": sorted({facts.bits for facts in self.pairs}),
            "label_share": {str(k): pixels[k] / pixels.total() for k in self.labels if self.pairs},
        }

    def __str__(self) -> str:
        """List the bad files, then the counts: one line each."""
        facts = self.summary()
        lines = [*map(str, self.bad), f"{facts['usable']} usable pairs, {facts['bad']} bad files"]
        if self.pairs:
            (low, left), (high, right) = facts["smallest"], facts["largest"]
            bits = " and ".join(map(str, facts["bits"]))
            lines += [
                f"size: {left}x{low} to {right}x{high} pixels, {bits} bit",
                f"channels: {facts['grey']} grey, {facts['colour']} colour",
                *(f"label {k}: {v:.1%} of the pixels" for k, v in facts["label_share"].items()),
            ]
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """Return the folder, the summary and the bad files as JSON values."""
        bad = [{"path": file.path, "reason": file.reason} for file in self.bad]
        return {"folder": str(self.folder), **self.summary(), "bad_files": bad}


def check_folder(
    folder: Path,
    *,
    invert: bool = False,
    only: Collection[str] | None = None,
    progress: Progress | None = None,
) -> Report:
    """Read the files of a folder with `images/` and `masks/` and find the bad ones.

    Args:
        folder: the folder.
        invert: the class of interest is stored as 0, so an all-255 mask is the empty one.
        only: open the files of these stems alone; a stem without an image is bad then.
        progress: called after each pair.

    Raises:
        InvalidInput: the folder or one of the two inside is missing.
    """
    listed, bad = list_pairs(folder, only)
    found: list[Facts] = []
    for result in parallel(lambda pair: _inspect(folder, pair), listed, "checking", progress):
        (found if isinstance(result, Facts) else bad).append(result)  # type: ignore[arg-type]
    labels = agree(found)
    first: dict[str, str] = {}
    good = []
    for facts in found:
        fault = _fault(folder, facts, labels, invert, first)
        if fault:
            bad.append(fault)
        else:
            good.append(facts)
    stems = {path.stem for kind in ("images", "masks") for path in _files(folder / kind)}
    return Report(
        folder, tuple(good), tuple(sorted(bad, key=lambda b: b.path)), labels, frozenset(stems)
    )


def list_pairs(
    folder: Path, only: Collection[str] | None = None
) -> tuple[list[Pair], list[BadFile]]:
    """Pair images and masks by stem without opening any file.

    Args:
        folder: the folder with `images/` and `masks/`.
        only: look at these stems alone.

    Returns:
        The pairs by stem, and the files that have no partner or no known format.

    Raises:
        InvalidInput: the folder or one of the two inside is missing.
    """
    bad: list[BadFile] = []
    images = _by_stem(folder, "images", only, bad)
    masks = _by_stem(folder, "masks", only, bad)
    for stem in sorted(set(images) - set(masks)):
        name = f"images/{images[stem].name}"
        bad.append(BadFile(name, f"no mask; add masks/{stem}.png or remove the image"))
    for stem in sorted(set(masks) - set(images)):
        name = f"masks/{masks[stem].name}"
        bad.append(BadFile(name, f"no image; add images/{stem}.png or remove the mask"))
    for stem in sorted(set(only or ()) - set(images) - set(masks)):
        bad.append(BadFile(f"images/{stem}", "is gone; put it back"))
    both = sorted(set(images) & set(masks))
    return [Pair(stem, images[stem], masks[stem]) for stem in both], bad


def agree(pairs: Iterable[Facts]) -> tuple[int, ...]:
    """Choose the labels of a set: those that most masks fit.

    Small numbers count as labels 0..K-1 as long as each of them, from 2 on, is in at least two
    masks and 2 % of them, so one odd mask does not add a class.
    """
    used = [set(facts.labels) for facts in pairs if set(facts.labels) - {0}]
    small = sum(max(labels) < _MOST_LABELS for labels in used)
    votes = {pair: sum(labels <= set(pair) for labels in used) for pair in _BINARY}
    votes[0, 1] = small
    best = max(votes, key=lambda pair: votes[pair])
    if best != (0, 1):
        return best
    count = 2
    enough = max(2, len(used) / 50)
    while count < _MOST_LABELS and sum(count in labels for labels in used) >= enough:
        count += 1
    return tuple(range(count))


def parallel(
    work: Callable[[_T], _R], items: Sequence[_T], what: str, progress: Progress | None
) -> list[_R]:
    """Map with threads (the decoders release the interpreter lock) and report progress."""
    results = []
    with ThreadPoolExecutor(_THREADS) as pool:
        for done, result in enumerate(pool.map(work, items), start=1):
            results.append(result)
            if progress:
                progress(what, done, len(items))
    return results


def _files(folder: Path) -> list[Path]:
    return [
        path
        for path in sorted(folder.iterdir())
        if not path.name.startswith(".") and path.name not in ("Thumbs.db", "desktop.ini")
    ]


def _by_stem(
    folder: Path, kind: str, only: Collection[str] | None, bad: list[BadFile]
) -> dict[str, Path]:
    if not (folder / kind).is_dir():
        raise InvalidInput(f"data must be a folder with images/ and masks/, {folder} has no {kind}")
    found: dict[str, Path] = {}
    for path in _files(folder / kind):
        name = f"{kind}/{path.name}"
        if only is not None and path.stem not in only:
            continue
        if path.suffix.lower() not in SUFFIXES:
            bad.append(BadFile(name, "is no PNG, JPEG, TIFF or BMP; convert or remove it"))
        elif path.stem in found:
            other = f"{kind}/{found[path.stem].name}"
            bad.append(BadFile(name, f"has the stem of {other}; rename or remove one"))
        else:
            found[path.stem] = path
    return found


def _inspect(folder: Path, pair: Pair) -> Facts | BadFile:
    try:
        image, mask = decode_image(pair.image), decode_mask(pair.mask)
    except BadImage as error:
        return BadFile(error.path.relative_to(folder).as_posix(), error.reason)
    height, width = image.shape[:2]
    if mask.shape != (height, width):
        name = pair.mask.relative_to(folder).as_posix()
        rows, columns = mask.shape
        reason = f"has size {columns}x{rows}, its image {width}x{height}; make them equal"
        return BadFile(name, reason)
    channels = 1 if image.ndim == 2 else 3
    return Facts(pair, height, width, channels, 8 * image.itemsize, _count(mask), _digest(image))


def _count(mask: Pixels) -> dict[int, int]:
    counts = np.bincount(mask.ravel())
    return {int(value): int(counts[value]) for value in counts.nonzero()[0]}


def _digest(image: Pixels) -> str:
    head = f"{image.shape}{image.dtype}".encode()
    return hashlib.sha256(head + np.ascontiguousarray(image).tobytes()).hexdigest()


def _fault(
    folder: Path, facts: Facts, labels: tuple[int, ...], invert: bool, first: dict[str, str]
) -> BadFile | None:
    """Judge a readable pair against the set; `first` remembers images by content."""
    image, mask = (p.relative_to(folder).as_posix() for p in (facts.pair.image, facts.pair.mask))
    strange = set(facts.labels) - set(labels)
    if strange:
        names = some(str(value) for value in sorted(strange))
        rule = f"unexpected labels {names}; the set has {_range(labels)}"
        lossy = mask.lower().endswith((".jpg", ".jpeg"))
        return BadFile(mask, rule + (", store masks without loss as PNG" if lossy else ""))
    background = labels[1] if invert and len(labels) == 2 else 0
    if set(facts.labels) == {background}:
        return BadFile(mask, "empty mask; draw the foreground or remove the pair")
    other = first.setdefault(facts.digest, image)
    if other != image:
        return BadFile(image, f"duplicate of {other}; remove one of them")
    return None


def _range(labels: tuple[int, ...]) -> str:
    return f"{labels[0]} and {labels[1]}" if len(labels) == 2 else f"0 to {labels[-1]}"
