"""What the user chose as data, and what became of it: two JSON-able values."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from nas.splits import Split
from primitives.core.errors import InvalidInput

FITS = ("resize", "crop")
SHORTEST = 32  # side of the network input, pixels


@dataclass(frozen=True, slots=True)
class DataSpec:
    """The data a user chose.

    Args:
        source: "phantom" or the absolute path of a folder with `images/` and `masks/`.
        size: side of the network input, pixels or voxels.
        fit: "resize" the whole picture to `size`, or "crop" windows of it at random, as volumes
            need.
        invert_masks: the class of interest is stored as 0.
        skip_bad: leave bad files out instead of refusing them.

    Raises:
        InvalidInput: a value is out of range, or phantom is asked for crops or inverted masks.
    """

    source: str
    size: int
    fit: str = "resize"
    invert_masks: bool = False
    skip_bad: bool = False

    def __post_init__(self) -> None:
        if self.size < SHORTEST:
            raise InvalidInput(f"size must be at least {SHORTEST} pixels, got {self.size}")
        if self.fit not in FITS:
            raise InvalidInput(f"fit must be one of {', '.join(FITS)}, got {self.fit!r}")
        if self.source != "phantom":
            if not Path(self.source).is_absolute():
                raise InvalidInput(f"data must be 'phantom' or a full path, got {self.source!r}")
        elif self.fit == "crop":
            raise InvalidInput("phantom is made at --size, so there is nothing to crop; drop --fit")
        elif self.invert_masks:
            raise InvalidInput("phantom stores its lesions as 1; drop --invert-masks")


@dataclass(frozen=True, slots=True)
class Prepared:
    """Data that are checked, split and cached; stored with the study and sent to workers.

    Args:
        cache: path of the file with the train and val pixels.
        fingerprint: 12 hex digits over names and content of train and val, and their encoding.
        in_channels: 1 if every train and val image is grey, else 3.
        classes: 1 for binary masks (sigmoid), else the number of labels with background (softmax).
        size: side of the network input, pixels or voxels.
        fit: "resize" or "crop".
        mean: per channel over the train images, scaled to [0, 1]; 0 for volumes, each of which is
            standardised by its own.
        std: likewise; 1 for volumes.
        split: stems of "train", "val" and "test".
        skipped: one line for each file left out.
        deep: images keep more than 8 bits.
        ndim: 2 for images, 3 for volumes.
        spacing: to which volumes are resampled, mm along depth, height and width: the median of
            the train part; () for images.
    """

    cache: str
    fingerprint: str
    in_channels: int
    classes: int
    size: int
    fit: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    split: Split
    skipped: tuple[str, ...]
    deep: bool
    ndim: int = 2
    spacing: tuple[float, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read what `to_json` gave, also after a round trip through text."""
        lists = {name: tuple(data.get(name, ())) for name in ("mean", "std", "skipped", "spacing")}
        split = {part: tuple(stems) for part, stems in data["split"].items()}
        return cls(**{**data, **lists, "split": split})
