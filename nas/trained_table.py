"""A file of networks of one space that were all trained alike: what searches can be replayed on.

Its head is the plan, which all trainings share; a line is added when a training has ended.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from nas.json_lines import Line, add_line, begin_lines, not_of, read_lines
from primitives.core.contract import Value

VERSION = 1
_COMMAND = "nas bench table"


@dataclass(frozen=True, slots=True)
class Plan:
    """What all trainings of a table share.

    Attributes:
        space: that networks are of.
        most_params: the most parameters that a network of the table may have.
        data: name of the folder.
        fingerprint: of the prepared data.
        images: of the train and of the validation part.
        channels: of the images, and classes of the masks; see `nas.prepared.Prepared`.
        size: side of the input, pixels.
        recipe: name and version.
        epochs: of a training.
        steps: of a training.
        rungs: epochs after which the settled validation loss is kept.
        most_macs: the most multiply-adds for one image; None: any number.
    """

    space: str
    most_params: int
    data: str
    fingerprint: str
    images: tuple[int, int]
    channels: tuple[int, int]
    size: int
    recipe: tuple[str, int]
    epochs: int
    steps: int
    rungs: tuple[int, ...]
    version: int = VERSION
    most_macs: int | None = None

    def allows(self, params: float, macs: float) -> bool:
        """Whether a network of such costs may be in the table."""
        return params <= self.most_params and (self.most_macs is None or macs <= self.most_macs)

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form; a limit that is not set is absent."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read the JSON form."""
        fields: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in data.items()
        }
        return cls(**fields)


@dataclass(frozen=True, slots=True)
class Entry:
    """One training.

    Attributes:
        net: number of the network.
        seed: number of the training of this network.
        origin: "published", "spread" (evenly over log-parameters), "mutated" (from a network that
            was on the front by then) or "searched" (by a live comparison).
        key: of the arch.
        point: of the space.
        params: of the network.
        macs: for one image.
        dice: best validation Dice of an epoch.
        losses: settled validation losses at the plan's rungs.
        curve: per epoch training loss, validation loss and validation Dice.
        seconds: of training and validation, on whatever machine it was.
    """

    net: int
    seed: int
    origin: str
    key: str
    point: Mapping[str, Value]
    params: int
    macs: int
    dice: float
    losses: Sequence[float]
    curve: Sequence[Sequence[float]]
    seconds: float


def read_table(path: Path) -> tuple[Plan, list[Entry]]:
    """Read a table; an unfinished last line counts as absent.

    Raises:
        InvalidInput: the file is missing, or is no table of this version.
    """
    head, lines = read_lines(path, VERSION, _COMMAND)
    try:
        return Plan.from_json(head), _entries(lines)
    except TypeError:
        raise not_of(path, _COMMAND) from None


def begin_table(path: Path, plan: Plan) -> list[Entry]:
    """Make the file, or take up one of the same plan, and return its entries.

    Raises:
        InvalidInput: the file holds another plan, or something else.
        OSError: it cannot be written.
    """
    try:
        return _entries(begin_lines(path, plan.to_json(), _COMMAND))
    except TypeError:
        raise not_of(path, _COMMAND) from None


def add_entry(path: Path, entry: Entry) -> None:
    """Add one training, on the disk when this returns.

    Raises:
        OSError: it cannot be written.
    """
    add_line(path, asdict(entry))


def by_network(entries: Sequence[Entry]) -> list[list[Entry]]:
    """Return the trainings of each network, in order of their first one."""
    found: dict[int, list[Entry]] = {}
    for entry in entries:
        found.setdefault(entry.net, []).append(entry)
    return list(found.values())


def _entries(lines: Sequence[Line]) -> list[Entry]:
    return [Entry(**line) for line in lines]
