"""A folder of images and masks: which files pair up, which are bad and why."""

import hashlib
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np

from nas import volumes
from nas.findings import BadFile, Facts, Pair, Report
from nas.images import SUFFIXES, BadImage, Pixels, decode_image, decode_mask
from nas.splits import some
from primitives.core.errors import InvalidInput

Progress = Callable[[str, int, int], None]  # what is being done, files done, files in all

_T = TypeVar("_T")
_R = TypeVar("_R")
_BINARY = ((0, 255), (0, 1), (0, 65535))
_MOST_LABELS = 32
_THREADS = 8


def check_folder(
    folder: Path,
    *,
    invert: bool = False,
    only: Collection[str] | None = None,
    progress: Progress | None = None,
) -> Report:
    """Read the files of a folder with `images/` and `masks/` and find the bad ones.

    A folder is of volumes if most files in `images/` are NIfTI; an empty mask is bad among images,
    and worth a warning among volumes, which lack an organ more often.

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
    inspect = volumes.inspect if volumes.holds_volumes(folder) else _inspect
    for result in parallel(lambda pair: inspect(folder, pair), listed, "checking", progress):
        (found if isinstance(result, Facts) else bad).append(result)  # type: ignore[arg-type]
    labels = agree(found)
    first: dict[str, str] = {}
    good = []
    empty = []
    for facts in found:
        fault = _fault(folder, facts, labels)
        lacking = None if fault else _empty_mask(folder, facts, labels, invert)
        if lacking and facts.spacing:
            empty.append(lacking)
            lacking = None
        if fault := fault or lacking or _duplicate(folder, facts, first):
            bad.append(fault)
        else:
            good.append(facts)
    stems = {volumes.stem_of(p) for kind in ("images", "masks") for p in _files(folder / kind)}
    ordered = tuple(sorted(bad, key=lambda b: b.path))
    return Report(folder, tuple(good), ordered, labels, frozenset(stems), tuple(empty))


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
    end = ".nii.gz" if volumes.holds_volumes(folder) else ".png"
    images = _by_stem(folder, "images", only, bad)
    masks = _by_stem(folder, "masks", only, bad)
    for stem in sorted(set(images) - set(masks)):
        name = f"images/{images[stem].name}"
        bad.append(BadFile(name, f"no mask; add masks/{stem}{end} or remove the image"))
    for stem in sorted(set(masks) - set(images)):
        name = f"masks/{masks[stem].name}"
        bad.append(BadFile(name, f"no image; add images/{stem}{end} or remove the mask"))
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
    deep = volumes.holds_volumes(folder)
    formats = "NIfTI volume (.nii.gz or .nii)" if deep else "PNG, JPEG, TIFF or BMP"
    for path in _files(folder / kind):
        name, stem = f"{kind}/{path.name}", volumes.stem_of(path)
        if only is not None and stem not in only:
            continue
        if not (volumes.is_volume(path) if deep else path.suffix.lower() in SUFFIXES):
            bad.append(BadFile(name, f"is no {formats}; convert or remove it"))
        elif stem in found:
            other = f"{kind}/{found[stem].name}"
            bad.append(BadFile(name, f"has the stem of {other}; rename or remove one"))
        else:
            found[stem] = path
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


def _fault(folder: Path, facts: Facts, labels: tuple[int, ...]) -> BadFile | None:
    """Judge the labels of a readable pair against those of the set."""
    strange = set(facts.labels) - set(labels)
    if not strange:
        return None
    mask = facts.pair.mask.relative_to(folder).as_posix()
    names = some(str(value) for value in sorted(strange))
    rule = f"unexpected labels {names}; the set has {_range(labels)}"
    lossy = mask.lower().endswith((".jpg", ".jpeg"))
    return BadFile(mask, rule + (", store masks without loss as PNG" if lossy else ""))


def _empty_mask(
    folder: Path, facts: Facts, labels: tuple[int, ...], invert: bool
) -> BadFile | None:
    background = labels[1] if invert and len(labels) == 2 else 0
    if set(facts.labels) != {background}:
        return None
    mask = facts.pair.mask.relative_to(folder).as_posix()
    return BadFile(mask, "empty mask; draw the foreground or remove the pair")


def _duplicate(folder: Path, facts: Facts, first: dict[str, str]) -> BadFile | None:
    """Compare an image with those before it; `first` remembers them by content."""
    image = facts.pair.image.relative_to(folder).as_posix()
    other = first.setdefault(facts.digest, image)
    if other == image:
        return None
    return BadFile(image, f"duplicate of {other}; remove one of them")


def _range(labels: tuple[int, ...]) -> str:
    return f"{labels[0]} and {labels[1]}" if len(labels) == 2 else f"0 to {labels[-1]}"
