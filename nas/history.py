"""What a sampler knows of a study: measured results by network, and points under way."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from nas.pareto import Floats

Point = Mapping[str, Any]
Key = Callable[[Point], Hashable]


@dataclass(frozen=True, slots=True)
class Results:
    """Distinct networks that have results, in order of their first one.

    Attributes:
        points: one point of each.
        values: means over measurements, one column per objective of the study.
        counts: measurements of each; equal values are one measurement that was told twice.
    """

    points: Sequence[Point]
    values: Floats
    counts: Floats


@dataclass(frozen=True, slots=True)
class History:
    """A study's trials, sorted out.

    Attributes:
        complete: with values.
        excess: points of which a measured limit is known, and value / limit - 1 of each limit.
        pending: points of running trials, without those that have results.
        known: keys of all points that were ever proposed or wait for their turn.
    """

    complete: Results
    excess: Mapping[str, Results]
    pending: Sequence[Point]
    known: frozenset[Hashable]


def read_history(study: Study, key: Key, names: Sequence[str], number: int) -> History:
    """Sort the trials of a study.

    Args:
        study: to read.
        key: of a point; equal for equal networks.
        names: of all dimensions; trials that lack one are left out.
        number: of the trial that is to be proposed, left out.
    """
    values: dict[Hashable, dict[tuple[float, ...], None]] = {}
    points: dict[Hashable, Point] = {}
    limits: dict[str, dict[Hashable, dict[tuple[float, ...], None]]] = {}
    running: dict[Hashable, Point] = {}
    for trial in study.get_trials(deepcopy=False):
        point = point_of(trial, names)
        if trial.number == number or point is None:
            continue
        this = key(point)
        points.setdefault(this, point)
        if trial.state == TrialState.COMPLETE:
            values.setdefault(this, {})[tuple(trial.values)] = None
        elif trial.state == TrialState.RUNNING:
            running[this] = point
        for name, excess in trial.constraints.items():
            limits.setdefault(name, {}).setdefault(this, {})[(excess,)] = None
    return History(
        _results(points, values, len(study.directions)),
        {name: _results(points, found, 1) for name, found in limits.items()},
        [point for this, point in running.items() if this not in values],
        frozenset(points),
    )


def point_of(trial: FrozenTrial, names: Sequence[str]) -> Point | None:
    """Return the whole point of a trial, fixed values of an enqueued one included."""
    point = {**trial.system_attrs.get("fixed_params", {}), **trial.params}
    return {name: point[name] for name in names} if set(names) <= set(point) else None


def values_of(name: str, distribution: BaseDistribution) -> Sequence[Any]:
    """Return all values of a dimension.

    Raises:
        InvalidInput: there are infinitely many.
    """
    from optuna.distributions import CategoricalDistribution, IntDistribution

    from primitives.core.errors import InvalidInput

    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices
    if isinstance(distribution, IntDistribution):
        return range(distribution.low, distribution.high + 1, distribution.step)
    raise InvalidInput(
        f"known-cost needs dimensions with a list of values, {name} has {distribution}; "
        "use suggest_int or suggest_categorical"
    )


def _results(
    points: Mapping[Hashable, Point],
    found: Mapping[Hashable, Mapping[tuple[float, ...], None]],
    columns: int,
) -> Results:
    means = [np.mean(list(measured), axis=0) for measured in found.values()]
    return Results(
        [points[key] for key in found],
        np.array(means, dtype=float).reshape(-1, columns),
        np.array([len(measured) for measured in found.values()], dtype=float),
    )
