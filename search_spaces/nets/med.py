"""MedNeXt (classification) and MedUNeXt (segmentation) of Xue et al., PLOS ONE 2026, e0340108."""

from collections.abc import Mapping, Sequence

from primitives.core.contract import Value
from search_spaces.core.arch import Arch, BlockSpec, Stage


def mednext(
    widths: Sequence[int] = (64, 128, 256, 512),
    *,
    depths: Sequence[int] = (2, 2, 2, 2),
    size: int = 224,
    classes: int = 2,
    med: Mapping[str, Value] | None = None,
) -> Arch:
    """Return a classifier; the defaults have the published parameters and cost.

    Args:
        widths: channels of the stages, at 1/4, 1/8, ... of the input.
        depths: MED blocks per stage.
        size: side of the input that the axis mixing is made for, pixels.
        classes: logits.
        med: knobs of all MED blocks.
    """
    stages = [
        Stage(_med(size // 4 // 2**i, med or {}), width, depth)
        for i, (width, depth) in enumerate(zip(widths, depths, strict=True))
    ]
    return Arch(
        encoder=tuple(stages),
        decoder=(),
        stem=BlockSpec.of("med-stem"),
        down=BlockSpec.of("strided-conv"),
        up=BlockSpec.of("transposed"),
        skip=BlockSpec.of("concat"),
        head=BlockSpec.of("classifier"),
        classes=classes,
        layout="classifier",
    )


def medunext(
    widths: Sequence[int] = (64, 128, 256, 512, 1024),
    *,
    depths: Sequence[int] = (2, 1, 2),
    first: int = 4,
    decoder: bool = True,
    pooled: bool = True,
    skip: str = "concat",
    size: int = 224,
    med: Mapping[str, Value] | None = None,
) -> Arch:
    """Return a segmentation network.

    Args:
        widths: channels of the five levels.
        depths: MED blocks of encoder 4, encoder 5 and decoder 4; encoder stages before the fourth
            have those of the fourth, decoder stages after the first those of the first.
        first: encoder stage from which on stages are MED, 1 to 5.
        decoder: the decoder mirrors the encoder's MED stages, or has double convolutions alone.
        pooled: the input is max pooled and the head undoes it.
        skip: "concat" or "add".
        size: side of the input that the axis mixing is made for, pixels.
        med: knobs of all MED blocks.
    """
    conv = BlockSpec.of("double-conv")
    side = size // 2 if pooled else size

    def stage(level: int, depth: int, mixed: bool) -> Stage:
        block = _med(side // 2 ** (level - 1), med or {}) if mixed else conv
        return Stage(block, widths[level - 1], depth if mixed else 1)

    encoder = [stage(i, depths[1] if i == 5 else depths[0], i >= first) for i in range(1, 6)]
    return Arch(
        encoder=tuple(encoder),
        decoder=tuple(stage(i, depths[2], decoder and i >= first) for i in (4, 3, 2, 1)),
        stem=BlockSpec.of("pool-stem" if pooled else "as-is"),
        down=BlockSpec.of("strided-conv"),
        up=BlockSpec.of("transposed"),
        skip=BlockSpec.of(skip),
        head=BlockSpec.of("transposed-head" if pooled else "conv1x1"),
        layout="skip-before-down",
    )


def _med(side: int, given: Mapping[str, Value]) -> BlockSpec:
    return BlockSpec.of("med", **{**given, "side": side}).canonical()
