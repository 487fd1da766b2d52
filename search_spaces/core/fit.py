"""Make a drafted arch legal and canonical: replace what its place refuses, reset idle knobs.

A layout is walked as `network` does, but with the channels of the maps alone.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from primitives.core.contract import Value, find_block
from search_spaces.core.arch import Arch, BlockSpec, Stage
from search_spaces.core.layouts import LAYOUTS

BLOCK = BlockSpec.of("double-conv")  # takes any channels
SKIP = BlockSpec.of("concat-project")  # takes any, and leaves those of the skip
_IMAGES = (1, 3)  # channels that the first blocks must take
_PLACE = re.compile(r"(encoder|decoder|node)(\d+)(?:_\d+)?_([a-z]+)(\d*)")


def fit(arch: Arch) -> Arch:
    """Return the nearest arch that `build` accepts for grey and colour images.

    A block that refuses its channels, or does not bring its stage to its width, gives way to a
    double convolution, a skip to `concat-project`; what would follow a stage is left out. Knobs
    without effect get their defaults, and `skip` of the arch is that of the last merge.
    """
    while True:
        walks = [_Walk(arch, channels) for channels in _IMAGES]
        refused = next((walk.refused for walk in walks if walk.refused), None)
        if refused is None:
            return _with_one_skip(_settled(arch, walks))
        arch = _cured(arch, refused)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a layer stands: `part` number `number` of stage `index` of a side; all from 0."""

    side: str
    index: int
    part: str
    number: int = 0

    @classmethod
    def of(cls, layer: str, arch: Arch) -> "_Place":
        found = _PLACE.fullmatch(layer)
        assert found is not None, layer
        kind, stage, part, number = found.groups()
        index = int(stage) - 1
        if kind == "node":  # nodes of a level, from the top
            kind, index = "decoder", len(arch.decoder) - 1 - index
        return cls(kind, index, part, int(number or 1) - 1)


class _Refused(Exception):
    """A place refuses its block."""


@dataclass
class _Walk:
    """The channels that every layer of an arch is made with, or the first place that refuses."""

    arch: Arch
    in_channels: int
    channels: dict[str, int] = field(default_factory=dict)
    made: dict[str, tuple[int, ...]] = field(default_factory=dict)
    refused: _Place | None = None
    _widened: bool = False  # the last merge left more channels than it got

    def __post_init__(self) -> None:
        self.channels["x"] = self.in_channels
        try:
            LAYOUTS[self.arch.layout].assemble(self.arch, self)
        except _Refused as refusal:
            self.refused = _Place.of(str(refusal), self.arch)

    def apply(
        self,
        layer: str,
        spec: BlockSpec,
        inputs: Sequence[str] = ("x",),
        *,
        width: int | None = None,
        output: str = "x",
    ) -> None:
        channels = tuple(self.channels[name] for name in inputs)
        channels += () if width is None else (width,)
        left = _left(spec, channels)
        if not left:
            raise _Refused(layer)
        if layer.endswith("_skip"):
            self._widened = left != channels[0]
        self.made[layer], self.channels[output] = channels, left

    def keep(self, name: str) -> None:
        self.channels[name] = self.channels["x"]

    def take(self, name: str) -> None:
        self.channels["x"] = self.channels[name]

    def maps(self, names: Sequence[str]) -> None:
        raise NotImplementedError("a ready-made encoder has channels of its own")

    def stem(self) -> None:
        self.apply("stem", self.arch.stem, width=self.arch.encoder[0].width)

    def blocks(self, place: str, stage: Stage) -> None:
        self._widened = False
        for i in range(stage.depth):
            self.apply(f"{place}_block{i + 1}", stage.block, width=stage.width)
        if place.startswith("node") and self.channels["x"] != stage.width:
            raise _Refused(f"{place}_block1")

    def attend(self, place: str, stage: Stage) -> None:
        for i, spec in enumerate(stage.attention):
            self.apply(f"{place}_attention{i + 1}", spec)

    def end(self, place: str, stage: Stage) -> None:
        if self.channels["x"] != stage.width:
            raise _Refused(f"{place}_skip" if self._widened else f"{place}_block1")
        for i, spec in enumerate(stage.after):
            self.apply(f"{place}_after{i + 1}", spec, width=stage.width)

    def head(self, *others: str) -> None:
        """Take any channels."""


def _left(spec: BlockSpec, channels: tuple[int, ...]) -> int:
    """Return the channels that a block leaves, 0 if it refuses those it would get."""
    leaves = find_block(spec.name).leaves
    return leaves(dict(spec.knobs), *channels) if leaves else channels[-1]


def _cured(arch: Arch, place: _Place) -> Arch:
    stages = list(getattr(arch, place.side))
    stage = stages[place.index]
    if place.part == "skip":
        stage = replace(stage, skip=SKIP)
    elif place.part == "after":
        stage = replace(stage, after=stage.after[: place.number] + stage.after[place.number + 1 :])
    else:  # also before a size change, which takes all that blocks leave
        assert stage.block != BLOCK, place
        stage = replace(stage, block=BLOCK)
    stages[place.index] = stage
    changed: dict[str, Any] = {place.side: tuple(stages)}
    return replace(arch, **changed)


def _settled(arch: Arch, walks: Sequence[_Walk]) -> Arch:
    """Return the arch with knobs that have no effect at any of their places at their defaults."""
    seen: dict[_Place, set[tuple[int, ...]]] = {}
    for walk in walks:
        for layer, channels in walk.made.items():
            if layer != "stem":
                place = _Place.of(layer, arch)
                if place.part == "block":  # all blocks of a stage are one
                    place = replace(place, number=0)
                seen.setdefault(place, set()).add(channels)

    def settle(side: str, index: int, stage: Stage) -> Stage:
        def of(part: str, specs: Sequence[BlockSpec]) -> Iterator[BlockSpec]:
            for i, spec in enumerate(specs):
                yield _canonical(spec, seen[_Place(side, index, part, i)])

        (block,) = of("block", [stage.block])
        attention, after = of("attention", stage.attention), of("after", stage.after)
        return replace(stage, block=block, attention=tuple(attention), after=tuple(after))

    sides: dict[str, Any] = {
        side: tuple(settle(side, i, stage) for i, stage in enumerate(getattr(arch, side)))
        for side in ("encoder", "decoder")
    }
    return replace(arch, **sides)


def _canonical(spec: BlockSpec, places: set[tuple[int, ...]]) -> BlockSpec:
    """Reset a knob where it is idle at all places."""
    found = [dict(spec.canonical(*channels).knobs) for channels in places]
    knobs: Mapping[str, Value] = {
        knob: found[0][knob] if len({f[knob] for f in found}) == 1 else value
        for knob, value in spec.knobs
    }
    return BlockSpec.of(spec.name, **knobs)


def _with_one_skip(arch: Arch) -> Arch:
    """Make the skip of the last merge that of the arch; stages name theirs where it differs."""
    last = len(arch.encoder) - 2  # the last decoder stage that merges
    skips = [stage.skip or arch.skip for stage in arch.decoder]
    decoder = tuple(
        replace(stage, skip=None if i > last or skip == skips[last] else skip)
        for i, (stage, skip) in enumerate(zip(arch.decoder, skips, strict=True))
    )
    return replace(arch, skip=skips[last], decoder=decoder)
