"""From the user's choice of data to tensors on the device of a worker."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from nas import phantom, volumes
from nas.batches import Batcher
from nas.cache import cached_facts, read_cache, write_cache
from nas.findings import BadData, Facts, Pair
from nas.folder import Progress, agree, check_folder, list_pairs, parallel
from nas.images import normalise
from nas.prepared import DataSpec, Prepared
from nas.samples import Encoding, Samples, read_samples, statistics
from nas.selection import check_invert, choose_split, judge
from nas.splits import PARTS, Split, check_split
from primitives.core.errors import InvalidInput

__all__ = [
    "Batcher",
    "Data",
    "DataSpec",
    "Prepared",
    "Samples",
    "normalise",
    "open_data",
    "open_test",
    "prepare",
]

VERSION = 1  # of the encoding; part of the fingerprint


@dataclass(frozen=True, slots=True)
class Data:
    """The two parts that a search sees."""

    train: Samples
    val: Samples


def prepare(
    spec: DataSpec,
    cache_folder: Path,
    *,
    seed: int,
    split: Mapping[str, Sequence[str]] | None = None,
    progress: Progress | None = None,
) -> Prepared:
    """Check the data, split them and cache the encoded train and val parts.

    The cache is found again by the content of the files; a damaged one is made anew.

    Args:
        spec: what the user chose.
        cache_folder: where caches live; made if missing.
        seed: of the split, where neither `split` nor `splits.json` gives it.
        split: of a stored study; used as it is, and files of its test part are not opened.
        progress: called with what is being done, files done and files in all.

    Raises:
        BadData: there are bad files and `skip_bad` is off, or the given split needs one.
        InvalidInput: fewer than 10 usable pairs, volumes are not to be cropped, or the folder,
            groups or split are wrong.
    """
    if spec.source == "phantom":
        return _prepare_phantom(spec, cache_folder, split)
    folder = Path(spec.source)
    if volumes.holds_volumes(folder) and spec.fit != "crop":
        raise InvalidInput(f"fit must be 'crop' for volumes, got {spec.fit!r}")
    facts: list[Facts] | None = None
    skipped: tuple[str, ...] = ()
    if split is None:
        report = check_folder(folder, invert=spec.invert_masks, progress=progress)
        parts, skipped = choose_split(spec, report, seed)
        facts = judge(spec, report, parts)
    else:
        parts = check_split(split, {stem for stems in split.values() for stem in stems}, "split")
    pairs = _pairs(folder, parts)
    fingerprint = _fingerprint(spec, parts, pairs, progress)
    path = cache_folder / f"{fingerprint}.safetensors"
    known = cached_facts(path)
    if known is None:
        if facts is None:
            facts = _recheck(spec, folder, parts, progress)
        known = _build(spec, path, facts, parts, progress)
    return _prepared(spec, path, known, parts, skipped)


def open_data(prepared: Prepared, device: torch.device) -> Data:
    """Load the train and val parts onto a device.

    Raises:
        InvalidInput: the cache is missing or damaged.
    """
    return Data(**read_cache(Path(prepared.cache), device))


def open_test(spec: DataSpec, prepared: Prepared, device: torch.device) -> Samples:
    """Decode the test part, encoded like train and val; a search never calls this.

    Raises:
        BadData: a file of the test part is missing.
        BadImage: a file cannot be read.
        InvalidInput: the test part is empty.
    """
    stems = prepared.split["test"]
    if not stems:
        raise InvalidInput("test must hold at least 1 image, got none; name some in splits.json")
    if spec.source == "phantom":
        return _phantom(spec.size, stems).to(device)
    pairs = _pairs(Path(spec.source), {"test": stems})
    encoding = Encoding(
        spec.size,
        spec.fit,
        prepared.in_channels,
        prepared.classes,
        spec.invert_masks,
        prepared.deep,
        prepared.spacing,
    )
    return read_samples([pairs[stem] for stem in stems], encoding).to(device)


def _recheck(spec: DataSpec, folder: Path, parts: Split, progress: Progress | None) -> list[Facts]:
    """Check the train and val files of a stored split."""
    stems = {*parts["train"], *parts["val"]}
    report = check_folder(folder, invert=spec.invert_masks, only=stems, progress=progress)
    if report.bad:
        raise BadData(report.bad, "the stored split needs them as they were")
    check_invert(spec, report.labels)
    return list(report.pairs)


def _pairs(folder: Path, parts: Split) -> dict[str, Pair]:
    """Find the files of all parts but test, unless test is the only one."""
    stems = {stem for part, names in parts.items() if part != "test" for stem in names}
    stems = stems or set(parts["test"])
    pairs, bad = list_pairs(folder, stems)
    found = {pair.stem: pair for pair in pairs}
    if set(found) != stems:
        raise BadData(bad, "the stored split needs them as they were")
    return found


def _fingerprint(
    spec: DataSpec, parts: Split, pairs: Mapping[str, Pair], progress: Progress | None
) -> str:
    def content(pair: Pair) -> list[str]:
        files = (pair.image, pair.mask)
        return [
            part for f in files for part in (f.name, hashlib.sha256(f.read_bytes()).hexdigest())
        ]

    files = parallel(content, [pairs[stem] for stem in sorted(pairs)], "hashing", progress)
    facts = [VERSION, spec.size, spec.fit, spec.invert_masks, parts, files]
    if any(volumes.is_volume(pair.image) for pair in pairs.values()):
        facts.append(["volumes", volumes.VERSION])
    return _short_hash(facts)


def _build(
    spec: DataSpec, path: Path, facts: Sequence[Facts], parts: Split, progress: Progress | None
) -> dict[str, Any]:
    """Encode train and val and write the cache; return the facts stored in it."""
    labels = agree(facts)
    channels = max(f.channels for f in facts)
    deep = any(f.bits > 8 for f in facts)
    classes = 1 if len(labels) == 2 else len(labels)
    by_stem = {f.pair.stem: f for f in facts}
    spacing = volumes.common_spacing([by_stem[stem] for stem in parts["train"]])
    encoding = Encoding(spec.size, spec.fit, channels, classes, spec.invert_masks, deep, spacing)
    samples = {
        part: read_samples([by_stem[stem].pair for stem in parts[part]], encoding, progress)
        for part in ("train", "val")
    }
    return _store(path, samples, classes, spacing)


def _prepare_phantom(
    spec: DataSpec, cache_folder: Path, split: Mapping[str, Sequence[str]] | None
) -> Prepared:
    counts = (phantom.TRAIN, phantom.VAL, phantom.TEST)
    names = [f"phantom-{k:03}" for k in range(sum(counts))]
    ends = (0, counts[0], counts[0] + counts[1], sum(counts))
    parts = {part: tuple(names[ends[k] : ends[k + 1]]) for k, part in enumerate(PARTS)}
    if split is not None and {k: tuple(v) for k, v in split.items()} != parts:
        raise InvalidInput("phantom has one split, got another; start a new study")
    fingerprint = _short_hash(["phantom", phantom.VERSION, phantom.SEED, VERSION, spec.size, parts])
    path = cache_folder / f"{fingerprint}.safetensors"
    known = cached_facts(path)
    if known is None:
        samples = {part: _phantom(spec.size, parts[part]) for part in ("train", "val")}
        known = _store(path, samples, classes=1)
    return _prepared(spec, path, known, parts, ())


def _phantom(size: int, stems: Sequence[str]) -> Samples:
    first = int(stems[0].removeprefix("phantom-"))
    images, masks = phantom.phantom(len(stems), size, first=first)
    sides = torch.full((len(stems),), size)
    return Samples(
        torch.from_numpy(images)[:, None],
        torch.from_numpy(masks),
        sides,
        sides.clone(),
        tuple(stems),
    )


def _store(
    path: Path, samples: Mapping[str, Samples], classes: int, spacing: tuple[float, ...] = ()
) -> dict[str, Any]:
    # Volumes are standardised one by one.
    mean, std = ((0.0,), (1.0,)) if spacing else statistics(samples["train"])
    images = samples["train"].images
    facts = {
        "in_channels": images.shape[1],
        "classes": classes,
        "mean": mean,
        "std": std,
        "deep": images.dtype == torch.float32,
    }
    if spacing:
        facts |= {"ndim": 3, "spacing": spacing}
    write_cache(path, samples, facts)
    return facts


def _prepared(
    spec: DataSpec, path: Path, known: Mapping[str, Any], parts: Split, skipped: tuple[str, ...]
) -> Prepared:
    return Prepared.from_json(
        {
            **known,
            "cache": str(path.resolve()),
            "fingerprint": path.stem,
            "size": spec.size,
            "fit": spec.fit,
            "split": parts,
            "skipped": skipped,
        }
    )


def _short_hash(value: object) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]
