"""One look for all figures: white, large type, colours that colour-blind readers can tell apart."""

import plotly.graph_objects as go

# Okabe and Ito's palette, and greys.
BLUE, SKY, ORANGE, GREEN = "#0072B2", "#56B4E9", "#D55E00", "#009E73"
INK, GREY, PALE = "#30343B", "#8A9099", "#E6E9ED"

_AXIS = {
    "gridcolor": PALE,
    "linecolor": GREY,
    "tickcolor": GREY,
    "ticks": "outside",
    "ticklen": 5,
    "zeroline": False,
    "showline": True,
    "title": {"font": {"size": 15}, "standoff": 10},
}
_TEMPLATE = go.layout.Template(
    layout={
        "font": {"family": "Roboto, Helvetica, Arial, sans-serif", "size": 14, "color": INK},
        "title": {"font": {"size": 18}, "x": 0.015, "xanchor": "left", "y": 0.97, "yanchor": "top"},
        "paper_bgcolor": "white",
        "plot_bgcolor": "white",
        "xaxis": _AXIS,
        "yaxis": _AXIS,
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
        "margin": {"l": 70, "r": 25, "t": 95, "b": 60},
        "hoverlabel": {"bgcolor": "white", "bordercolor": GREY, "font": {"color": INK}},
        "hovermode": "closest",
    }
)


def new_figure(title: str) -> go.Figure:
    """Return an empty figure in our look."""
    return go.Figure(layout={"template": _TEMPLATE, "title": {"text": title}})
