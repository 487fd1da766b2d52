"""Figures of fronts: every candidate of a study in the plane of two objectives."""

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
import plotly.graph_objects as go

from dashboard.text import facts, short_name, show, value_of
from dashboard.theme import BLUE, GREY, INK, ORANGE, SKY, new_figure
from nas.handle import StudyHandle
from nas.objectives import Limit, Objective
from nas.pareto import front_mask
from nas.records import Trial
from primitives.core.errors import InvalidInput

_AXIS_ORDER = ("params", "macs", "flops", "memory", "latency", "dice", "iou")  # sideways first
_BEYOND = 4  # how far beyond the trained ones infeasible candidates are shown without zooming out
_MARGIN = 1.3  # between the outermost candidates and the frame, both factors of a cost


def front_figures(handle: StudyHandle) -> dict[tuple[str, str], go.Figure]:
    """Return the front of each pair of objectives, costs sideways and scores upwards."""
    trials, front = handle.trials(), handle.front()
    ordered = sorted(handle.objectives, key=lambda o: _AXIS_ORDER.index(o.name))
    return {
        (x.name, y.name): _front_figure(handle, trials, front, x, y)
        for x, y in combinations(ordered, 2)
    }


def front_figure(handle: StudyHandle, x: str, y: str) -> go.Figure:
    """Return the candidates of a study in the plane of two objectives.

    The front over all objectives stands out; the line joins the front of these two alone.

    Args:
        handle: the study.
        x: objective along the x axis.
        y: objective along the y axis.

    Raises:
        InvalidInput: the study does not have these objectives.
    """
    known = {objective.name: objective for objective in handle.objectives}
    for name in (x, y):
        if name not in known:
            raise InvalidInput(f"objective must be one of {', '.join(known)}, got {name!r}")
    return _front_figure(handle, handle.trials(), handle.front(), known[x], known[y])


def distinct(trials: Sequence[Trial]) -> list[Trial]:
    """Return the first trained trial of each arch."""
    found: dict[str, Trial] = {}
    for t in trials:
        if t.state in ("complete", "reused") and t.arch:
            found.setdefault(t.arch.key, t)
    return list(found.values())


def hover(trials: Sequence[Trial], more: Sequence[str] = ()) -> dict[str, Any]:
    """Return what a trace shows under the pointer: the facts of each trial, and one line more."""
    extra = [[line] for line in more] or [[]] * len(trials)
    texts = ["<br>".join([*facts(t), *lines]) for t, lines in zip(trials, extra, strict=True)]
    return {"hovertext": texts, "hoverinfo": "text"}


def _front_figure(
    handle: StudyHandle, trials: Sequence[Trial], front: Sequence[Trial], x: Objective, y: Objective
) -> go.Figure:
    figure = new_figure(f"Front: {y.title} over {x.title}")
    on_front = {t.number for t in front}
    trained = distinct(trials)
    infeasible = [t for t in trials if t.state == "infeasible"]
    _add(figure, infeasible, x, y, "infeasible", symbol="x-thin-open", color=GREY, size=8)
    stopped = [t for t in trials if t.state == "stopped"]
    _add(figure, stopped, x, y, "stopped", symbol="circle-open", color=SKY, size=8)
    inherited = [t for t in trials if t.state == "inherited"]
    _add(figure, inherited, x, y, "inherited", symbol="diamond-open", color=SKY, size=8)
    beaten = [t for t in trained if t.number not in on_front]
    _add(figure, beaten, x, y, "beaten", symbol="circle", color=SKY, size=8)
    _add_step_line(figure, [t for t in trained if t.full_budget], x, y)
    best = [t for t in trained if t.number in on_front]
    _add(figure, best, x, y, "front", symbol="circle", color=BLUE, size=11)
    space = handle.settings.space
    _add_baselines(figure, trials, x, y, space)
    _add_rug(figure, infeasible, x, y, space)
    _style_axis(figure.layout.xaxis, x, trials, handle.limits)
    _style_axis(figure.layout.yaxis, y, trials, handle.limits)
    for limit in handle.limits:
        if limit.objective.name == x.name:
            _add_limit(figure, limit)
    return figure


def _known(trials: Sequence[Trial], *axes: Objective) -> list[Trial]:
    return [t for t in trials if all(value_of(t, axis) is not None for axis in axes)]


def _add(
    figure: go.Figure,
    trials: Sequence[Trial],
    x: Objective,
    y: Objective,
    name: str,
    **marker: Any,
) -> None:
    known = _known(trials, x, y)
    if known:
        figure.add_scatter(
            x=[value_of(t, x) for t in known],
            y=[value_of(t, y) for t in known],
            mode="markers",
            name=name,
            marker={**marker, "line": {"width": 1.5}} if "open" in marker["symbol"] else marker,
            **hover(known),
        )


def _add_step_line(figure: go.Figure, trials: Sequence[Trial], x: Objective, y: Objective) -> None:
    if not trials:
        return
    values = np.array([[t.values[x.name], t.values[y.name]] for t in trials])
    ends = values[front_mask(values, (x.direction, y.direction))]
    ends = ends[ends[:, 0].argsort()]
    figure.add_scatter(
        x=ends[:, 0],
        y=ends[:, 1],
        mode="lines",
        name="front of the two",
        # Between two members the worse one holds until the better one's cost is paid.
        line={
            "color": BLUE,
            "width": 1.5,
            "shape": "hv" if x.direction == "minimize" else "vh",
        },
        hoverinfo="skip",
        showlegend=False,
    )


def _add_baselines(
    figure: go.Figure, trials: Sequence[Trial], x: Objective, y: Objective, space: str
) -> None:
    known = _known([t for t in trials if t.baseline and t.state != "running"], x, y)
    if known:
        figure.add_scatter(
            x=[value_of(t, x) for t in known],
            y=[value_of(t, y) for t in known],
            text=[short_name(str(t.baseline), space) for t in known],
            mode="markers+text",
            name="published",
            textposition="bottom right",
            textfont={"color": ORANGE},
            marker={
                "symbol": "diamond-open",
                "size": 15,
                "color": ORANGE,
                "line": {"width": 2},
            },
            **hover(known),
        )


def _add_rug(
    figure: go.Figure, infeasible: Sequence[Trial], x: Objective, y: Objective, space: str
) -> None:
    """Show along the x axis what was never trained, in a strip of its own."""
    known = [t for t in _known(infeasible, x) if value_of(t, y) is None]
    if not known:
        return
    figure.add_scatter(
        x=[value_of(t, x) for t in known],
        y=[-0.6] * len(known),
        text=[short_name(t.baseline, space) if t.baseline else "" for t in known],
        mode="markers+text",
        name="infeasible",
        textposition="top center",
        textfont={"color": GREY},
        marker={"symbol": "line-ns-open", "size": 12, "color": GREY, "line": {"width": 1.5}},
        yaxis="y2",
        **hover(known),
    )
    strip = {"domain": [0, 0.13], "visible": False, "range": [-1, 1], "fixedrange": True}
    figure.update_layout(yaxis={"domain": [0.16, 1]}, yaxis2=strip, xaxis={"anchor": "y2"})


def _style_axis(
    axis: Any, objective: Objective, trials: Sequence[Trial], limits: Sequence[Limit]
) -> None:
    """Scale costs by decades, over what was trained and a little of what was too large."""
    unit = f" ({objective.unit})" if objective.unit else ""
    axis.title.text = objective.title + unit
    values = {t.number: value for t in trials if (value := value_of(t, objective))}
    if not objective.units or not values:
        return
    bounds = [limit.bound for limit in limits if limit.objective.name == objective.name]
    trained = [values[t.number] for t in trials if t.evaluation and t.number in values]
    inner = [*trained, *bounds] or list(values.values())
    low, high = min(inner), min(max(values.values()), _BEYOND * max(inner))
    ends = np.log10([low / _MARGIN, max(high, *inner) * _MARGIN])
    axis.type = "log"
    axis.range = ends.tolist()
    # Plotly would print bare digits between the decades.
    decades = range(int(ends[0]) - 2, int(ends[1]) + 3)
    axis.tickvals = [digit * 10.0**decade for decade in decades for digit in (1, 2, 5)]
    axis.ticktext = [
        show(value, objective).removesuffix(f" {objective.unit}") for value in axis.tickvals
    ]


def _add_limit(figure: go.Figure, limit: Limit) -> None:
    figure.add_vline(x=limit.bound, line={"color": INK, "width": 1.2, "dash": "dot"})
    figure.add_annotation(
        text=f"limit {show(limit.bound, limit.objective)}",
        x=np.log10(limit.bound),  # where annotations stand on a logarithmic axis
        y=1,
        yref="paper",
        xanchor="left",
        yanchor="top",
        showarrow=False,
        font={"size": 12},
    )
