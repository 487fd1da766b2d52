"""What is known without a study: spaces, blocks, published networks; as rows and tables."""

import inspect
import re
from collections.abc import Mapping, Sequence
from itertools import groupby
from math import log10
from typing import Any

from rich.table import Table

from nas.costs import measure_costs
from nas.evaluation import Latency
from nas.tables import count, latency_text, markdown, table
from primitives.core.contract import Block, load_blocks
from search_spaces.core.space import Choice, Space

_SPACE_COLUMNS = ("space", ">dimensions", ">points", ">baselines", "source")


def space_json(space: Space) -> dict[str, Any]:
    """Return a space as plain data."""
    return {
        "name": space.name,
        "source": space.source,
        "size": space.size,
        "multiple": space.multiple,
        "ndim": space.ndim,
        "task": space.task,
        "dimensions": {
            name: {"kind": _kind(d), "values": list(d.values)}
            for name, d in space.dimensions.items()
        },
        "baselines": {name: dict(b.point) for name, b in space.baselines.items()},
    }


def space_table(spaces: Sequence[Space]) -> Table:
    """Return all spaces."""
    return table("Spaces", _SPACE_COLUMNS, map(_space_row, spaces))


def dimension_table(space: Space) -> Table:
    """Return the dimensions of a space; one row where they differ in their last number alone."""
    rows = []
    for (_, values), group in groupby(space.dimensions.items(), key=_family):
        names = [name for name, _ in group]
        last = f" ... {names[-1].rpartition('_')[2]}" if len(names) > 1 else ""
        rows.append((f"{names[0]}{last}", _kind(values), str(values)))
    title = f"{space.name}: {size_text(space)} points, sides are multiples of {space.multiple} px"
    return table(title, ("dimension", "kind", "values"), rows)


def baseline_names(space: Space) -> str:
    """Return the names of a space's published networks."""
    return f"\nbaselines: {', '.join(space.baselines)}"


def size_text(space: Space) -> str:
    """Return the number of points, an upper bound on the number of networks."""
    return str(space.size) if space.size < 1e6 else f"10^{log10(space.size):.1f}"


def readme_tables(spaces: Sequence[Space]) -> str:
    """Return the README's tables of these spaces and of the files of blocks, a line between."""
    named = [(f"`{name}`", *rest) for name, *rest in map(_space_row, spaces)]
    blocks = sorted(load_blocks().values(), key=lambda b: (b.module.__module__, b.role, b.name))
    files = [list(group) for _, group in groupby(blocks, key=lambda b: b.module.__module__)]
    columns = ("file", "blocks: their knobs", "source")
    return f"{markdown(_SPACE_COLUMNS, named)}\n\n{markdown(columns, map(_file_row, files))}"


def baseline_rows(space: Space) -> list[dict[str, Any]]:
    """Return our figures and the paper's for each published network of a space."""
    rows = []
    for name, baseline in space.baselines.items():
        arch = space.arch(baseline.point, baseline.in_channels, baseline.classes)
        costs = measure_costs(arch, baseline.size)
        row = {
            "baseline": name,
            "space": space.name,
            "params": costs.params,
            "discarded_params": baseline.discarded_params,
            "program_params": costs.params + baseline.discarded_params,
            "paper_params": baseline.params,
            "macs": costs.macs,
            "in_channels": baseline.in_channels,
            "classes": baseline.classes,
            "size": baseline.size,
            "paper_cost": baseline.cost,
            "paper_rule": baseline.rule,
            "golden": baseline.golden,
            "departures": baseline.departures,
            "source": baseline.source,
        }
        rows.append(row)
    return rows


def baseline_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Return published networks beside their papers."""
    columns = (
        "baseline",
        ">params",
        ">+ discarded",
        ">paper",
        ">macs",
        ">at side",
        ">paper's cost",
        "output checked",
        "source",
    )
    cells = (
        (
            r["baseline"],
            f"{r['params']:,}",
            f"{r['program_params']:,}",
            r["paper_params"],
            count(r["macs"]),
            str(r["size"]),
            r["paper_cost"],
            r["golden"],
            r["source"],
        )
        for r in rows
    )
    return table("Published networks", columns, cells)


def baseline_rules(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return how the figures were counted."""
    rules = sorted({r["paper_rule"] for r in rows})
    lines = [
        "\nparams: live ones; + discarded: with the heads whose output the published program drops",
        "macs: multiply-adds of convolutions and matrix products alone",
        *(f"paper's cost: {rule}" for rule in rules),
        "output checked: equal to the published program's to 1e-6",
        *(f"{r['baseline']} departs: {r['departures']}" for r in rows if r["departures"]),
    ]
    return "\n".join(lines)


def bench_table(rows: Sequence[Mapping[str, Any]], size: int) -> Table:
    """Return measured baselines."""
    columns = ("baseline", ">params", ">macs", ">MiB", ">latency ms [95 %]", ">passes")
    cells = (
        (
            r["baseline"],
            f"{r['params']:,}",
            count(r["macs"]),
            f"{r['memory_mib']:.1f}",
            latency_text(Latency.from_json(r["latency"])),
            str(r["latency"]["repeats"]),
        )
        for r in rows
    )
    return table(f"Baselines at {size} x {size} px, batch 1", columns, cells)


def rig_text(rig: Mapping[str, Any]) -> str:
    """Return a machine in one line."""
    return "\nrig: " + ", ".join(f"{k} {v}" for k, v in rig.items() if v is not None)


def _kind(dimension: object) -> str:
    return "choice" if isinstance(dimension, Choice) else "int"


def _family(item: tuple[str, Any]) -> tuple[str, Any]:
    """Return what neighbouring dimensions share if they are one setting of several stages."""
    name, dimension = item
    return re.sub(r"_\d+$", "", name), dimension


def _space_row(space: Space) -> tuple[str, ...]:
    counts = (str(len(space.dimensions)), size_text(space), str(len(space.baselines)))
    return space.name, *counts, space.source


def _file_row(blocks: Sequence[Block]) -> tuple[str, ...]:
    file = blocks[0].module.__module__.rpartition(".")[2]
    named = (f"`{b.name}`" + (f": {', '.join(b.knobs)}" if b.knobs else "") for b in blocks)
    return f"`{file}.py`", "; ".join(named), _source(blocks[0])


def _source(block: Block) -> str:
    """Return what the header of the block's file names as its source."""
    text = inspect.getdoc(inspect.getmodule(block.module)) or ""
    found = re.search(r"^Source: (.*?)\.?$(?=\n[A-Z]|\Z)", text, re.MULTILINE | re.DOTALL)
    assert found is not None, f"the file of block {block.name!r} names no source"
    return " ".join(found[1].split())
