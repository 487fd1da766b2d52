"""What a sampler knows of a study: results by network, and points that are under way."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from nas.pareto import Floats

INHERITED = "inherited"  # attribute of a trial: values of an inherited training, and its lineage

Point = Mapping[str, Any]
Curve = Callable[[Mapping[str, Any]], Sequence[float]]
Measured = dict[Hashable, dict[tuple[float, ...], None]]  # distinct values of each key, in order


@dataclass(frozen=True, slots=True)
class Results:
    """Distinct networks that have results, in order of their first one.

    Attributes:
        points: one point of each.
        values: means over measurements.
        counts: measurements of each; equal values are one measurement that was told twice.

    Shape: n points, (n, columns), (n,)
    """

    points: Sequence[Point]
    values: Floats
    counts: Floats


@dataclass(frozen=True, slots=True)
class Curves:
    """Distinct networks with results, in their order, and then those that only reached a rung.

    Attributes:
        points: one point of each.
        losses: validation losses at the rungs, not a number where a network did not get to.

    Shape: n points, (n, rungs)
    """

    points: Sequence[Point]
    losses: Floats


@dataclass(frozen=True, slots=True)
class History:
    """A study's trials, sorted out.

    Attributes:
        complete: one column per objective.
        excess: name of each constraint -> its values, one column.
        pending: points of running trials, without those that have results.
        known: keys of all points that were ever proposed or wait for their turn.
        curves: what trainings showed before their end; None where there are no rungs.
        told: `complete`, and inherited trainings as rows of their own, in order of their trials.
        lineage: of each row of `told`; see `nas.inheritance.lineage.lineage`.
    """

    complete: Results
    excess: Mapping[str, Results]
    pending: Sequence[Point]
    known: frozenset[Hashable]
    told: Results
    lineage: Floats
    curves: Curves | None = None


def read_history(
    study: Study,
    key: Callable[[Point], Hashable],
    names: Sequence[str],
    number: int,
    curve: Curve | None = None,
) -> History:
    """Sort the trials of a study.

    Args:
        study: to read.
        key: of a point; equal for equal networks.
        names: of all dimensions; trials that lack one are left out.
        number: of the trial that is to be proposed, left out.
        curve: see `problem.Problem`.
    """
    points: dict[Hashable, Point] = {}
    values: Measured = {}
    limits: dict[str, Measured] = {}
    running: dict[Hashable, Point] = {}
    seen: dict[Hashable, Sequence[float]] = {}
    told: dict[tuple[Hashable, float], dict[tuple[float, ...], None]] = {}
    for trial in study.get_trials(deepcopy=False):
        point = point_of(trial, names)
        if trial.number == number or point is None:
            continue
        this = key(point)
        points.setdefault(this, point)
        if trial.state == TrialState.COMPLETE:
            values.setdefault(this, {})[tuple(trial.values)] = None
            told.setdefault((this, 0.0), {})[tuple(trial.values)] = None
        elif INHERITED in trial.user_attrs:
            found = trial.user_attrs[INHERITED]
            told.setdefault((this, found["lineage"]), {})[tuple(found["values"])] = None
        elif trial.state == TrialState.RUNNING:
            running[this] = point
        if curve and np.isfinite(losses := curve(trial.user_attrs)).any():
            seen[this] = losses
        for name, excess in trial.constraints.items():
            limits.setdefault(name, {}).setdefault(this, {})[(excess,)] = None
    return History(
        _results(points, values, len(study.directions)),
        {name: _results(points, found, 1) for name, found in limits.items()},
        [point for this, point in running.items() if this not in values],
        frozenset(points),
        _results({row: points[row[0]] for row in told}, told, len(study.directions)),
        np.array([lineage for _, lineage in told], dtype=float),
        _curves(points, values, seen, len(curve({}))) if curve else None,
    )


def point_of(trial: FrozenTrial, names: Sequence[str]) -> Point | None:
    """Return the whole point of a trial, fixed values of an enqueued one included."""
    point = {**trial.system_attrs.get("fixed_params", {}), **trial.params}
    return {name: point[name] for name in names} if set(names) <= set(point) else None


def _curves(
    points: Mapping[Hashable, Point],
    complete: Measured,
    seen: Mapping[Hashable, Sequence[float]],
    rungs: int,
) -> Curves:
    keys = [*complete, *(key for key in seen if key not in complete)]
    losses = np.array([seen.get(key, [np.nan] * rungs) for key in keys], dtype=float)
    return Curves([points[key] for key in keys], losses.reshape(-1, rungs))


def _results(points: Mapping[Any, Point], found: Mapping[Any, Any], columns: int) -> Results:
    means = [np.mean(list(measured), axis=0) for measured in found.values()]
    return Results(
        [points[key] for key in found],
        np.array(means, dtype=float).reshape(-1, columns),
        np.array([len(measured) for measured in found.values()], dtype=float),
    )
