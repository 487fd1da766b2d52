"""The networks that the four papers compare with, as archs of any widths.

Sources and published figures: see the baselines of `search_spaces.unet`.
"""

from collections.abc import Sequence

from search_spaces.core.arch import Arch, BlockSpec, Stage


def unet(
    widths: Sequence[int] = (64, 128, 256, 512, 1024),
    *,
    skip: str = "concat",
    block: str = "double-conv",
    stages: int = 0,
) -> Arch:
    """Return U-Net; with skip "ag-concat" Attention U-Net, with `stages` of `block` a migration.

    Args:
        widths: channels of the levels.
        skip: how decoder stages merge.
        block: of the encoder stages that are not double convolutions.
        stages: how many of the deepest encoder stages have it.
    """
    plain = len(widths) - stages
    blocks = ["double-conv"] * plain + [block] * stages
    return Arch(
        encoder=_stages(blocks, widths),
        decoder=_stages(["double-conv"] * (len(widths) - 1), widths[-2::-1]),
        stem=BlockSpec.of("as-is"),
        down=BlockSpec.of("max-pool"),
        up=BlockSpec.of("nearest-conv"),
        skip=BlockSpec.of(skip),
        head=BlockSpec.of("conv1x1"),
        layout="skip-before-down",
    )


def tinyunet(
    widths: Sequence[int] = (64, 128, 256, 512), *, block: str = "cmrf", stages: int = 0
) -> Arch:
    """Return TinyU-Net, which has no blocks at the bottom; arguments as of `unet`."""
    blocks = ["cmrf"] * (len(widths) - stages) + [block] * stages
    return Arch(
        encoder=(*_stages(blocks, widths), Stage(BlockSpec.of("identity"), widths[-1])),
        decoder=_stages(["cmrf"] * len(widths), widths[::-1]),
        stem=BlockSpec.of("as-is"),
        down=BlockSpec.of("max-pool"),
        up=BlockSpec.of("bicubic"),
        skip=BlockSpec.of("concat", first="x"),
        head=BlockSpec.of("conv1x1"),
        layout="skip-before-down",
    )


def cmunext(
    widths: Sequence[int] = (16, 32, 128, 160, 256),
    *,
    repeats: Sequence[int] = (1, 1, 1, 3, 1),
    kernels: Sequence[int] = (3, 3, 7, 7, 7),
) -> Arch:
    """Return CMUNeXt.

    Args:
        widths: channels of the levels.
        repeats: blocks of each encoder stage.
        kernels: their sides, pixels.
    """
    return Arch(
        encoder=tuple(
            Stage(BlockSpec.of("cmunext", kernel=k, repeats=n), width)
            for width, n, k in zip(widths, repeats, kernels, strict=True)
        ),
        decoder=_stages(["identity"] * (len(widths) - 1), widths[-2::-1]),
        stem=BlockSpec.of("conv-stem"),
        down=BlockSpec.of("max-pool"),
        up=BlockSpec.of("linear-conv"),
        skip=BlockSpec.of("concat-fusion"),
        head=BlockSpec.of("conv1x1"),
        layout="skip-before-down",
    )


def unext(widths: Sequence[int] = (16, 32, 128, 160, 256), *, segments: int = 5) -> Arch:
    """Return UNeXt.

    Args:
        widths: channels of the five levels; the two deepest are token stages.
        segments: of the shifts.
    """
    tokens = BlockSpec.of("shifted-mlp", segments=segments)
    embed, conv = BlockSpec.of("token-embedding"), BlockSpec.of("conv-norm")
    identity = BlockSpec.of("identity")
    c1, c2, c3, c4, c5 = widths
    return Arch(
        encoder=(
            *(Stage(conv, width) for width in (c1, c2, c3)),
            *(Stage(identity, width, resize=embed, after=(tokens,)) for width in (c4, c5)),
        ),
        decoder=(
            *(Stage(conv, width, after=(tokens,)) for width in (c4, c3)),
            *(Stage(conv, width) for width in (c2, c1)),
            Stage(BlockSpec.of("conv-norm", norm=False), c1),
        ),
        stem=BlockSpec.of("as-is"),
        down=BlockSpec.of("max-pool-relu"),
        up=BlockSpec.of("bilinear-relu"),
        skip=BlockSpec.of("add"),
        head=BlockSpec.of("conv1x1"),
    )


def rolling_unet(widths: Sequence[int] = (16, 32, 64, 128, 256), *, dropout: float = 0.1) -> Arch:
    """Return Rolling-UNet.

    Args:
        widths: channels of the five levels.
        dropout: of the rolling blocks: 0.1, 0.2 and 0.3 in the published S, M and L.
    """
    rolling = BlockSpec.of("rolling", dropout=dropout)
    double, identity = BlockSpec.of("double-conv"), BlockSpec.of("identity")
    once = BlockSpec.of("conv-linear")
    twice = BlockSpec.of("conv-linear", convs=2)
    c1, c2, c3, c4, c5 = widths
    return Arch(
        encoder=(
            *(Stage(double, width) for width in (c1, c2, c3)),
            *(Stage(rolling, width) for width in (c4, c5)),
        ),
        decoder=(
            Stage(rolling, c4, resize=BlockSpec.of("embedding-linear")),
            Stage(identity, c3, resize=once),
            Stage(identity, c2, resize=twice),
            Stage(BlockSpec.of("double-conv", between="in"), c1 // 2, resize=twice),
        ),
        stem=BlockSpec.of("as-is"),
        down=BlockSpec.of("max-pool"),
        up=once,
        skip=BlockSpec.of("add"),
        head=BlockSpec.of("conv1x1"),
        layout="skip-before-down",
    )


def ege_unet(widths: Sequence[int] = (8, 16, 24, 32, 48, 64)) -> Arch:
    """Return EGE-UNet.

    Args:
        widths: channels of the six encoder stages, multiples of 4; the three deepest have GHPA.
    """
    conv, ghpa = BlockSpec.of("conv"), BlockSpec.of("ghpa")
    last = len(widths) - 1
    return Arch(
        encoder=tuple(
            Stage(
                conv if i < last - 2 else ghpa,
                width,
                after=(BlockSpec.of("gelu"),) * (i == last),
            )
            for i, width in enumerate(widths)
        ),
        decoder=tuple(
            Stage(ghpa if i < 3 else conv, width, after=(BlockSpec.of("norm-gelu"),) * (i == 0))
            for i, width in enumerate(widths[-2::-1])
        ),
        stem=BlockSpec.of("as-is"),
        down=BlockSpec.of("norm-pool"),
        up=BlockSpec.of("norm-linear"),
        skip=BlockSpec.of("ege-bridge"),
        head=BlockSpec.of("linear-head"),
        layout="bridged",
    )


def unet_plus_plus(widths: Sequence[int] = (32, 64, 128, 256, 512)) -> Arch:
    """Return the classic U-Net++.

    Args:
        widths: channels of the levels.
    """
    return Arch(
        encoder=_stages(["double-conv"] * len(widths), widths),
        decoder=_stages(["double-conv"] * (len(widths) - 1), widths[-2::-1]),
        stem=BlockSpec.of("as-is"),
        down=BlockSpec.of("max-pool"),
        up=BlockSpec.of("linear-aligned"),
        skip=BlockSpec.of("concat"),
        head=BlockSpec.of("conv1x1"),
        layout="nested",
    )


def resnet_unet_plus_plus(width: int = 64, *, depths: Sequence[int] = (3, 4, 6, 3)) -> Arch:
    """Return U-Net++ with a residual encoder, ResNet-34 by default.

    Args:
        width: channels of the first level; four further ones have 1, 2, 4 and 8 times as many.
        depths: residual blocks of those.
    """
    widths = [width * factor for factor in (1, 2, 4, 8)]
    down, block = BlockSpec.of("residual-down"), BlockSpec.of("residual")
    deeper = zip(widths[1:], depths[1:], strict=True)
    return Arch(
        encoder=(
            Stage(BlockSpec.of("identity"), width),
            Stage(block, width, depths[0], resize=BlockSpec.of("max-pool-3")),
            *(Stage(block, w, n - 1, resize=down) for w, n in deeper),
        ),
        decoder=_stages(["bottleneck-conv"] * 4, [4 * width, 2 * width, width, width]),
        stem=BlockSpec.of("residual-stem"),
        down=down,
        up=BlockSpec.of("nearest"),
        skip=BlockSpec.of("concat"),
        head=BlockSpec.of("weighted-heads"),
        layout="nested-ensemble",
    )


def _stages(blocks: Sequence[str], widths: Sequence[int]) -> tuple[Stage, ...]:
    return tuple(
        Stage(BlockSpec.of(block), width) for block, width in zip(blocks, widths, strict=True)
    )
