"""MedNeXt as a space of classifiers; a search does not train them."""

from collections.abc import Mapping

from primitives.mednext import MedBlock
from search_spaces.core.arch import Arch
from search_spaces.core.space import Baseline, Choice, Int, Point, Space
from search_spaces.nets.med import mednext

_MED = {knob: values for knob, values in MedBlock.knobs.items() if knob != "side"}

DIMENSIONS: Mapping[str, Choice | Int] = {
    "width": Choice(64, 16, 24, 32, 48),
    "growth": Choice("1-2-4-8", "1-2-4-6", "1-2-3-4", "1-1-2-4"),
    **{f"depth_{i}": Int(1, 4) for i in range(1, 5)},
    **{knob: Choice(*values) for knob, values in _MED.items()},
}


def decode(point: Point) -> Arch:
    """Return the arch of a point."""
    return mednext(
        [int(point["width"]) * int(factor) for factor in str(point["growth"]).split("-")],
        depths=[int(point[f"depth_{i}"]) for i in range(1, 5)],
        med={knob: point[knob] for knob in _MED},
    )


_BASE: Point = {
    **{name: dimension.values[0] for name, dimension in DIMENSIONS.items()},
    **{f"depth_{i}": 2 for i in range(1, 5)},
}

SPACE = Space(
    name="mednext",
    source="MedNeXt (Xue et al., PLOS ONE 2026)",
    dimensions=DIMENSIONS,
    decode=decode,
    multiple=32,
    task="classification",
    baselines={
        "mednext": Baseline(
            _BASE,
            "Table 7, row 8",
            "10.72M",
            "1.90G",
            "multiply-adds of thop at 224x224, without the axis mixing",
            seed=True,
            classes=2,
            size=224,
            golden="no official code",
            departures="stem widths, mixer and biases follow from the counts",
        ),
    },
)
