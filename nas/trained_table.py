"""A file of networks of one space that were all trained alike: what searches can be replayed on.

One JSON object a line: first the plan, which all trainings share, then one line for each training,
added when it has ended. A line that a killed writer left unfinished is dropped by the next one.
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from primitives.core.contract import Value
from primitives.core.errors import InvalidInput

VERSION = 1


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
    try:
        text = path.read_text()
        first, *lines = text[: text.rfind("\n") + 1].splitlines()
        head = json.loads(first)
        if (version := head.get("version")) != VERSION:
            raise InvalidInput(f"{path} must be of version {VERSION}, got {version}; build it anew")
        return Plan.from_json(head), [Entry(**json.loads(line)) for line in lines]
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {str(error.strerror).lower()}") from None
    except (ValueError, TypeError, AttributeError) as error:
        if isinstance(error, InvalidInput):
            raise
        raise InvalidInput(
            f"{path} must be a file of `nas bench table`, it is not; name another file"
        ) from None


def begin_table(path: Path, plan: Plan) -> list[Entry]:
    """Make the file, or take up one of the same plan, and return its entries.

    Raises:
        InvalidInput: the file holds another plan, or something else.
        OSError: it cannot be written.
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        _append(path, asdict(plan))
        return []
    found, entries = read_table(path)
    if found != plan:
        theirs, ours = asdict(found), asdict(plan)
        changed = [f"{k}={theirs[k]!r}, got {k}={ours[k]!r}" for k in ours if ours[k] != theirs[k]]
        raise InvalidInput(f"{path} was made with {'; '.join(changed)}; name another file")
    whole = path.read_bytes()
    if not whole.endswith(b"\n"):
        os.truncate(path, whole.rfind(b"\n") + 1)
    return entries


def add_entry(path: Path, entry: Entry) -> None:
    """Add one training, on the disk when this returns.

    Raises:
        OSError: it cannot be written.
    """
    _append(path, asdict(entry))


def _append(path: Path, value: Mapping[str, Any]) -> None:
    with path.open("a") as file:
        file.write(json.dumps(value, separators=(",", ":")) + "\n")
        file.flush()
        os.fsync(file.fileno())
