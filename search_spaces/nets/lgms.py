"""LGMSNet in 2D and 3D (Dong et al., ECAI 2025, figure 2), wired as the published programs are."""

from collections.abc import Mapping, Sequence

from primitives.lgms import GlobalMultiScale, LocalMultiScale
from search_spaces.core.arch import Arch, BlockSpec, Stage
from search_spaces.core.space import Choice, Int, Point

PUBLISHED = (16, 32, 64, 128, 128)


def lgms(
    widths: Sequence[int] = PUBLISHED,
    *,
    kernels: Sequence[str] = ("3-5-7-9",) * 3,
    repeats: Sequence[int] = (1, 1, 1),
    tc: Sequence[str] = ("3:1",) * 4,
    bottom: str = "gms",
    fusion: int = 4,
    ndim: int = 2,
    **transformer: int,
) -> Arch:
    """Return a network of the family; the defaults are the published 2D network.

    Args:
        widths: channels of the five levels.
        kernels: kernel set of the LMS stages, encoder 1 to 3.
        repeats: LMS blocks of these stages.
        tc: T/C ratio of encoder 4, encoder 5, decoder 1 and decoder 2.
        bottom: decoder 1, at 1/8: "gms" on the concatenation, "fusion" alone, or "both".
        fusion: expansion of the fusion blocks.
        ndim: 2 or 3.
        transformer: depth, heads, head_width, mlp and patch of every GMS block.

    Raises:
        InvalidInput: a block refuses its knobs.
    """
    norm = {2: "batch", 3: "instance"}[ndim]
    merge = BlockSpec.of("concat-fusion", expansion=fusion)
    identity = BlockSpec.of("identity")

    def gms(ratio: str) -> BlockSpec:
        return BlockSpec.of("gms", tc=ratio, **transformer).canonical()

    local = [
        Stage(BlockSpec.of("lms", kernels=k, repeats=n), width)
        for k, n, width in zip(kernels, repeats, widths, strict=False)
    ]
    whole = [Stage(gms(ratio), width) for ratio, width in zip(tc, widths[3:], strict=False)]
    first = {
        "gms": Stage(gms(tc[2]), widths[3], skip=BlockSpec.of("concat")),
        "fusion": Stage(identity, widths[3]),
        "both": Stage(gms(tc[2]), widths[3]),
    }[bottom]
    return Arch(
        encoder=(*local, *whole),
        decoder=(
            first,
            Stage(gms(tc[3]), widths[2]),
            Stage(identity, widths[1]),
            Stage(identity, widths[0]),
        ),
        stem=BlockSpec.of("conv-stem", norm=norm),
        down=BlockSpec.of("max-pool"),
        up=BlockSpec.of("linear-conv", norm=norm),
        skip=merge,
        head=BlockSpec.of("conv1x1"),
        ndim=ndim,
        layout="skip-before-down",
    )


_LMS, _GMS = LocalMultiScale.knobs, GlobalMultiScale.knobs
_TRANSFORMER = ("depth", "heads", "head_width", "mlp", "patch")

DIMENSIONS: Mapping[str, Choice | Int] = {
    "width": Choice(16, 8, 24, 32),
    "growth": Choice("1-2-4-8-8", "1-2-4-8-16", "1-2-4-5-8", "1-2-3-4-6", "1-1-2-3-4", "1-1-2-2-2"),
    **{f"kernels_{i}": Choice(*_LMS["kernels"]) for i in (1, 2, 3)},
    **{f"repeats_{i}": Int(1, 3) for i in (1, 2, 3)},
    **{f"tc_{i}": Choice(*_GMS["tc"]) for i in (1, 2, 3, 4)},
    "depth": Choice(*_GMS["depth"]),
    "heads": Choice(*_GMS["heads"]),
    "head_width": Choice(*_GMS["head_width"]),
    "mlp": Choice(*_GMS["mlp"]),
    "patch": Choice(2, 1),  # 4 would need sides that are multiples of 64
    "bottom": Choice("gms", "fusion", "both"),
    "fusion": Choice(4, 2),
}

BASE: Point = {name: dimension.values[0] for name, dimension in DIMENSIONS.items()}


def decode(point: Point, ndim: int = 2) -> Arch:
    """Return the arch of a point."""

    def each(name: str, count: int) -> list[str]:
        return [str(point[f"{name}_{i}"]) for i in range(1, count + 1)]

    return lgms(
        [int(point["width"]) * int(factor) for factor in str(point["growth"]).split("-")],
        kernels=each("kernels", 3),
        repeats=[int(n) for n in each("repeats", 3)],
        tc=each("tc", 4),
        bottom=str(point["bottom"]),
        fusion=int(point["fusion"]),
        ndim=ndim,
        **{name: int(point[name]) for name in _TRANSFORMER},
    )
