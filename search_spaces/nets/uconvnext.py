"""UConvNeXt (BSPC 98, 2024, 106726): base network, ablations of Table 6, scales of Table 7."""

from collections.abc import Sequence

from primitives.core.contract import Value
from search_spaces.core.arch import Arch, BlockSpec, Stage

PUBLISHED = (16, 32, 64, 128, 256)
PLACES = ("e3", "e4", "e5", "d4", "d3")
# The networks of Table 7 but base have other perceptron blocks.
SCALE_VARIANT = {"mlp": 3, "projection": True, "fusion": "pooled"}


def uconvnext(
    widths: Sequence[int] = PUBLISHED,
    *,
    kernels: Sequence[int] = (7,) * 5,
    places: Sequence[str] = ("e4", "e5", "d4"),
    skip: str = "add",
    ds: dict[str, Value] | None = None,
    **lfwf: Value,
) -> Arch:
    """Return a network of the family; the defaults are the published base network.

    Args:
        widths: channels of the five levels.
        kernels: side of the depthwise kernel of each level, encoder and decoder.
        places: where a perceptron block follows: e3 to e5 after the pooling of that encoder stage,
            d4 and d3 after the merge with the skip of encoder 4 and 3.
        skip: block that merges.
        ds: knobs of all DS blocks.
        lfwf: knobs of all perceptron blocks.

    Raises:
        InvalidInput: a block refuses its knobs.
    """
    mixer = BlockSpec.of("lfwf-mlp", **lfwf)
    outer = [max(1, widths[0] // 2), *widths]  # channels outside level 1, and of each level

    def stage(level: int, down: bool) -> Stage:
        ends = outer[level - 1], outer[level]
        in_channels, width = ends if down else ends[::-1]
        block = BlockSpec.of("ds", **({"kernel": kernels[level - 1]} | (ds or {})))
        place = f"e{level}" if down else f"d{level - 1}"
        after = (mixer.canonical(width, width),) * (place in places)
        return Stage(block.canonical(in_channels, width), width, after=after)

    encoder = [stage(level, True) for level in (1, 2, 3, 4, 5)]
    decoder = [stage(level, False) for level in (5, 4, 3, 2, 1)]
    return Arch(
        encoder=tuple(encoder),
        decoder=tuple(decoder),
        stem=BlockSpec.of("reflect-stem"),
        down=BlockSpec.of("max-pool-relu"),
        up=BlockSpec.of("bilinear-relu"),
        skip=BlockSpec.of(skip),
        head=BlockSpec.of("conv1x1"),
    )
