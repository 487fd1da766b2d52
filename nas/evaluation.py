"""The measured result of one arch trained with one recipe and seed."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Latency:
    """Time of one forward pass at batch 1.

    Attributes:
        latency_ms: median.
        low_ms: lower end of the 95 % confidence interval of the median.
        high_ms: upper end.
        repeats: timed passes; 0: predicted, and the interval is that of 90 % of the predictions.
        rig: key of the machine description in the store.
    """

    latency_ms: float
    low_ms: float
    high_ms: float
    repeats: int
    rig: str

    @property
    def predicted(self) -> bool:
        """Whether it was never measured."""
        return self.repeats == 0

    def to_json(self) -> dict[str, Any]:
        """Return plain data that `from_json` reads back."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read the JSON form."""
        return cls(**data)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What a trial measured.

    Attributes:
        arch_key: of the arch.
        dice: mean per-image Dice on the validation images at the best epoch, 0 to 1.
        iou: mean per-image intersection over union at that epoch.
        dice_per_class: of each foreground label at that epoch, mean over the images that have it;
            () for one foreground class, and for what older versions measured.
        params: learned parameters.
        macs: multiply-adds for one image.
        memory_mib: peak activation memory for one image.
        latency: time of one image, if the study asks for it.
        epochs: trained.
        full_epochs: the full budget; only what reached it can enter a front.
        best_epoch: counted from 1.
        steps: optimiser steps taken.
        train_seconds: wall time of training and validation.
        seed: of the training.
        weights: name of the file in the store's `weights` folder.
        parent: that of the network whose weights the training began with, "" if it began anew; an
            inherited training is none with the full budget.
        ancestor_steps: optimiser steps behind the parent's weights.
    """

    arch_key: str
    dice: float
    iou: float
    params: int
    macs: int
    memory_mib: float
    latency: Latency | None
    epochs: int
    full_epochs: int
    best_epoch: int
    steps: int
    train_seconds: float
    seed: int
    weights: str
    dice_per_class: tuple[float, ...] = ()
    parent: str = ""
    ancestor_steps: int = 0

    @property
    def full_budget(self) -> bool:
        """Whether the arch was trained from scratch to the end of its budget."""
        return self.epochs >= self.full_epochs and not self.parent

    @property
    def lineage_steps(self) -> int:
        """Optimiser steps behind the weights."""
        return self.steps + self.ancestor_steps

    def to_json(self) -> dict[str, Any]:
        """Return plain data that `from_json` reads back."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read the JSON form."""
        latency = Latency.from_json(data["latency"]) if data["latency"] else None
        per_class = tuple(data.get("dice_per_class", ()))
        return cls(**{**data, "latency": latency, "dice_per_class": per_class})
