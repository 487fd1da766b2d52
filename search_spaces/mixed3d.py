"""The parts of all papers that take volumes, recombined; see `search_spaces.mixed`.

Every published network of the other spaces of volumes is a point.
"""

from functools import partial

from search_spaces import load
from search_spaces.core.space import Space
from search_spaces.nets.mixed import MULTIPLE, decode, dimensions, published

HOMES = ("ultralight3d", "lgms3d")
_SEEDS = ("ultralight3d-t", "ultralight3d-s", "lgms3d-small")

SPACE = Space(
    name="mixed3d",
    source="the parts of all papers recombined, 3D",
    dimensions=dimensions(3),
    decode=partial(decode, ndim=3),
    multiple=MULTIPLE,
    baselines=published(map(load, HOMES), _SEEDS),
    homes=HOMES,
    ndim=3,
)
