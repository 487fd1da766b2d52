"""An arch: the explicit, immutable description of one network. It knows no space and no sampler."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from primitives.core.contract import Value, find_block
from primitives.core.errors import InvalidInput, nearest

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

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form: the name, with the knobs if it has any."""
        return {"name": self.name} | ({"knobs": dict(self.knobs)} if self.knobs else {})

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read the JSON form; knobs that a newer version added get their defaults."""
        return cls.of(data["name"], **data.get("knobs", {}))

    def __str__(self) -> str:
        return self.name + "".join(f" {k}={v}" for k, v in self.knobs)


@dataclass(frozen=True, slots=True)
class Stage:
    """One level of the U: `depth` blocks of `width` channels, with attention around them.

    Encoder stages apply `attention` to their output, decoder stages to their input.
    """

    block: BlockSpec
    width: int
    depth: int = 1
    attention: tuple[BlockSpec, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "block": self.block.to_json(),
            "width": self.width,
            "depth": self.depth,
            "attention": [spec.to_json() for spec in self.attention],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read the JSON form."""
        attention = tuple(BlockSpec.from_json(spec) for spec in data["attention"])
        return cls(BlockSpec.from_json(data["block"]), data["width"], data["depth"], attention)


@dataclass(frozen=True, slots=True)
class Arch:
    """A U-net, top to bottom; see `UNet` for how the parts are joined.

    `encoder` runs from full resolution down, `decoder` from the bottom up. `shared` is an attention
    built once: every stage attention that equals it uses that one module.

    Raises:
        InvalidInput: encoder and decoder differ in length, or there are no channels or classes.
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
    _key: str = field(default="", compare=False, repr=False)

    def __post_init__(self) -> None:
        if len(self.encoder) != len(self.decoder) or not self.encoder:
            raise InvalidInput(
                "encoder and decoder must have the same number of stages, 1 or more, "
                f"got {len(self.encoder)} and {len(self.decoder)}"
            )
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
        """The number that H and W of the input must be a multiple of."""
        return int(2 ** len(self.encoder))

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
            **roles,
        )

    def rows(self) -> Iterator[tuple[str, ...]]:
        """Yield one row per stage: name, input scale, width, depth, block, attention."""
        levels = len(self.encoder)
        sides = [
            *((f"encoder {i + 1}", 2**i, s) for i, s in enumerate(self.encoder)),
            *((f"decoder {i + 1}", 2 ** (levels - i), s) for i, s in enumerate(self.decoder)),
        ]
        for name, scale, stage in sides:
            attention = ", ".join(self._attention_name(spec) for spec in stage.attention) or "-"
            where = "1" if scale == 1 else f"1/{scale}"
            yield name, where, str(stage.width), str(stage.depth), str(stage.block), attention

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
