"""Tables and numbers as text, for the terminal and for pipes."""

import sys
from collections.abc import Iterable

from rich.console import Console, RenderableType
from rich.table import Table

from nas.evaluation import Latency

_PIPE = 1000  # columns; a pipe gets one line for each row, however long


def print_tables(*parts: RenderableType, stderr: bool = False) -> None:
    """Print tables and texts as wide as the terminal, or unfolded into a pipe."""
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else _PIPE
    console = Console(file=stream, highlight=False, markup=False, emoji=False, width=width)
    with console.capture() as captured:
        for part in parts:
            console.print(part)
    stream.write("".join(f"{line.rstrip()}\n" for line in captured.get().splitlines()))


def table(title: str, columns: Iterable[str], rows: Iterable[Iterable[str]]) -> Table:
    """Return a table; columns whose name starts with '>' hold numbers and are never folded."""
    made = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        box=None,
        pad_edge=False,
        padding=(0, 2, 0, 0),
    )
    for column in columns:
        name = column.removeprefix(">")
        number = column != name
        made.add_column(
            name, justify="right" if number else "left", no_wrap=number, overflow="fold"
        )
    for row in rows:
        made.add_row(*row)
    return made


def markdown(columns: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a table for the README, with the same rule for names of columns."""
    names = list(columns)
    lines = [
        f"| {' | '.join(n.removeprefix('>') for n in names)} |",
        f"|{'|'.join('---:' if n.startswith('>') else '---' for n in names)}|",
        *(f"| {' | '.join(row)} |" for row in rows),
    ]
    return "\n".join(lines)


def count(value: float | None) -> str:
    """Return a plain count with a suffix, e.g. 315.5k."""
    if value is None:
        return "-"
    for factor, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= factor:
            return f"{value / factor:.4g}{suffix}"
    return f"{value:.4g}"


def latency_text(latency: Latency | None) -> str:
    """Return the median with its 95 % interval, or "~" and a prediction with its 90 % interval."""
    if latency is None:
        return "-"
    sign = "~" if latency.predicted else ""
    return f"{sign}{latency.latency_ms:.3g} [{latency.low_ms:.3g}, {latency.high_ms:.3g}]"
