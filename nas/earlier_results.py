"""What was trained before on other data, for a sampler to learn from: a study, or a table."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean

import numpy as np

from nas.handle import StudyHandle
from nas.objectives import Objective
from nas.sampler.history import Results, read_history
from nas.store import Store
from nas.trained_table import Entry, by_network, read_table
from search_spaces.core.arch import Arch
from search_spaces.core.space import Point, Space


def is_table(start: str) -> bool:
    """Whether `Study.warm_start` is a file of `nas bench table`; no study's name is a path."""
    return Path(start).is_absolute()


def earlier_results(
    start: str,
    store: Store,
    space: Space,
    objectives: Sequence[Objective],
    arch_of: Callable[[Point], Arch],
) -> Results | None:
    """Return what a search learns from, one column per objective; not a number where it lacks one.

    Args:
        start: `Study.warm_start` of the search.
        store: that holds it.
        space: that it searches.
        objectives: of it.
        arch_of: decodes a point.

    Raises:
        InvalidInput: a table is gone, or is none any more.
    """
    if not start:
        return None
    if is_table(start):
        return results_of_table(read_table(Path(start))[1], objectives)
    study, dimensions = StudyHandle(store, start), list(space.dimensions)
    found = read_history(study.optuna_study, lambda p: arch_of(p).key, dimensions, -1).complete
    values = np.full((len(found.points), len(objectives)), np.nan)
    for i, objective in enumerate(objectives):
        if objective.name in study.settings.objectives:
            values[:, i] = found.values[:, study.settings.objectives.index(objective.name)]
    return replace(found, values=values)


def results_of_table(entries: Sequence[Entry], objectives: Sequence[Objective]) -> Results:
    """Return the mean Dice of a table's networks, one column per objective; others not a number.

    Args:
        entries: of the table.
        objectives: of the search that begins.
    """
    nets = by_network(entries)
    values = np.full((len(nets), len(objectives)), np.nan)
    for i, objective in enumerate(objectives):
        if objective.name == "dice":
            values[:, i] = [mean(entry.dice for entry in net) for net in nets]
    counts = np.array([len(net) for net in nets], dtype=float)
    return Results([net[0].point for net in nets], values, counts)
