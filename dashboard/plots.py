"""Figures of a study: fronts, hypervolume, learning curves."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from dashboard.fronts import distinct, front_figure, front_figures, hover
from dashboard.text import facts
from dashboard.theme import BLUE, GREY, ORANGE, new_figure
from nas.handle import StudyHandle
from nas.pareto import Floats, volume_shares
from nas.records import Trial

__all__ = ["curves_figure", "figures", "front_figure", "front_figures", "hypervolume_figure"]


def figures(handle: StudyHandle) -> dict[str, go.Figure]:
    """Return every figure of a study by the id that the dashboard keeps it under."""
    fronts = {f"front-{x}-{y}": figure for (x, y), figure in front_figures(handle).items()}
    return {**fronts, "hypervolume": hypervolume_figure(handle), "curves": curves_figure(handle)}


def hypervolume_figure(handle: StudyHandle) -> go.Figure:
    """Return the share of the fixed box of `nas.pareto` that is dominated after each trial."""
    names = [objective.name for objective in handle.objectives]
    trials = [t for t in distinct(handle.trials()) if t.full_budget]
    shares = _shares(trials, names)
    figure = new_figure(f"Hypervolume of {', '.join(names)}")
    gained = np.diff(shares, prepend=0) > 0
    figure.add_scatter(
        x=[t.number for t in trials],
        y=shares,
        mode="lines+markers",
        name="all trials so far",
        line={"color": BLUE, "width": 2.5, "shape": "hv"},
        marker={"size": np.where(gained, 9, 0).tolist(), "color": BLUE},
        **hover(trials, [f"share {share:.4f}" for share in shares]),
    )
    baselines = [t for t in trials if t.baseline]
    if baselines:
        figure.add_hline(
            y=_shares(baselines, names)[-1],
            line={"color": ORANGE, "width": 2, "dash": "dash"},
            annotation={"text": "published networks alone", "font": {"color": ORANGE}},
            annotation_position="bottom right",
        )
    figure.update_xaxes(title_text="trial", rangemode="tozero")
    figure.update_yaxes(title_text="share of the fixed box")
    return figure


def curves_figure(handle: StudyHandle) -> go.Figure:
    """Return validation Dice over epochs, one line per trained trial."""
    trials = handle.trials()
    front = {t.number for t in handle.front()}
    groups = {
        "trials": ([t for t in trials if not t.baseline and t.number not in front], GREY, 1.2),
        "published": ([t for t in trials if t.baseline and t.number not in front], ORANGE, 2),
        "front": ([t for t in trials if t.number in front], BLUE, 2),
    }
    figure = new_figure("Learning curves")
    for name, (members, colour, width) in groups.items():
        curve = _joined_curves(handle, members)
        if curve["x"]:
            figure.add_scatter(
                mode="lines+markers",  # a curve of one epoch has no line
                name=name,
                line={"color": colour, "width": width},
                marker={"size": 2 + 2 * width},
                hoverinfo="text",
                **curve,
            )
    figure.update_xaxes(title_text="epoch", rangemode="tozero")
    figure.update_yaxes(title_text="validation Dice")
    return figure


def _shares(trials: Sequence[Trial], names: Sequence[str]) -> Floats:
    values = np.array([[t.values[name] for name in names] for t in trials], dtype=float)
    return volume_shares(values, names)


def _joined_curves(handle: StudyHandle, trials: Sequence[Trial]) -> Mapping[str, list[Any]]:
    """Return the learning curves of trials as one line with gaps: one trace is quicker to draw."""
    x: list[float | None] = []
    y: list[float | None] = []
    text: list[str] = []
    for t in trials:
        for row in handle.store.epochs(handle.name, t.number):
            x.append(row["epoch"])
            y.append(row["dice"])
            text.append(f"{facts(t)[0]}, epoch {row['epoch']:g}: Dice {row['dice']:.4f}")
        if x and x[-1] is not None:
            x, y, text = [*x, None], [*y, None], [*text, ""]
    return {"x": x, "y": y, "hovertext": text}
