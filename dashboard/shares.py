"""Figure of a comparison of samplers: share of the best hypervolume, over trainings and time."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import plotly.graph_objects as go

from dashboard.theme import BLUE, GREEN, GREY, INK, ORANGE, SKY, new_figure
from primitives.core.errors import InvalidInput

_COLOURS = (BLUE, ORANGE, GREEN, SKY, INK, GREY)
_PICTURES = (".png", ".svg", ".pdf")


def shares_figure(found: Mapping[str, Any]) -> go.Figure:
    """Return medians over seeds as lines, quartiles as bands.

    Args:
        found: what `nas.bench.search.bench_samplers` returns.
    """
    task = found["task"]
    what = {
        "synthetic": lambda: f"noise {task['noise']:g}",
        "tabular": lambda: f"{task['trainings']} real trainings",
        "live": lambda: f"trainings on {task['data']}",
        "studies": lambda: f"studies of {task['data']}",
    }[task["name"]]()
    what += ", tight" if task["tight"] else ""
    figure = new_figure(f"Share of the best hypervolume, {what}, {len(found['seeds'])} seeds")
    figure.set_subplots(1, 2, shared_yaxes=True, horizontal_spacing=0.03)
    for number, (name, row) in enumerate(found["samplers"].items()):
        low, middle, high = row["curve"]
        trainings = list(range(1, len(middle) + 1))
        _add_run(figure, name, number, (trainings, low, middle, high), column=1)
        _add_run(figure, name, number, row["clock"], column=2)
    figure.update_xaxes(title_text="trainings", rangemode="tozero", col=1)
    figure.update_xaxes(title_text="minutes, with proposals", rangemode="tozero", col=2)
    figure.update_yaxes(title_text="share, median and quartiles", col=1)
    return figure


def _add_run(
    figure: go.Figure, name: str, number: int, curve: Sequence[Sequence[float]], *, column: int
) -> None:
    """Add the line and band of x, lower quartile, median and upper quartile."""
    x, low, middle, high = curve
    colour = _COLOURS[number % len(_COLOURS)]
    figure.add_scatter(
        x=[*x, *reversed(x)],
        y=[*high, *reversed(low)],
        fill="toself",
        fillcolor=colour,
        opacity=0.15,
        line={"width": 0},
        hoverinfo="skip",
        showlegend=False,
        legendgroup=name,
        row=1,
        col=column,
    )
    figure.add_scatter(
        x=x,
        y=middle,
        mode="lines",
        name=name,
        legendgroup=name,
        showlegend=column == 1,
        line={"color": colour, "dash": "solid" if number < len(_COLOURS) else "dash"},
        row=1,
        col=column,
    )


def write_figure(figure: go.Figure, file: Path) -> None:
    """Write a figure as a page, or as a picture where kaleido is installed.

    Raises:
        InvalidInput: the file's ending is unknown, or a picture needs kaleido.
    """
    if file.suffix == ".html":
        figure.write_html(file, include_plotlyjs="cdn")
        return
    if file.suffix not in _PICTURES:
        raise InvalidInput(f"a figure must end in .html, {', '.join(_PICTURES)}, got {file.name!r}")
    try:
        import kaleido  # noqa: F401
    except ImportError:
        raise InvalidInput(
            f"a picture such as {file.name!r} needs kaleido: pip install kaleido, or name a .html"
        ) from None
    figure.write_image(file, width=1200, height=520)
