"""An arch: the explicit, immutable description of one network. It knows no space and no sampler."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import lcm
from typing import Any, Self

from primitives.core.contract import Value, find_block
from primitives.core.errors import InvalidInput, nearest
from search_spaces.core.layouts import LAYOUTS, pairs

VERSION = 1  # of the JSON form; part of the key


@dataclass(frozen=True, slots=True)
class BlockSpec:
    """A block with all its knobs set; make one with `BlockSpec.of`."""

    name: str
    knobs: tuple[tuple[str, Value], ...] = ()

    @classmethod
    def of(cls, name: str, **knobs: Value) -> Self:
        """Fill in the published defaults of the knobs not given.

        Raises:
            InvalidInput: the block or a knob is unknown.
        """
        known = find_block(name).knobs
        for knob in knobs:
            if knob not in known:
                options = ", ".join(known) or "no knobs"
                raise InvalidInput(
                    f"block {name!r} has {options}, got {knob!r}{nearest(knob, known)}"
                )
        return cls(name, tuple((k, knobs.get(k, values[0])) for k, values in known.items()))

    def canonical(self, *channels: int) -> Self:
        """Return the same block, knobs without effect at these channels at their defaults."""
        used = find_block(self.name).used
        return self.of(self.name, **used(dict(self.knobs), *channels)) if used else self

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form: the name, with the knobs if it has any."""
        block = find_block(self.name)
        knobs = {
            knob: value
            for knob, value in self.knobs
            if knob not in block.added_knobs or value != block.knobs[knob][0]
        }
        return {"name": self.name} | ({"knobs": knobs} if knobs else {})

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read the JSON form; knobs that a newer version added get their defaults."""
        return cls.of(data["name"], **data.get("knobs", {}))

    @property
    def stride(self) -> int:
        """Side of a stem's input / side of its output; of an encoder, of its largest one."""
        module: Any = find_block(self.name).module
        if hasattr(module, "stride_of"):
            return int(module.stride_of(dict(self.knobs)))
        return int(getattr(module, "stride", 1))

    @property
    def multiple(self) -> int:
        """What the sides of the block's input must be a multiple of."""
        knob = getattr(find_block(self.name).module, "multiple_knob", None)
        return int(dict(self.knobs)[knob]) if knob else 1

    def __str__(self) -> str:
        return self.name + "".join(f" {k}={v}" for k, v in self.knobs)


@dataclass(frozen=True, slots=True)
class Stage:
    """One level of the U: `depth` blocks of `width` channels, and what is around them.

    Attributes:
        block: what the stage repeats.
        width: channels that it ends with.
        depth: how often.
        attention: applied in order to the output of encoder stages and the input of decoder stages.
        resize: the size change of this stage, if it is not the arch's.
        skip: how this decoder stage merges its skip, if not as the arch says.
        after: stage blocks that come last: after the size change or merge where those end a stage.
    """

    block: BlockSpec
    width: int
    depth: int = 1
    attention: tuple[BlockSpec, ...] = ()
    resize: BlockSpec | None = None
    skip: BlockSpec | None = None
    after: tuple[BlockSpec, ...] = ()

    @property
    def specs(self) -> tuple[BlockSpec, ...]:
        """All blocks that the stage names itself."""
        own = (self.resize, self.skip)
        return (self.block, *self.attention, *(s for s in own if s), *self.after)

    @property
    def extras(self) -> tuple[tuple[str, BlockSpec], ...]:
        """What the stage has besides blocks and attention, with a word for each."""
        own = (("resize", self.resize), ("skip", self.skip), *(("then", s) for s in self.after))
        return tuple((word, spec) for word, spec in own if spec)

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form; what version 1 lacked is left out where it is not set."""
        plain = {
            "block": self.block.to_json(),
            "width": self.width,
            "depth": self.depth,
            "attention": [spec.to_json() for spec in self.attention],
        }
        single = {"resize": self.resize, "skip": self.skip}
        plain |= {name: spec.to_json() for name, spec in single.items() if spec}
        return plain | ({"after": [s.to_json() for s in self.after]} if self.after else {})

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read the JSON form."""
        resize, skip = (data.get(name) for name in ("resize", "skip"))
        return cls(
            BlockSpec.from_json(data["block"]),
            data["width"],
            data["depth"],
            tuple(map(BlockSpec.from_json, data["attention"])),
            BlockSpec.from_json(resize) if resize else None,
            BlockSpec.from_json(skip) if skip else None,
            tuple(map(BlockSpec.from_json, data.get("after", ()))),
        )


@dataclass(frozen=True, slots=True)
class Arch:
    """A network, top to bottom; `layout` says how the parts are joined.

    `encoder` runs from full resolution down, `decoder` from the bottom up. `shared` is an attention
    built once: every stage attention that equals it uses that one module. `down`, `up` and `skip`
    hold for stages that name none of their own.

    Raises:
        InvalidInput: the layout is unknown, the stem or the number of stages does not suit it,
            there are no channels or classes, or `ndim` is neither 2 nor 3.
    """

    encoder: tuple[Stage, ...]
    decoder: tuple[Stage, ...]
    stem: BlockSpec
    down: BlockSpec
    up: BlockSpec
    skip: BlockSpec
    head: BlockSpec
    shared: BlockSpec | None = None
    in_channels: int = 3
    classes: int = 1
    ndim: int = 2
    layout: str = "skip-after-down"
    _key: str = field(default="", compare=False, repr=False)

    def __post_init__(self) -> None:
        if self.layout not in LAYOUTS:
            raise InvalidInput(f"layout must be one of {', '.join(LAYOUTS)}, got {self.layout!r}")
        role = find_block(self.stem.name).role
        if (role == "encoder") != (self.layout == "backbone"):
            raise InvalidInput(
                "an encoder block is the stem of layout 'backbone' and of no other, got stem "
                f"{self.stem.name!r} in layout {self.layout!r}"
            )
        wanted = LAYOUTS[self.layout].decoders(len(self.encoder), self.stem.stride)
        if len(self.decoder) != wanted or not self.encoder:
            raise InvalidInput(
                f"layout {self.layout!r} with {len(self.encoder)} encoder stages, 1 or more, needs "
                f"{wanted} decoder stages, got {len(self.decoder)}"
            )
        if self.ndim not in (2, 3):
            raise InvalidInput(f"ndim must be 2 or 3, got {self.ndim}")
        for name in ("in_channels", "classes"):
            if getattr(self, name) < 1:
                raise InvalidInput(f"{name} must be 1 or more, got {getattr(self, name)}")
        text = json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"))
        object.__setattr__(self, "_key", hashlib.sha256(text.encode()).hexdigest()[:12])

    @property
    def key(self) -> str:
        """12 hex digits of SHA-256 over the canonical JSON; equal networks have equal keys."""
        return self._key

    @property
    def multiple(self) -> int:
        """The number that the sides of the input must be a multiple of."""
        deepest = LAYOUTS[self.layout].deepest(len(self.encoder), self.stem.stride)
        needs = (scale * spec.multiple for _, scale, s in pairs(self) for spec in s.specs)
        return lcm(deepest, *needs)

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of the encoder stages."""
        return tuple(stage.width for stage in self.encoder)

    def to_json(self) -> dict[str, Any]:
        """Return plain data that `from_json` reads back; the order of keys carries no meaning."""
        return {
            "version": VERSION,
            "ndim": self.ndim,
            "in_channels": self.in_channels,
            "classes": self.classes,
            "encoder": [stage.to_json() for stage in self.encoder],
            "decoder": [stage.to_json() for stage in self.decoder],
            "shared": self.shared.to_json() if self.shared else None,
            **({} if self.layout == _FIRST_LAYOUT else {"layout": self.layout}),
        } | {role: getattr(self, role).to_json() for role in _ROLES}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read the JSON form.

        Raises:
            InvalidInput: it is of a newer version, or names an unknown block or knob.
        """
        if data["version"] > VERSION:
            raise InvalidInput(
                f"arch JSON is of version {data['version']}, this program reads up to {VERSION}; "
                "update it"
            )
        roles: dict[str, Any] = {role: BlockSpec.from_json(data[role]) for role in _ROLES}
        return cls(
            encoder=tuple(Stage.from_json(stage) for stage in data["encoder"]),
            decoder=tuple(Stage.from_json(stage) for stage in data["decoder"]),
            shared=BlockSpec.from_json(data["shared"]) if data["shared"] else None,
            in_channels=data["in_channels"],
            classes=data["classes"],
            ndim=data["ndim"],
            layout=data.get("layout", _FIRST_LAYOUT),
            **roles,
        )

    def rows(self) -> Iterator[tuple[str, ...]]:
        """Yield one row per stage: name, input scale, width, depth, block, attention and extras."""
        for name, scale, stage in pairs(self):
            extras = [f"{word} {spec}" for word, spec in stage.extras]
            attention = [self._attention_name(spec) for spec in stage.attention]
            where = "1" if scale == 1 else f"1/{scale}"
            rest = ", ".join([*attention, *extras]) or "-"
            yield name, where, str(stage.width), str(stage.depth), str(stage.block), rest

    def describe(self) -> str:
        """Return a readable table of the stages and the parts between them."""
        header = ("stage", "scale", "width", "depth", "block", "attention")
        table = [header, *self.rows()]
        sizes = [max(len(row[i]) for row in table) for i in range(len(header))]
        lines = [
            "  ".join(c.ljust(n) for c, n in zip(row, sizes, strict=True)).rstrip() for row in table
        ]
        parts = ", ".join(f"{role} {getattr(self, role)}" for role in _ROLES)
        return "\n".join([*lines, f"{parts}; {self.in_channels} in, {self.classes} out"])

    def _attention_name(self, spec: BlockSpec) -> str:
        return f"{spec} (shared)" if spec == self.shared else str(spec)


_ROLES = ("stem", "down", "up", "skip", "head")
_FIRST_LAYOUT = "skip-after-down"  # of version 1, which names none
