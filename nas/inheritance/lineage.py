"""Trainings that begin with the weights of another one: their plan, their key, what they are worth.

An inherited training is a cheap first look. It has a third of the epochs and of the peak rate (a
high peak undoes the copy for some epochs), and its scores cannot be compared with those of a full
training from scratch: it goes on where its ancestors stopped. So it never enters a front. Its trial
ends as "inherited", its values tell the sampler's model something, with the steps of the whole
lineage as an input, and where no fully trained network beats them the same point waits as a new
trial, which is trained from scratch in full.

Source: inherited children trail or match full trainings at a third of the plan where the copy keeps
the function (own experiment on 3-level U-nets); inheritance of weights in a search for a front:
Elsken, Metzen and Hutter, LEMONADE, ICLR 2019.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import ceil, log
from typing import Any, Self

from nas.evaluation import Evaluation
from nas.recipes import Recipe
from search_spaces.core.arch import Arch

_SHARE = 1 / 3  # of the epochs and of the peak rate


@dataclass(frozen=True, slots=True)
class Parent:
    """A trained network whose weights another one begins with.

    Attributes:
        arch: of the parent.
        weights: name of the file in the store's `weights` folder.
        lineage_steps: optimiser steps of it and of its ancestors.
    """

    arch: Arch
    weights: str
    lineage_steps: int

    def key(self, recipe_key: str) -> str:
        """Return what stands in the place of the recipe key for trainings that begin with it.

        The weights' name holds the parent's own recipe key, so the key stands for the lineage.
        """
        facts = f"{recipe_key}:{_SHARE:.4f}:{self.weights}"
        return hashlib.sha256(facts.encode()).hexdigest()[:12]

    def to_json(self) -> dict[str, Any]:
        """Return plain data that `from_json` reads back."""
        return {
            "arch": self.arch.to_json(),
            "weights": self.weights,
            "lineage_steps": self.lineage_steps,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read the JSON form."""
        return cls(Arch.from_json(data["arch"]), data["weights"], data["lineage_steps"])


def short_epochs(epochs: int) -> int:
    """Return the epochs of an inherited training.

    Args:
        epochs: the full budget.
    """
    return ceil(_SHARE * epochs)


def gentle(recipe: Recipe) -> Recipe:
    """Return the recipe of an inherited training."""
    return replace(recipe, lr=_SHARE * recipe.lr)


def lineage(evaluation: Evaluation) -> float:
    """Return what a model is told of a training's past: 0 of a full training from scratch.

    Of an inherited one, 1 + log(steps of the lineage / steps of a full training).
    """
    if not evaluation.parent:
        return 0.0
    full = evaluation.steps * evaluation.full_epochs / evaluation.epochs
    return 1 + log(evaluation.lineage_steps / full)
