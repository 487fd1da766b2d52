"""Objectives and constraints: name, direction, unit, and how each is read from an evaluation."""

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

from nas.evaluation import Evaluation
from primitives.core.errors import InvalidInput, nearest

_COUNT = {"k": 1e3, "M": 1e6, "G": 1e9}
_TIME = {"us": 1e-3, "ms": 1.0, "s": 1e3}
_SIZE = {"KiB": 2**-10, "MiB": 1.0, "GiB": 2.0**10}


@dataclass(frozen=True, slots=True)
class Objective:
    """One thing to optimise.

    Attributes:
        name: as typed at the prompt.
        direction: "maximize" or "minimize".
        unit: of the stored value, "" for counts and scores.
        units: what may stand behind a number in a constraint -> factor to `unit`; empty for scores,
            which cannot be known before training and so cannot be constraints.
        read: takes the value from an evaluation, costs also from `nas.costs.Costs`; None where it
            was not measured.
        title: for axes and table heads.
    """

    name: str
    direction: str
    unit: str
    units: Mapping[str, float]
    read: Callable[[Any], float | None]
    title: str


def _latency(evaluation: Evaluation) -> float | None:
    return evaluation.latency.latency_ms if evaluation.latency else None


OBJECTIVES: Mapping[str, Objective] = {
    o.name: o
    for o in (
        Objective("dice", "maximize", "", {}, operator.attrgetter("dice"), "Dice"),
        Objective("iou", "maximize", "", {}, operator.attrgetter("iou"), "IoU"),
        Objective("params", "minimize", "", _COUNT, operator.attrgetter("params"), "parameters"),
        Objective("macs", "minimize", "", _COUNT, operator.attrgetter("macs"), "multiply-adds"),
        Objective(
            "flops", "minimize", "", _COUNT, lambda e: 2 * e.macs, "FLOPs (2 x multiply-adds)"
        ),
        Objective("latency", "minimize", "ms", _TIME, _latency, "latency"),
        Objective(
            "memory",
            "minimize",
            "MiB",
            _SIZE,
            operator.attrgetter("memory_mib"),
            "peak activations",
        ),
    )
}


def find_objectives(names: Sequence[str]) -> tuple[Objective, ...]:
    """Return the objectives of these names, in order.

    Raises:
        InvalidInput: a name is unknown or repeated, or there are none or more than four.
    """
    if not 1 <= len(names) <= 4:
        raise InvalidInput(
            f"a study has one to four objectives, got {len(names)}: {','.join(names)!r}"
        )
    if len(set(names)) < len(names):
        raise InvalidInput(f"objectives must differ, got {','.join(names)!r}")
    return tuple(_find(name, OBJECTIVES, "objective") for name in names)


@dataclass(frozen=True, slots=True)
class Limit:
    """An upper bound on a cost, in the objective's own unit."""

    objective: Objective
    bound: float

    def excess(self, value: float) -> float:
        """Return value / bound - 1: feasible where it is 0 or less."""
        return value / self.bound - 1


def parse_limit(text: str, relation: str = "<=") -> Limit:
    """Read "params<=0.5M" (or, with relation "=", "latency=20ms").

    Raises:
        InvalidInput: it has another form, an unknown or uncostable name, no unit or a wrong one.
    """
    match = re.fullmatch(
        rf"\s*([\w-]+)\s*{re.escape(relation)}\s*([\d.eE+-]+?)\s*([a-zA-Z%]*)\s*", text
    )
    costs = {name: o for name, o in OBJECTIVES.items() if o.units}
    if match is None:
        raise InvalidInput(
            f"a constraint reads NAME{relation}NUMBER UNIT, e.g. params{relation}0.5M, got {text!r}"
        )
    name, number, unit = match.groups()
    if name in OBJECTIVES and name not in costs:
        raise InvalidInput(
            f"a constraint must be known before training: one of {', '.join(costs)}, got {name!r}"
        )
    objective = _find(name, costs, "constraint")
    if unit not in objective.units:
        problem = f"unknown unit {unit!r}" if unit else "no unit"
        units = ", ".join(objective.units)
        raise InvalidInput(f"{name} needs a unit ({units}), got {text!r} with {problem}")
    return Limit(objective, _positive(number, text) * objective.units[unit])


def _find(name: str, known: Mapping[str, Objective], what: str) -> Objective:
    if name not in known:
        raise InvalidInput(
            f"{what} must be one of {', '.join(known)}, got {name!r}{nearest(name, known)}"
        )
    return known[name]


def _positive(number: str, text: str) -> float:
    try:
        value = float(number)
    except ValueError:
        raise InvalidInput(f"a constraint needs a number, got {text!r}") from None
    if not (isfinite(value) and value > 0):
        raise InvalidInput(f"the bound of a constraint must be positive, got {text!r}")
    return value
