"""A comparison of samplers as tables, from the JSON that `nas bench search` prints."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.table import Table

from nas.tables import table
from primitives.core.errors import InvalidInput


def read_found(file: Path) -> dict[str, Any]:
    """Read what `bench_samplers` returned and the command printed as JSON.

    Raises:
        InvalidInput: the file holds something else.
        OSError: it cannot be read.
    """
    try:
        found = dict(json.loads(file.read_text()))
        wanted = {"task", "seeds", "samplers", "to_match"} <= set(found)
    except (ValueError, TypeError):
        wanted = False
    if not wanted:
        raise InvalidInput(f"{file} must hold what `nas bench search --json` printed, it does not")
    return found


def search_tables(found: Mapping[str, Any]) -> list[Table]:
    """Return what `bench_samplers` found, or its JSON, as tables."""
    samplers, seeds = found["samplers"], len(found["seeds"])
    marks = list(next(iter(samplers.values()))["share"])
    shares = (
        (
            name,
            *(f"{row['share'][mark]:.3f}" for mark in marks),
            f"{row['seconds_per_proposal']:.3f}",
            str(row["infeasible"]),
            str(row["repeats"]),
            f"{row['optimism']:+.4f}" if "optimism" in row else "",
            f"{row['partly']:.0%}" if "partly" in row else "",
        )
        for name, row in samplers.items()
    )
    columns = (
        "sampler",
        *(f">{mark}" for mark in marks),
        ">s/proposal",
        ">infeasible",
        ">repeats",
        ">claims",
        ">partly",
    )
    title = f"Share of the best hypervolume over trainings, median of {seeds} seeds"
    needed = (
        (name, *(str(row[key] or "never") for key in ("median", "worst")))
        for name, row in found["to_match"].items()
    )
    matched = table(
        "Trainings of known-cost for what others end with", ("sampler", ">median", ">worst"), needed
    )
    return [table(title, columns, shares), *([matched] if found["to_match"] else [])]
