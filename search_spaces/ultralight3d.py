"""UltraLightUNet in 3D as a space: the dimensions of the 2D space, with volumes instead of maps.

No 3D program is public. Bare depthwise branches and eight classes give all published sizes and
costs, so the baselines are published sizes, not published networks.
"""

from functools import partial

from search_spaces.core.space import Baseline, Choice, Point, Space
from search_spaces.nets.ultralight import BASE, decode
from search_spaces.nets.ultralight import DIMENSIONS as MAPS

_BASE: Point = {**BASE, "branch_norm": False}
_SHORT = {"growth": "1-2-4-6-8"}
_RULE = "multiply-adds at 96x96x96, 8 classes, with norms, activations and biases"


def _published(params: str, cost: str, changes: Point, *, seed: bool = True) -> Baseline:
    return Baseline(
        {**_BASE, **changes},
        "Table 3",
        params,
        cost,
        _RULE,
        seed=seed,
        classes=8,
        size=96,
        golden="no official code",
        departures="branches without norm, one head: inferred from the published counts",
    )


SPACE = Space(
    name="ultralight3d",
    source="UltraLightUNet / MK-UNet (Rahman and Marculescu, ICCV workshops 2025), 3D",
    dimensions={**MAPS, "branch_norm": Choice(False, True)},
    decode=partial(decode, ndim=3),
    multiple=32,
    ndim=3,
    baselines={
        "ultralight3d-t": _published("0.061M", "1.45G", {"width": 4, **_SHORT}),
        "ultralight3d-s": _published("0.163M", "2.03G", {"width": 8}),
        "ultralight3d-base": _published("0.453M", "3.42G", {}),
        "ultralight3d-m": _published("1.42M", "7.1G", {"width": 32}),
        "ultralight3d-l": _published("4.28M", "18.0G", {"width": 64, **_SHORT}),
    },
)
