"""A comparison of samplers as tables, from the JSON that `nas bench search` prints."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.table import Table

from nas.tables import table
from primitives.core.errors import InvalidInput

Rows = Mapping[str, Mapping[str, Any]]  # of methods


def read_found(file: Path) -> dict[str, Any]:
    """Read what `bench_samplers` returned and the command printed as JSON.

    Raises:
        InvalidInput: the file holds something else.
        OSError: it cannot be read.
    """
    try:
        found = dict(json.loads(file.read_text()))
        wanted = {"task", "seeds", "samplers", "to_match"} <= set(found)
        wanted = wanted and all("clock" in row for row in found["samplers"].values())
    except (ValueError, TypeError, AttributeError):
        wanted = False
    if not wanted:
        raise InvalidInput(f"{file} must hold what `nas bench search --json` printed, it does not")
    return found


def search_tables(found: Mapping[str, Any]) -> list[Table]:
    """Return what `bench_samplers` found, or its JSON, as tables."""
    title = f"Share of the best hypervolume over {{}}, median of {len(found['seeds'])} seeds"
    tables = [_over_trainings(found["samplers"], title.format("trainings"))]
    if any(row["minutes"] for row in found["samplers"].values()):
        tables.append(_over_minutes(found["samplers"], title.format("minutes, with proposals")))
    if found["to_match"]:
        tables.append(_matched(found["to_match"]))
    return tables


def _over_trainings(samplers: Rows, title: str) -> Table:
    marks = list(next(iter(samplers.values()))["share"])
    shares = (
        (
            name,
            *(f"{row['share'][mark]:.3f}" for mark in marks),
            "" if (took := row["seconds_per_proposal"]) is None else f"{took:.3f}",
            str(row["infeasible"]),
            str(row["repeats"]),
            f"{row['optimism']:+.4f}",
            f"{row['partly']:.0%}",
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
    return table(title, columns, shares)


def _over_minutes(samplers: Rows, title: str) -> Table:
    marks = sorted({mark for row in samplers.values() for mark in row["minutes"]}, key=int)
    shares = (
        (name, *(f"{row['minutes'][m]:.3f}" if m in row["minutes"] else "" for m in marks))
        for name, row in samplers.items()
    )
    return table(title, ("sampler", *(f">{mark}" for mark in marks)), shares)


def _matched(opponents: Rows) -> Table:
    keys = ("median", "worst", "minutes", "faster")
    needed = (
        (name, *("never" if row[key] is None else f"{row[key]:.3g}" for key in keys))
        for name, row in opponents.items()
    )
    columns = ("sampler", ">median", ">worst", ">minutes", ">times faster")
    return table("What known-cost needs for what others end with", columns, needed)
