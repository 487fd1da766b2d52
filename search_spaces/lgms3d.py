"""LGMSNet in 3D as a space: the dimensions of the 2D space, with volumes instead of maps.

The paper's 9.86 M parameters belong to none of the released configurations, so its scores are not
those of these networks.
"""

from functools import partial

from search_spaces.core.space import Baseline, Point, Space
from search_spaces.nets.lgms import BASE, DIMENSIONS, decode

_OTHER = "released configuration; the paper prints 9.86M for another"


def _released(
    changes: Point,
    source: str,
    *,
    seed: bool = False,
    golden: str = "no",
    departures: str = _OTHER,
) -> Baseline:
    return Baseline(
        {**BASE, **changes},
        source,
        "-",
        "-",
        "no figure is printed for this configuration",
        seed=seed,
        in_channels=1,
        classes=14,
        size=96,
        golden=golden,
        departures=departures,
    )


_WIDE: Point = {"width": 32, "growth": "1-2-4-5-8"}

SPACE = Space(
    name="lgms3d",
    source="LGMSNet (Dong et al., ECAI 2025), 3D",
    dimensions=DIMENSIONS,
    decode=partial(decode, ndim=3),
    multiple=32,
    ndim=3,
    baselines={
        "lgms3d": _released({}, "SegmsNet3D", seed=True, golden="yes"),
        "lgms3d-l0": _released({"repeats_3": 3}, "L0"),
        "lgms3d-l1": _released({**_WIDE, "repeats_3": 2}, "L1"),
        "lgms3d-l2": _released({**_WIDE, "repeats_3": 3}, "L2"),
        "lgms3d-small": _released({"width": 8}, "ours: half the widths", seed=True, departures=""),
    },
)
