"""The parts of all papers recombined: any stage block at any stage, any skip, size change and end.

The published networks are those of the other spaces of images, which this one reads by name. Not
expressed are unet-plus-plus-resnet34 (its decoder stages stand for diagonals instead of levels, its
head takes several maps) and the classifiers of `mednext`, which have no decoder.
"""

from search_spaces import load
from search_spaces.core.space import Space
from search_spaces.nets.mixed import MULTIPLE, decode, dimensions, published

HOMES = ("ultralight", "uconvnext", "lgms", "medunext", "unet")
_SEEDS = ("ultralight-t", "ultralight-s", "ege-unet", "unext-s", "cmunext-s")

SPACE = Space(
    name="mixed",
    source="the parts of all papers recombined",
    dimensions=dimensions(),
    decode=decode,
    multiple=MULTIPLE,
    baselines=published(map(load, HOMES), _SEEDS),
    homes=HOMES,
)
