"""Which usable pairs train, validate and test, and whether these parts suit each other."""

from nas.findings import BadData, Facts, Report
from nas.folder import agree
from nas.prepared import DataSpec
from nas.splits import Split, check_groups, check_split, read_groups, read_split, some, split_groups
from primitives.core.errors import InvalidInput

FEWEST = 10  # usable pairs


def choose_split(spec: DataSpec, report: Report, seed: int) -> tuple[Split, tuple[str, ...]]:
    """Split the usable pairs by `splits.json`, or by group and seed.

    Args:
        spec: what the user chose.
        report: of the whole folder.
        seed: of the split.

    Returns:
        The parts, and one line for each file left out.

    Raises:
        BadData: there are bad files and `skip_bad` is off.
        InvalidInput: fewer than 10 usable pairs, or the groups or the split are wrong.
    """
    if report.bad and not spec.skip_bad:
        raise BadData(report.bad)
    usable = {facts.pair.stem for facts in report.pairs}
    if len(usable) < FEWEST:
        raise InvalidInput(
            f"data must hold at least {FEWEST} usable pairs, got {len(usable)} in {report.folder}"
        )
    skipped = tuple(str(file) for file in report.bad)
    groups = read_groups(report.folder / "groups.csv", report.stems, usable)
    path = report.folder / "splits.json"
    if not path.exists():
        return split_groups({stem: groups[stem] for stem in usable}, seed), skipped
    listed = read_split(path, report.stems)
    kept = {part: tuple(s for s in stems if s in usable) for part, stems in listed.items()}
    check_groups(kept, groups, path)
    unused = usable - {stem for stems in listed.values() for stem in stems}
    skipped += tuple(f"{stem}: in no part of splits.json" for stem in sorted(unused))
    return check_split(kept, usable, path), skipped


def judge(spec: DataSpec, report: Report, parts: Split) -> list[Facts]:
    """Return the facts of train and val, which must tell the same as the whole set.

    Raises:
        InvalidInput: train lacks a label, only test has colour, or masks cannot be inverted.
    """
    by_stem = {facts.pair.stem: facts for facts in report.pairs}
    seen = [by_stem[stem] for part in ("train", "val") for stem in parts[part]]
    trained = {label for stem in parts["train"] for label in by_stem[stem].labels}
    absent = sorted(set(report.labels) - trained)
    if absent or agree(seen) != report.labels:
        which = some(str(label) for label in absent or report.labels)
        raise InvalidInput(
            f"labels must all be in train, and twice in train and val, got too few of {which}; "
            "choose the parts in splits.json or another --seed"
        )
    grey = all(facts.channels == 1 for facts in seen)
    colour = [s for s in parts["test"] if by_stem[s].channels == 3]
    if grey and colour:
        raise InvalidInput(f"test must be grey like train and val, got colour in {some(colour)}")
    check_invert(spec, report.labels)
    return seen


def check_invert(spec: DataSpec, labels: tuple[int, ...]) -> None:
    """Refuse to invert masks with several foreground labels.

    Raises:
        InvalidInput: naming how many there are.
    """
    if spec.invert_masks and len(labels) > 2:
        raise InvalidInput(f"--invert-masks needs masks with 2 labels, got {len(labels)}; drop it")
