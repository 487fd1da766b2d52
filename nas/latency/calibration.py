"""A recording and its model as one JSON file, and where a store keeps such files.

    {"version": 1, "recording": {...}, "model": {...}}     "model" is absent where a device without
                                                           this project wrote the file

A store keeps them as `latency/RIG-SIZE-KEY.json`: a device's times belong to all studies, but a
study goes on with the very model that it began with, so that newer ones do not replace older ones.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nas.files import replace_file
from nas.latency.fit import fit_model
from nas.latency.measure import rig_key
from nas.latency.model import Accuracy, LatencyModel
from nas.latency.record import Recording
from primitives.core.errors import InvalidInput

VERSION = 1
_FOLDER = "latency"


@dataclass(frozen=True)
class Calibration:
    """What is known of one rig at one size of input.

    Attributes:
        recording: as plain data.
        model: fitted to it.
    """

    recording: dict[str, Any]
    model: LatencyModel

    @classmethod
    def of(cls, recording: Recording) -> "Calibration":
        """Fit a model."""
        return cls(recording.to_json(), fit_model(recording))

    @property
    def key(self) -> str:
        """12 hex digits that name the recording."""
        text = json.dumps(self.recording, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    @property
    def rig(self) -> str:
        """Key of the rig."""
        return rig_key(self.model.rig)

    def accuracy(self, space: str) -> Accuracy | None:
        """Return what it is worth for networks of a space; None if none of them were recorded."""
        return next((found for found in self.model.accuracy if found.space == space), None)

    def write(self, path: Path) -> None:
        """Write the file.

        Raises:
            OSError: it could not be written.
        """
        data = {"version": VERSION, "recording": self.recording, "model": self.model.to_json()}
        replace_file(path, (json.dumps(data) + "\n").encode())

    def keep(self, store: Path) -> Path:
        """Write the file into a store, unless it is there, and return its path."""
        folder = store / _FOLDER
        folder.mkdir(exist_ok=True)
        path = folder / f"{self.rig}-{self.model.size}-{self.key}.json"
        if not path.exists():
            self.write(path)
        return path


def read_calibration(path: Path) -> Calibration:
    """Read a file of ours, or of a device that recorded alone.

    Raises:
        InvalidInput: it cannot be read, or is none.
    """
    try:
        data = json.loads(path.read_text())
        if data["version"] != VERSION:
            raise InvalidInput(
                f"{path} must be of version {VERSION}, got {data['version']}; record it anew"
            )
        if "model" not in data:
            return Calibration.of(Recording.from_json(data["recording"]))
        return Calibration(data["recording"], LatencyModel.from_json(data["model"]))
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {str(error.strerror).lower()}") from None
    except (UnicodeDecodeError, json.JSONDecodeError, KeyError, TypeError):
        raise InvalidInput(
            f"{path} must be a file of `nas latency record`, it is not; record it anew"
        ) from None


def kept_calibration(store: Path, key: str) -> Calibration:
    """Return a calibration that a study of a store began with.

    Raises:
        InvalidInput: the store has lost it.
    """
    for path in (store / _FOLDER).glob(f"*-{key}.json"):
        return read_calibration(path)
    raise InvalidInput(f"calibration {key!r} of the study is gone from {store / _FOLDER}")


def find_calibration(store: Path, rig: str, size: int, space: str) -> Calibration | None:
    """Return the newest calibration of a rig that knows a space at a size, None without one.

    Raises:
        InvalidInput: a file of the store cannot be read.
    """
    paths = list((store / _FOLDER).glob(f"{rig}-{size}-*.json"))
    for path in sorted(paths, key=lambda p: p.stat().st_mtime_ns, reverse=True):
        found = read_calibration(path)
        if found.accuracy(space):
            return found
    return None
