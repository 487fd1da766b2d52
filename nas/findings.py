"""What checking a folder of data told: pairs, facts of each, bad files; values that print."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from primitives.core.errors import InvalidInput


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
    """What decoding a pair told: sizes in pixels, bits per value, pixels per label value.

    `depth` in voxels and `spacing` in mm along depth, height and width are those of volumes.
    """

    pair: Pair
    height: int
    width: int
    channels: int
    bits: int
    labels: dict[int, int]
    digest: str  # of the decoded image
    depth: int = 0
    spacing: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """Result of `check_folder`.

    Args:
        folder: the folder.
        pairs: usable pairs, by stem.
        bad: the other files, by path.
        labels: label values of the set, background first: (0, 1), (0, 255), (0, 65535) or 0..K-1.
        stems: every stem in `images` and `masks`, usable or not.
        empty: usable volumes whose mask is empty, which is worth a look.
    """

    folder: Path
    pairs: tuple[Facts, ...]
    bad: tuple[BadFile, ...]
    labels: tuple[int, ...]
    stems: frozenset[str]
    empty: tuple[BadFile, ...] = ()

    @property
    def volumes(self) -> bool:
        """Whether the pairs are volumes."""
        return any(facts.spacing for facts in self.pairs)

    def summary(self) -> dict[str, Any]:
        """Count sizes, channels, bits and the pixel share of each label over the usable pairs."""
        pixels: Counter[int] = Counter()
        for facts in self.pairs:
            pixels.update(facts.labels)
        if self.volumes:
            return self._summary_of_volumes(pixels)
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
        if self.volumes:
            low, high = (_by(facts[name]) for name in ("smallest", "largest"))
            near, far = (_by(facts[name]) for name in ("finest_mm", "coarsest_mm"))
            shares = facts["label_share"].items()
            lines += [
                *(f"warning: {file}" for file in self.empty),
                f"size: {low} to {high} voxels, spacing {near} to {far} mm",
                *(f"label {k}: {share:.1%} of the voxels" for k, share in shares),
            ]
        elif self.pairs:
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
        bad, empty = (
            [{"path": file.path, "reason": file.reason} for file in files]
            for files in (self.bad, self.empty)
        )
        warnings = {"warnings": empty} if self.volumes else {}
        return {"folder": str(self.folder), **self.summary(), "bad_files": bad, **warnings}

    def _summary_of_volumes(self, voxels: Counter[int]) -> dict[str, Any]:
        """Give sides and spacings along depth (left-right), height (back-front) and width (up)."""
        sides = list(zip(*((f.depth, f.height, f.width) for f in self.pairs), strict=True))
        spacings = list(zip(*(f.spacing for f in self.pairs), strict=True))
        return {
            "usable": len(self.pairs),
            "bad": len(self.bad),
            "smallest": [min(values) for values in sides],
            "largest": [max(values) for values in sides],
            "finest_mm": [min(values) for values in spacings],
            "coarsest_mm": [max(values) for values in spacings],
            "label_share": {str(k): voxels[k] / voxels.total() for k in self.labels},
        }


def _by(values: Iterable[float]) -> str:
    return "x".join(f"{value:.3g}" for value in values)
