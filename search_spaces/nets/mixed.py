"""The parts of all papers in one set of dimensions, made from the table of blocks.

Every stage has its own block, and its own kernels, expansion, depth and attention: settings that
blocks of several papers share, so a stage that changes its block keeps its reach and its size. The
other knobs of a block are set once per side, as the papers do. All knobs of all blocks in every
stage would be 500 dimensions of which one in ten has an effect.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

from primitives.core.contract import Value, find_block
from search_spaces.core.arch import Arch, BlockSpec, Stage
from search_spaces.core.fit import BLOCK, fit
from search_spaces.core.layouts import LAYOUTS
from search_spaces.core.options import (
    DERIVED,
    SETTING,
    label,
    nearest_value,
    options,
    stage_dimensions,
)
from search_spaces.core.space import Baseline, Choice, Int, Point, Space

MULTIPLE = 32
_MIXERS = ("shifted-mlp", "lfwf-mlp")  # may follow the block of a stage, as in their papers
_MANY_VOXELS = ("lms", "gms")  # have norms that cannot take one voxel
_DEPTHS = (1, 2, 3)  # of blocks without repeats of their own
_REACH = 8  # attention sees at most (side / 8)^ndim tokens
_SIDE = 224  # pixels that blocks with a matrix per axis are made for
_LARGEST = 1536  # width x repeats of a stage, unless it has one
_GROWTH = (
    *("1-2-4-6-10-12", "1-2-4-6-8-8", "1-2-4-8-16-16", "1-2-3-4-6-8", "1-2-2-4-4-8"),
    *("1-1-2-3-4-4", "1-2-4-8-8-8", "1-2-4-5-8-8", "1-2-8-10-16-16", "1-1-2-4-8-8"),
    *("1-1-1-2-2-2", "1-1-1-1-1-1"),
)
Resizes = Callable[[int], list[BlockSpec | None]]  # number of stages -> what they name themselves


@cache
def _resizes(role: str, ndim: int) -> Mapping[str, tuple[BlockSpec, Resizes]]:
    """Return the size changes by label: that of the arch, and of stages where they differ."""
    found: dict[str, tuple[BlockSpec, Resizes]] = {
        name: (spec, lambda n: [None] * n) for name, spec in options(role, ndim).items()
    }
    if ndim == 2 and role == "down":  # UNeXt
        pool, tokens = BlockSpec.of("max-pool-relu"), BlockSpec.of("token-embedding")
        found["max-pool-relu, token-embedding"] = (pool, lambda n: [None] * (n - 2) + [tokens] * 2)
    elif ndim == 2:  # Rolling-UNet, whose second stage names that of the arch
        deep = BlockSpec.of("embedding-linear")
        once, twice = (BlockSpec.of("conv-linear", convs=n) for n in (1, 2))
        plan: tuple[BlockSpec, Resizes] = (once, lambda n: [deep, once, *[twice] * (n - 2)])
        found["embedding-linear, conv-linear"] = plan
    return found


@cache
def dimensions(ndim: int = 2) -> Mapping[str, Choice | Int]:
    """Return the dimensions of the space of images or of volumes."""
    stages, skips, heads = (options(role, ndim) for role in ("stage", "skip", "head"))
    strides = {head.stride for head in heads.values()}
    flat, deepest = ndim == 2, {"encoder": 6 if ndim == 2 else 5, "decoder": 5}
    found: dict[str, Choice | Int] = {
        "layout": Choice("skip-after-down", "skip-before-down", "nested", *["bridged"] * flat),
        "width": Choice(16, 4, 8, 12, 24, 32, 48, 64),
        "growth": Choice(*_GROWTH),
        "levels": Int(3, deepest["encoder"]),
        "last_width": Choice("full", "half"),
        "stem": Choice(*(n for n, s in options("stem", ndim).items() if s.stride in strides)),
        "head": Choice(*(n for n, head in heads.items() if head.stride > 1)),
        **{role: Choice(*_resizes(role, ndim)) for role in ("down", "up")},
        "skip": Choice(*skips),
        "first_skip": Choice("same", *skips),
        "mixer": Choice("none", *(n for n, spec in stages.items() if spec.name in _MIXERS)),
        "encoder_mixers": Int(0, 3 * flat),
        "decoder_mixers": Int(0, 3 * flat),
        "ca_ratio": Choice("published", "16", "8", "4"),
        "sa_kernel": Choice(*find_block("spatial-attention").knobs["kernel"]),
    }
    for side, levels in deepest.items():
        found |= stage_dimensions(side, levels, ndim, attention=("none", "ca", "sa", "ca-sa"))
    return {name: dimension for name, dimension in found.items() if len(dimension.values) > 1}


def decode(point: Point, ndim: int = 2) -> Arch:
    """Return the arch of a point; what a place refuses is replaced, see `core.fit`."""
    layout = str(point["layout"])
    plain = layout.startswith("skip")
    stem, head = _stem_and_head(point, ndim)
    levels, deepest = range(1, int(point["levels"]) + 1), LAYOUTS[layout].deepest
    n = max(n for n in levels if deepest(n, stem.stride) <= MULTIPLE)
    widths = [int(point["width"]) * int(g) for g in str(point["growth"]).split("-")[:n]]
    halved = plain and point["last_width"] == "half"
    last = 4 * max(1, widths[0] // 8) if halved else widths[0]
    ends = [*widths[-2:0:-1], *widths[:1] * (layout == "skip-after-down"), last]
    down, downs = _resizes("down", ndim)[str(point["down"])]
    up, ups = _resizes("up", ndim)[str(point["up"])]

    def stages(side: str, ends: Sequence[int], resizes: Resizes) -> tuple[Stage, ...]:
        scales = LAYOUTS[layout].scales(n, stem.stride)[side == "decoder"]
        rows = zip(scales, ends, resizes(len(ends)), strict=True)
        return tuple(
            replace(
                _Place(point, ndim, side, i, len(ends), scale, width).stage(),
                resize=resize,
            )
            for i, (scale, width, resize) in enumerate(rows)
        )

    encoder, decoder = stages("encoder", widths, downs), stages("decoder", ends, ups)
    spatial = BlockSpec.of("spatial-attention", kernel=point["sa_kernel"])
    attended = [spec for stage in (*encoder, *decoder) for spec in stage.attention]
    if plain and point["first_skip"] != "same":
        skip = options("skip", ndim)[str(point["first_skip"])]
        decoder = (replace(decoder[0], skip=skip), *decoder[1:])
    arch = Arch(
        *(encoder, decoder, stem, down, up, _skip(point, ndim), head),
        shared=spatial if spatial in attended else None,
        ndim=ndim,
        layout=layout,
    )
    return fit(arch)


def _stem_and_head(point: Point, ndim: int) -> tuple[BlockSpec, BlockSpec]:
    """Return the stem and a head that undoes it; "bridged" ends at half resolution by itself."""
    stem, stride = options("stem", ndim)[str(point["stem"])], 2
    if point["layout"] != "bridged":
        stride = stem.stride
    elif stem.stride > 1:
        stem = BlockSpec.of("as-is")
    heads = {n: head for n, head in options("head", ndim).items() if head.stride == stride}
    return stem, heads.get(str(point.get("head")), next(iter(heads.values())))


def _skip(point: Point, ndim: int) -> BlockSpec:
    """Return the skip, as far as the layout leaves a choice."""
    if point["layout"] == "bridged":
        return BlockSpec.of("ege-bridge")
    skip = options("skip", ndim)[str(point["skip"])]
    many = point["layout"] == "nested"  # maps to join
    return BlockSpec.of("concat") if many and skip.name != "concat" else skip


@dataclass(frozen=True, slots=True)
class _Place:
    """Stage `index` of `count` of a side, whose blocks see a map of 1 / `scale` of the sides."""

    point: Point
    ndim: int
    side: str
    index: int
    count: int
    scale: int
    width: int

    @property
    def level(self) -> int:
        """From the top, 1, down; that at which a decoder stage ends."""
        return self.index + 1 if self.side == "encoder" else self.count - self.index

    @property
    def plain(self) -> bool:
        return str(self.point["layout"]).startswith("skip")

    def own(self, setting: str) -> Value:
        return self.point[f"{self.side}_{setting}_{self.level}"]

    def stage(self) -> Stage:
        spec, after = self.block(str(self.own("block"))), self.after()
        once = spec.name == "identity" or any(SETTING.get(k) == "depth" for k, _ in spec.knobs)
        depth = 1 if once else self.depth(_DEPTHS)
        if spec.name == "lfwf-mlp" and (self.point["layout"], self.side) != ("nested", "decoder"):
            # It keeps channels; only the nodes of a nested decoder have nothing after their blocks.
            spec, depth, after = BlockSpec.of("conv", kernel=1), 1, (spec,) * depth + after
        return Stage(spec, self.width, depth, self.attention(), after=after)

    def depth(self, values: Sequence[Value]) -> int:
        """Return the nearest repeats that do not make a wide stage too large."""
        fitting = [v for v in values if int(v) * self.width <= _LARGEST] or [1]
        return int(nearest_value(fitting, self.own("depth")))

    def block(self, option: str) -> BlockSpec:
        """Return a block with the settings of this stage and the knobs of this side."""
        spec = options("stage", self.ndim)[option]
        knobs = dict(spec.knobs)
        if self.ndim == 3 and self.scale == MULTIPLE and spec.name in _MANY_VOXELS:
            return BLOCK
        for knob, values in find_block(spec.name).knobs.items():
            setting = SETTING.get(knob)
            if setting == "depth":
                knobs[knob] = self.depth(values)
            elif setting:
                knobs[knob] = nearest_value(values, self.own(setting))
            elif knob in DERIVED:
                knobs[knob] = _SIDE // self.scale
            else:
                knobs[knob] = self.point.get(f"{self.side}_{spec.name}_{knob}", knobs[knob])
        if spec.name == "gms":
            knobs |= self.tokens(int(knobs["patch"]))
        return BlockSpec.of(spec.name, **knobs)

    def tokens(self, patch: int) -> dict[str, Value]:
        """Return a patch that keeps sequences short and divides the sides, or no transformer."""
        patches = [p for p in (1, 2, 4) if _REACH <= self.scale * p <= MULTIPLE]
        return {"patch": nearest_value(patches, patch)} if patches else {"tc": "0:1"}

    def attention(self) -> tuple[BlockSpec, ...]:
        kind = str(self.own("attention")) if self.plain else "none"
        ratio = self.point["ca_ratio"]
        if ratio == "published":  # of UltraLightUNet
            ratio = {1: 4, 2: 8}.get(self.level, 16)
        channel = BlockSpec.of("channel-attention", ratio=int(ratio))
        spatial = BlockSpec.of("spatial-attention", kernel=self.point["sa_kernel"])
        return {"none": (), "ca": (channel,), "sa": (spatial,), "ca-sa": (channel, spatial)}[kind]

    def after(self) -> tuple[BlockSpec, ...]:
        """Return what comes last; EGE-UNet has an end where a stage keeps its size."""
        encoder, mixer = self.side == "encoder", str(self.point.get("mixer", "none"))
        if self.point["layout"] == "bridged" and self.index == (self.count - 1 if encoder else 0):
            return (BlockSpec.of("gelu" if encoder else "norm-gelu"),)
        above = self.count - 1 - self.index if encoder else self.index  # stages from the bottom
        mixes = self.plain and mixer != "none" and above < int(self.point[f"{self.side}_mixers"])
        return (self.block(mixer),) if mixes else ()


def published(homes: Iterable[Space], seeds: Sequence[str] = ()) -> dict[str, Baseline]:
    """Return the published networks of spaces as points of this one, those that are points."""
    found = {}
    for home in homes:
        for name, baseline in home.baselines.items():
            if point := encode(home.arch(baseline.point)):
                found[name] = replace(baseline, point=point, seed=name in seeds)
    return found


def encode(arch: Arch) -> Point | None:
    """Return a point whose arch this is, for any image channels and classes, if there is one."""
    known = dimensions(arch.ndim)
    point = {name: dimension.values[0] for name, dimension in known.items()} | _whole(arch)
    for side in ("encoder", "decoder"):
        stages: tuple[Stage, ...] = getattr(arch, side)
        for i, stage in enumerate(stages):
            level = i + 1 if side == "encoder" else len(stages) - i
            point |= {f"{side}_{name}_{level}": v for name, v in _own(stage, arch.ndim).items()}
            for spec in (stage.block, *stage.after):
                point |= {f"{side}_{spec.name}_{k}": v for k, v in spec.knobs}
    point = {name: point[name] for name in known}
    if any(point[name] not in dimension.values for name, dimension in known.items()):
        return None
    points = ({**point, "ca_ratio": ratio} for ratio in known["ca_ratio"].values)
    wanted = replace(arch, in_channels=3, classes=1).key
    return next((p for p in points if decode(p, arch.ndim).key == wanted), None)


def _whole(arch: Arch) -> dict[str, Value]:
    """Return what a point says of the whole network."""
    found: dict[str, Value] = {
        "layout": arch.layout,
        "levels": len(arch.encoder),
        "last_width": "half" if arch.decoder[-1].width < arch.widths[0] else "full",
        "stem": label(arch.stem, arch.ndim),
    }
    for growth in _GROWTH:
        factors = [int(factor) for factor in growth.split("-")]
        if [arch.widths[0] * g for g in factors[: len(arch.widths)]] == [*arch.widths]:
            found |= {"width": arch.widths[0], "growth": growth}
    if arch.head.stride > 1:
        found["head"] = label(arch.head, arch.ndim)
    if arch.layout != "bridged":
        found["skip"] = label(arch.skip, arch.ndim)
    if arch.decoder[0].skip:
        found["first_skip"] = label(arch.decoder[0].skip, arch.ndim)
    for side, role in {"encoder": "down", "decoder": "up"}.items():
        stages: tuple[Stage, ...] = getattr(arch, side)
        for name, (spec, resizes) in _resizes(role, arch.ndim).items():
            if (spec, resizes(len(stages))) == (getattr(arch, role), [s.resize for s in stages]):
                found[role] = name
        mixed = [s.after[-1] for s in stages if s.after and s.after[-1].name in _MIXERS]
        if mixed:
            found |= {"mixer": label(mixed[0], arch.ndim), f"{side}_mixers": len(mixed)}
    return found | ({"sa_kernel": dict(arch.shared.knobs)["kernel"]} if arch.shared else {})


def _own(stage: Stage, ndim: int) -> dict[str, Value]:
    """Return what a point says of one stage."""
    kinds = {"channel-attention": "ca", "spatial-attention": "sa"}
    found: dict[str, Value] = {"block": label(stage.block, ndim), "depth": stage.depth}
    found["attention"] = "-".join(kinds[spec.name] for spec in stage.attention) or "none"
    for knob, value in stage.block.knobs:
        if knob in SETTING:
            found[SETTING[knob]] = str(value) if SETTING[knob] == "kernels" else value
    return found
