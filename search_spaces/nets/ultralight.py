"""UltraLightUNet / MK-UNet (Rahman and Marculescu, ICCV workshops 2025) in 2D and 3D."""

from collections.abc import Iterator, Mapping, Sequence

from primitives.attention import ChannelAttention, SpatialAttention
from primitives.core.contract import Value
from primitives.gates import GroupedAttentionGate
from primitives.mkir import MultiKernelInvertedResidual
from search_spaces.core.arch import Arch, BlockSpec, Stage
from search_spaces.core.space import Choice, Int, Point

LEVELS = (1, 2, 3, 4, 5)  # encoder stages from the top down, decoder stages from the bottom up
_MKIR = MultiKernelInvertedResidual.knobs
PUBLISHED_RATIOS = (16, 16, 16, 8, 4)  # channel attention of the decoder, deepest stage first
_ATTENTION = ("ca-sa", "none", "ca", "sa")


def ultralight(
    widths: Sequence[int] = (16, 32, 64, 96, 160),
    *,
    depths: Sequence[int] = (1, 1, 1, 1, 1),
    encoder_kernels: Sequence[str] = ("1-3-5",) * 5,
    decoder_kernels: Sequence[str] = ("1-3-5",) * 5,
    encoder_expansion: int = 2,
    decoder_expansion: int = 2,
    encoder_attention: Sequence[str] = ("none",) * 5,
    decoder_attention: Sequence[str] = ("ca-sa",) * 5,
    ratios: Sequence[int] = PUBLISHED_RATIOS,
    sa_kernel: int = 7,
    skip: BlockSpec | None = None,
    ndim: int = 2,
    **filter_knobs: Value,
) -> Arch:
    """Return any network of the family; the defaults are UltraLightUNet base.

    Args:
        widths: channels of the encoder stages; the length, N, is the number of levels.
        depths: blocks per encoder stage, N values.
        encoder_kernels: kernel set of each encoder stage, N values.
        decoder_kernels: the same for the decoder, deepest stage first.
        encoder_expansion: hidden channels / in_channels of encoder blocks.
        decoder_expansion: the same for decoder blocks.
        encoder_attention: "none", "ca", "sa" or "ca-sa" on the output of each encoder stage.
        decoder_attention: the same on the input of each decoder stage.
        ratios: of channel attention per decoder stage; the encoder mirrors them.
        sa_kernel: side of the one spatial attention kernel that all stages share.
        skip: a skip block; the published grouped attention gate by default.
        ndim: 2 or 3.
        filter_knobs: mode, fuse, activation and branch_norm of every block.

    Raises:
        InvalidInput: a block refuses its knobs.
    """
    spatial = BlockSpec.of("spatial-attention", kernel=sa_kernel)

    def attention(kind: str, width: int, ratio: int) -> tuple[BlockSpec, ...]:
        channel = BlockSpec.of("channel-attention", ratio=ratio).canonical(width)
        return {"none": (), "ca": (channel,), "sa": (spatial,), "ca-sa": (channel, spatial)}[kind]

    encoder = tuple(
        Stage(block, width, depth, attention(kind, width, ratio))
        for block, width, depth, kind, ratio in zip(
            _blocks(encoder_kernels, encoder_expansion, filter_knobs),
            *(widths, depths, encoder_attention, ratios[::-1]),
            strict=True,
        )
    )
    decoder = tuple(
        Stage(block, width, 1, attention(kind, seen, ratio))
        for block, width, seen, kind, ratio in zip(
            _blocks(decoder_kernels, decoder_expansion, filter_knobs),
            *((*widths[-2::-1], widths[0]), widths[::-1], decoder_attention, ratios),
            strict=True,
        )
    )
    attended = {spec for stage in (*encoder, *decoder) for spec in stage.attention}
    return Arch(
        encoder=encoder,
        decoder=decoder,
        stem=BlockSpec.of("repeat-grey"),
        down=BlockSpec.of("max-pool"),
        up=BlockSpec.of("bilinear-relu"),
        skip=skip or BlockSpec.of("gag"),
        head=BlockSpec.of("conv1x1"),
        shared=spatial if spatial in attended else None,
        ndim=ndim,
    )


def _blocks(
    kernel_sets: Sequence[str], expansion: int, knobs: Mapping[str, Value]
) -> Iterator[BlockSpec]:
    for kernels in kernel_sets:
        yield BlockSpec.of("mkir", kernels=kernels, expansion=expansion, **knobs).canonical()


def decode(point: Point, ndim: int = 2) -> Arch:
    """Return the arch of a point; stage 5 and the gate's kernel vanish without an effect."""
    levels = int(point["levels"])
    growth = [int(g) for g in str(point["growth"]).split("-")]
    ratio = point["ca_ratio"]

    def each(name: str, deepest_first: bool = False) -> list[str]:
        values = [str(point[f"{name}_{level}"]) for level in LEVELS]
        return values[-levels:] if deepest_first else values[:levels]

    skips = {"gag": {"kernel": point["gate_kernel"]}}
    gate = str(point["gate"])
    return ultralight(
        widths=[int(point["width"]) * g for g in growth[:levels]],
        depths=[int(depth) for depth in each("depth")],
        encoder_kernels=each("encoder_kernels"),
        decoder_kernels=each("decoder_kernels", True),
        encoder_expansion=int(point["encoder_expansion"]),
        decoder_expansion=int(point["decoder_expansion"]),
        encoder_attention=each("encoder_attention"),
        decoder_attention=each("decoder_attention", True),
        ratios=(PUBLISHED_RATIOS if ratio == "published" else (int(ratio),) * 5)[-levels:],
        sa_kernel=int(point["sa_kernel"]),
        skip=BlockSpec.of(gate, **skips.get(gate, {})),
        mode=point["mode"],
        fuse=point["fuse"],
        activation=point["activation"],
        branch_norm=point.get("branch_norm", True),
        ndim=ndim,
    )


def _per_level(name: str, dimension: Choice | Int) -> dict[str, Choice | Int]:
    return {f"{name}_{level}": dimension for level in LEVELS}


DIMENSIONS: Mapping[str, Choice | Int] = {
    "width": Choice(16, 4, 8, 12, 20, 24, 32, 48, 64),
    "growth": Choice(
        "1-2-4-6-10", "1-2-4-6-8", "1-2-4-8-16", "1-2-3-4-6", "1-2-2-4-4", "1-1-2-3-4"
    ),
    "levels": Int(4, 5),
    **_per_level("depth", Int(1, 3)),
    "encoder_expansion": Choice(*_MKIR["expansion"]),
    "decoder_expansion": Choice(*_MKIR["expansion"]),
    **_per_level("encoder_kernels", Choice(*_MKIR["kernels"])),
    **_per_level("decoder_kernels", Choice(*_MKIR["kernels"])),
    **_per_level("encoder_attention", Choice(*_ATTENTION)),
    **_per_level("decoder_attention", Choice(*_ATTENTION)),
    "ca_ratio": Choice("published", *map(str, ChannelAttention.knobs["ratio"])),
    "sa_kernel": Choice(*SpatialAttention.knobs["kernel"]),
    "gate": Choice("gag", "ag", "add"),
    "gate_kernel": Choice(*GroupedAttentionGate.knobs["kernel"]),
    "mode": Choice(*_MKIR["mode"]),
    "fuse": Choice(*_MKIR["fuse"]),
    "activation": Choice(*_MKIR["activation"]),
}

BASE: Point = {
    **{name: dimension.values[0] for name, dimension in DIMENSIONS.items()},
    "levels": 5,
    **{f"encoder_attention_{level}": "none" for level in LEVELS},
}
