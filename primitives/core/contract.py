"""What each role promises, and the table of blocks.

A block is an `nn.Module` class registered under a name with a role. The role fixes how the network
calls it, the knobs are what a space may search:

| role | built as | called as | promise |
|---|---|---|---|
| stem | (in_channels, width) | (x) | any input to maps; `stride` says by how much smaller |
| encoder | (in_channels, levels) | (x) | that many maps, each half as large as the one before |
| stage | (in_channels, out_channels) | (x) | keeps H, W |
| attention | (channels) | (x) | keeps the shape |
| down | (in_channels, out_channels) | (x) | halves H, W |
| up | (in_channels, out_channels) | (x) | doubles H, W |
| skip | (in_channels, *skip_channels) | (x, *skips) | merges maps of equal sides into one |
| bridge | (in_channels, skip_channels, 1) | (x, skip, side) | fuses maps into one like the skip |
| head | (in_channels, classes) | (x) | logits of the input's sides, undoing the stem's stride |
| ensemble | (in_channels, *others, classes) | (x, *others) | the same from several maps |

A block that ends with another number of channels than its last argument says so in `out_channels`.
A block that also takes volumes has the class attribute `ndims = (2, 3)` and the argument `ndim`.
One that needs sides of a certain multiple names the knob that holds it in `multiple_knob`.
An encoder lists the channels of its maps in `out_channels`; `stride_of(knobs)` says by how much the
largest is smaller. Libraries that a block needs besides torch are listed in `needs`.

Knobs are part of an arch's key. A knob that a block gets after studies were stored goes into the
class attribute `added_knobs`: it is left out where it has its default, so that keys stay.
A block whose knobs can lose their effect is registered with a function `used` that returns the
knobs that have one, so that equal networks get equal keys. One that does not take all channels, or
does not end with its last argument's, is registered with a function `leaves` that says so without
building it, so that a space can tell what fits a place.

A network can start with the weights of another one (`nas.inheritance`). A module with parts whose
results are added to what is there says in `vanishing` how they begin without an effect: part (""
itself, "NAME.*" each member of a list, which are then interchangeable) -> names of the part's
parameters whose zero makes it add nothing. A block lists in `keeps` what may grow in the copy
without a change of the function on the channels that were there: "width" of input and output,
"blocks" in a stage, and knobs by name. One that cannot promise anything says nothing.
"""

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from torch import nn

from primitives.core.errors import InvalidInput, nearest
from primitives.core.init import INITS

Value = int | float | bool | str
Knobs = Mapping[str, tuple[Value, ...]]
Given = Mapping[str, Value]  # knob -> its value
Used = Callable[..., Given]  # (knobs, *channels) -> those with an effect
Vanishing = Mapping[str, tuple[str, ...]]  # part -> patterns of its parameters
Leaves = Callable[..., int]  # (knobs, *channels) -> channels of the output, 0 if it refuses them

M = TypeVar("M", bound=nn.Module)

ROLES = (
    "stem",
    "encoder",
    "stage",
    "attention",
    "down",
    "up",
    "skip",
    "bridge",
    "head",
    "ensemble",
)


@dataclass(frozen=True, slots=True)
class Block:
    """One entry of the table: the class, its role, its knobs and how its weights start."""

    name: str
    role: str
    module: type[nn.Module]
    knobs: Knobs  # the first value is the published default
    init: str  # a key of `INITS`
    ndims: tuple[int, ...] = (2,)
    added_knobs: tuple[str, ...] = ()
    used: Used | None = None
    leaves: Leaves | None = None


BLOCKS: dict[str, Block] = {}


def block(
    name: str,
    *,
    role: str,
    init: str = "default",
    used: Used | None = None,
    leaves: Leaves | None = None,
) -> Callable[[type[M]], type[M]]:
    """Register a class as a block; its class attribute `knobs` lists the searchable values.

    Args:
        name: stored in studies, so never rename it.
        role: one of `ROLES`.
        init: how `build` fills the weights; a key of `INITS`.
        used: (knobs, *channels) -> the knobs that have an effect there; None: all, anywhere.
        leaves: (knobs, *channels) -> the channels that it ends with, 0 where its constructor raises
            InvalidInput; None: it takes any and ends with the last.
    """
    assert role in ROLES, role
    assert init in INITS, init

    def register(module: type[M]) -> type[M]:
        assert name not in BLOCKS, f"two blocks are called {name!r}"
        facts = {f: getattr(module, f) for f in ("ndims", "added_knobs") if hasattr(module, f)}
        knobs = getattr(module, "knobs", {})
        BLOCKS[name] = Block(name, role, module, knobs, init, used=used, leaves=leaves, **facts)
        return module

    return register


def without(knobs: Given, *names: str) -> Given:
    """Return the knobs but those named."""
    return {knob: value for knob, value in knobs.items() if knob not in names}


def same(knobs: Given, *channels: int) -> int:
    """Leave the channels that all inputs must have; for `leaves`."""
    return channels[0] if len(set(channels)) == 1 else 0


def first(knobs: Given, *channels: int) -> int:
    """Leave the channels of the first input; for `leaves`."""
    return channels[0]


def load_blocks() -> Mapping[str, Block]:
    """Import every file of `primitives` once and return the table of blocks."""
    import primitives

    for module in pkgutil.iter_modules(primitives.__path__):
        if not module.ispkg:
            importlib.import_module(f"primitives.{module.name}")
    return BLOCKS


def find_block(name: str) -> Block:
    """Return the block of that name.

    Raises:
        InvalidInput: there is none.
    """
    blocks = BLOCKS if name in BLOCKS else load_blocks()  # looking for files takes a while
    if name not in blocks:
        raise InvalidInput(
            f"block must be one of {', '.join(blocks)}, got {name!r}{nearest(name, blocks)}"
        )
    return blocks[name]
