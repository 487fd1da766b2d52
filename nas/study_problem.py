"""What the samplers have to know of a study of ours: its space, exact costs and limits."""

import functools
from collections.abc import Callable, Mapping, Sequence, Set
from typing import Any

import numpy as np

import search_spaces
from nas.cost_table import CostTable
from nas.costs import Costs
from nas.dimensions import distributions
from nas.latency.forecast import Forecast
from nas.objectives import Limit, Objective
from nas.pareto import Floats
from nas.sampler.conditions import find_conditions
from nas.sampler.genes import Conditions
from nas.sampler.history import Curve, Results
from nas.sampler.problem import Goal, Problem
from search_spaces.core.arch import Arch
from search_spaces.core.space import Point, Space

_MEASURED = ("dice", "iou", "latency")


@functools.cache
def _conditions(space: str) -> Conditions:
    return find_conditions(search_spaces.load(space))


def study_problem(
    space: Space,
    arch_of: Callable[[Point], Arch],
    stored_costs: Callable[[Arch], Costs | None],
    costs_of: Callable[[Arch], Costs],
    objectives: Sequence[Objective],
    limits: Sequence[Limit],
    size: int,
    earlier: Results | None = None,
    curve: Curve | None = None,
    forecast: Forecast | None = None,
    inherits: bool = False,
) -> Problem:
    """Return what a study searches.

    Args:
        space: its space.
        arch_of: decodes a point for the channels of its data.
        stored_costs: returns what is known of the costs of an arch without tracing it.
        costs_of: returns the traced costs of an arch, which take a while.
        objectives: of the study.
        limits: of the study.
        size: side of the input, pixels.
        earlier: of the same space on other data, which the sampler learns from.
        curve: see `nas.sampler.problem.Problem`.
        forecast: predicts latency, which then counts as exact; a limit on it is kept up to the
            error of predictions, and learned beyond where latency is measured all the same.
        inherits: whether trials may be inherited trainings.
    """
    wanted = {o.name for o in objectives} | {limit.objective.name for limit in limits}

    def key(point: Point) -> str:
        return arch_of(point).key

    measured = [name for name in _MEASURED if not (forecast and name == "latency")]
    bounds = _bounds(limits, forecast)
    learned = [name for name in bounds if name in _MEASURED and not (forecast and forecast.final)]
    return Problem(
        space=distributions(space),
        goals=[
            Goal(None if o.name in measured else o.name, log=o.name == "latency")
            for o in objectives
        ],
        cost=_cost(arch_of, stored_costs, costs_of, wanted, size, forecast),
        limits={name: bound for name, bound in bounds.items() if name not in measured},
        measured_limits=learned,
        key=key,
        conditions=_conditions(space.name),
        dear=True,
        curve=curve,
        inherits=inherits,
        earlier=earlier,
    )


def _cost(
    arch_of: Callable[[Point], Arch],
    stored_costs: Callable[[Arch], Costs | None],
    costs_of: Callable[[Arch], Costs],
    wanted: Set[str],
    size: int,
    forecast: Forecast | None,
) -> Callable[[Sequence[Mapping[str, Any]]], Mapping[str, Floats]]:
    """Return what maps points to those of their exact costs that are wanted, and the usual ones."""
    table = CostTable(size)

    def cost_of(point: Point) -> Mapping[str, float]:
        arch = arch_of(point)
        stored = stored_costs(arch)  # those of the study's trials, when it is continued
        params, macs = (stored.params, stored.macs) if stored else table.costs(arch)
        exact: dict[str, float] = {"params": params, "macs": macs}
        if "flops" in wanted:
            exact["flops"] = 2 * macs
        if "memory" in wanted:  # no sum over blocks
            exact["memory"] = costs_of(arch).memory_mib
        if "latency" in wanted and forecast:
            exact["latency"] = forecast.ms(arch)
        return exact

    def cost(points: Sequence[Mapping[str, Any]]) -> Mapping[str, Floats]:
        rows = [cost_of(point) for point in points]
        return {name: np.array([row[name] for row in rows], dtype=float) for name in rows[0]}

    return cost


def _bounds(limits: Sequence[Limit], forecast: Forecast | None) -> dict[str, float]:
    """Return the strictest bound of each limited cost; room for the error of a prediction."""
    bounds: dict[str, float] = {}
    for limit in limits:
        name = limit.objective.name
        bounds[name] = min(limit.bound, bounds.get(name, limit.bound))
    if forecast and "latency" in bounds:
        bounds["latency"] = forecast.bound(bounds["latency"])
    return bounds
