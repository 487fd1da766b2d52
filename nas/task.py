"""What every candidate of a study shares, as the driver sends it to the processes that train."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from nas.inheritance.lineage import Parent
from nas.prepared import Prepared
from nas.settings import Study
from search_spaces.core.arch import Arch


class TrainingFailed(RuntimeError):
    """The loss left the finite numbers; training the same again would end the same."""


@dataclass(frozen=True, slots=True)
class Task:
    """What every candidate of a study shares; JSON-able, so that workers can receive it.

    Attributes:
        study: the settings.
        prepared: the data.
        weights: folder for finished weights.
        checkpoints: folder for unfinished trainings.
        timed: whether the study asks for latency.
    """

    study: Study
    prepared: Prepared
    weights: str
    checkpoints: str
    timed: bool

    def to_json(self) -> dict[str, Any]:
        """Return plain data that `from_json` reads back."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read the JSON form."""
        study, prepared = Study.from_json(data["study"]), Prepared.from_json(data["prepared"])
        return cls(study, prepared, data["weights"], data["checkpoints"], data["timed"])

    def file_stem(self, arch: Arch, parent: Parent | None = None) -> str:
        """Return the name under which the files of an arch, or of an heir, are kept."""
        key = self.study.recipe_key(self.prepared.fingerprint)
        return f"{arch.key}-{parent.key(key) if parent else key}"

    def checkpoint(self, arch: Arch, parent: Parent | None = None) -> Path:
        """Return where the last epoch of an unfinished training is kept."""
        return Path(self.checkpoints) / f"{self.file_stem(arch, parent)}.pt"
