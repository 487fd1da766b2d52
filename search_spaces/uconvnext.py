"""UConvNeXt as a space: kernels, expansion, norms and shortcut of DS blocks, and all of LFWF."""

from collections.abc import Mapping

from primitives.core.contract import Value
from primitives.uconvnext import InvertedDepthwise, LFWFPerceptron
from search_spaces.core.arch import Arch
from search_spaces.core.space import Baseline, Choice, Int, Point, Space
from search_spaces.nets.uconvnext import PLACES, uconvnext

_DS = {k: v for k, v in InvertedDepthwise.knobs.items() if k != "kernel"}
_LFWF = LFWFPerceptron.knobs

DIMENSIONS: Mapping[str, Choice | Int] = {
    "width": Choice(16, 8, 12, 24, 32, 64),
    "growth": Choice("1-2-4-8-16", "1-2-4-6-10", "1-2-4-6-8", "1-2-3-4-6", "1-1-2-2-4"),
    **{f"kernel_{i}": Choice(*InvertedDepthwise.knobs["kernel"]) for i in range(1, 6)},
    **{knob: Choice(*values) for knob, values in _DS.items()},
    **{f"mlp_at_{place}": Choice(place in ("e4", "e5", "d4"), place not in ("e4", "e5", "d4"))
       for place in PLACES},
    **{knob: Choice(*values) for knob, values in _LFWF.items()},
    "skip": Choice("add", "concat-project", "gag", "ag"),
}  # fmt: skip


def decode(point: Point) -> Arch:
    """Return the arch of a point."""
    return uconvnext(
        [int(point["width"]) * int(factor) for factor in str(point["growth"]).split("-")],
        kernels=[int(point[f"kernel_{i}"]) for i in range(1, 6)],
        places=[place for place in PLACES if point[f"mlp_at_{place}"]],
        skip=str(point["skip"]),
        ds={knob: point[knob] for knob in _DS},
        **{knob: point[knob] for knob in _LFWF},
    )


_BASE: Point = {name: dimension.values[0] for name, dimension in DIMENSIONS.items()}
_RULE = "multiply-adds of thop at 512x512"
_NONE: dict[str, Value] = {f"mlp_at_{place}": False for place in PLACES}
_SCALE: dict[str, Value] = {"mlp": 3, "projection": True, "fusion": "pooled"}


def _named(
    changes: Point,
    source: str,
    params: str,
    cost: str = "-",
    *,
    seed: bool = False,
    departures: str = "",
) -> Baseline:
    return Baseline(
        {**_BASE, **changes},
        source,
        params,
        cost,
        _RULE,
        seed=seed,
        size=512,
        golden="no official code",
        departures=departures,
    )


_NEAR = "the counts of this row are not reproduced to the digit"

SPACE = Space(
    name="uconvnext",
    source="UConvNeXt (BSPC 98, 2024, 106726)",
    dimensions=DIMENSIONS,
    decode=decode,
    multiple=32,
    baselines={
        "uconvnext": _named({}, "Tables 2, 7", "1.76M", "2.44G", seed=True),
        "uconvnext-s": _named(
            {"width": 8, **_SCALE},
            "Table 7, scale variant",
            "0.48M",
            "0.81G",
            seed=True,
            departures=_NEAR,
        ),
        "uconvnext-scale": _named(
            _SCALE, "Table 7, scale variant", "1.76M", "2.44G", departures=_NEAR
        ),
        "uconvnext-l": _named({"width": 32, **_SCALE}, "Table 7, scale variant", "6.44M", "7.61G"),
        "uconvnext-xl": _named(
            {"width": 64, **_SCALE}, "Table 7, scale variant", "25.37M", "27.01G"
        ),
        "uconvnext-no-shift": _named({"shift": "none"}, "Table 6", "1.76M"),
        "uconvnext-no-restore": _named({"shift": "shift"}, "Table 6", "1.76M"),
        "uconvnext-hw": _named({"branches": "hw"}, "Table 6", "1.64M", departures=_NEAR),
        "uconvnext-k5": _named(
            {f"kernel_{i}": 5 for i in range(1, 6)}, "Table 6", "1.71M", departures=_NEAR
        ),
        "uconvnext-ds": _named(
            _NONE, "Table 6", "0.68M", seed=True, departures=f"{_NEAR}; the published repository"
        ),
    },
)
