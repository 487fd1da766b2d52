"""MedUNeXt as a space: MED blocks with each part on or off, where they are, widths, skips."""

from collections.abc import Mapping

from primitives.mednext import MedBlock
from search_spaces.core.arch import Arch
from search_spaces.core.space import Baseline, Choice, Int, Point, Space
from search_spaces.nets.med import medunext

# The axis mixing is made for 224 pixels, so that parameters do not depend on the size of a study.
_MED = {knob: values for knob, values in MedBlock.knobs.items() if knob != "side"}

DIMENSIONS: Mapping[str, Choice | Int] = {
    "width": Choice(16, 8, 24, 32, 64),
    "growth": Choice("1-2-4-8-16", "1-2-4-8-12", "1-2-4-6-8", "1-2-3-4-6", "1-1-2-3-4"),
    **{f"depth_{place}": Int(1, 3) for place in ("encoder", "bottom", "decoder")},
    "first": Int(1, 5),
    "mirrored": Choice(True, False),
    "pooled": Choice(True, False),
    "skip": Choice("concat", "add", "concat-project", "gag", "ag", "ag-concat"),
    **{knob: Choice(*values) for knob, values in _MED.items()},
}


def decode(point: Point) -> Arch:
    """Return the arch of a point."""
    return medunext(
        [int(point["width"]) * int(factor) for factor in str(point["growth"]).split("-")],
        depths=[int(point[f"depth_{place}"]) for place in ("encoder", "bottom", "decoder")],
        first=int(point["first"]),
        decoder=bool(point["mirrored"]),
        pooled=bool(point["pooled"]),
        skip=str(point["skip"]),
        med={knob: point[knob] for knob in _MED},
    )


_BASE: Point = {
    **{name: dimension.values[0] for name, dimension in DIMENSIONS.items()},
    **{"depth_encoder": 2, "depth_decoder": 2, "first": 4, "attention": "scaled"},
}
_DEPARTURES = (
    "widths, depths, decoder and skips are not in the text; 2.4 % above the published count; "
    "attention scaled by positions x channels"
)


def _named(width: int, source: str, params: str) -> Baseline:
    return Baseline(
        {**_BASE, "width": width},
        source,
        params,
        "-",
        "no cost is printed",
        seed=width < 64,
        size=224,
        golden="no official code",
        departures=_DEPARTURES,
    )


SPACE = Space(
    name="medunext",
    source="MedUNeXt (Xue et al., PLOS ONE 2026)",
    dimensions=DIMENSIONS,
    decode=decode,
    multiple=32,
    baselines={
        "medunext-8": _named(8, "ours: light width", "-"),
        "medunext-16": _named(16, "ours: light width", "-"),
        "medunext-32": _named(32, "ours: light width", "-"),
        "medunext": _named(64, "section 4.3", "39.85M"),
    },
)
