"""How the stages of an arch are joined: one function per wiring, chosen by `Arch.layout`.

A layout writes down the steps of the forward pass; `x` is the map on the main path. Adding a wiring
takes one function here and its line in `LAYOUTS`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from search_spaces.core.arch import Arch, BlockSpec, Stage


class Assembly(Protocol):
    """What a layout tells what comes next; `search_spaces.core.network` makes a network of it."""

    def apply(
        self,
        layer: str,
        spec: "BlockSpec",
        inputs: Sequence[str] = ("x",),
        *,
        width: int | None = None,
        output: str = "x",
    ) -> None:
        """Apply a block to maps; it is made with their channels, and with `width` if given."""

    def keep(self, name: str) -> None:
        """Remember the main path's map under a name."""

    def take(self, name: str) -> None:
        """Go on with a map that has a name."""

    def stem(self) -> None:
        """Apply the stem."""

    def maps(self, names: Sequence[str]) -> None:
        """Apply the stem, an encoder block, and name its maps from the largest on."""

    def blocks(self, place: str, stage: "Stage") -> None:
        """Apply the blocks of a stage."""

    def attend(self, place: str, stage: "Stage") -> None:
        """Apply the attention of a stage."""

    def end(self, place: str, stage: "Stage") -> None:
        """Apply what a stage has after its size change or merge, and check its width."""

    def head(self, *others: str) -> None:
        """Compute the logits, of kept maps too if the head takes them."""


Scales = tuple[list[int], list[int]]


@dataclass(frozen=True, slots=True)
class Layout:
    """A wiring.

    Attributes:
        assemble: writes the steps down.
        decoders: number of encoder stages, stride of the stem -> number of decoder stages.
        scales: the same -> side of the input / side of the map that the blocks of each encoder and
            decoder stage see.
        deepest: the same -> that of the smallest map of all.
    """

    assemble: Callable[["Arch", Assembly], None]
    decoders: Callable[[int, int], int]
    scales: Callable[[int, int], Scales]
    deepest: Callable[[int, int], int]


def skip_after_down(arch: "Arch", net: Assembly) -> None:
    """Skips are taken after the size change; decoder stages work before they upsample.

    The last decoder stage ends at full resolution and has no skip. Source: UltraLightUNet, UNeXt,
    UConvNeXt.
    """
    levels = len(arch.encoder)
    net.stem()
    for i, stage in enumerate(arch.encoder, 1):
        place = f"encoder{i}"
        net.blocks(place, stage)
        net.attend(place, stage)
        net.apply(f"{place}_down", stage.resize or arch.down, width=stage.width)
        net.end(place, stage)
        if i < levels:  # the bottom is the decoder's input
            net.keep(f"skip{i}")
    for i, stage in enumerate(arch.decoder, 1):
        place = f"decoder{i}"
        net.attend(place, stage)
        net.blocks(place, stage)
        net.apply(f"{place}_up", stage.resize or arch.up, width=stage.width)
        if i < levels:
            merged = ("x", f"skip{levels - i}")
            net.apply(f"{place}_skip", stage.skip or arch.skip, merged)
        net.end(place, stage)
    net.head()


def skip_before_down(arch: "Arch", net: Assembly) -> None:
    """Skips are taken before the size change; decoder stages work after they merged the skip.

    Source: U-Net (Ronneberger et al., MICCAI 2015).
    """
    net.stem()
    encode(arch, net)
    for i, stage in enumerate(arch.decoder, 1):
        place, level = f"decoder{i}", len(arch.encoder) - i
        net.apply(f"{place}_up", stage.resize or arch.up, width=arch.encoder[level - 1].width)
        net.apply(f"{place}_skip", stage.skip or arch.skip, ("x", f"skip{level}"))
        net.attend(place, stage)
        net.blocks(place, stage)
        net.end(place, stage)
    net.head()


def backbone(arch: "Arch", net: Assembly) -> None:
    """Give encoder stages the maps of a ready-made encoder; decoder stages work as in U-Net.

    Decoder stages above the largest map have no skip; the last one works at full resolution.
    Source: Iakubovskii, Segmentation Models Pytorch, 2019.
    """
    levels = len(arch.encoder)
    net.maps([f"map{i}" for i in range(1, levels + 1)])
    for i, stage in enumerate(arch.encoder, 1):
        place = f"encoder{i}"
        net.take(f"map{i}")
        net.blocks(place, stage)
        net.attend(place, stage)
        net.end(place, stage)
        if i < levels:
            net.keep(f"skip{i}")
    for i, stage in enumerate(arch.decoder, 1):
        place, level = f"decoder{i}", levels - i
        width = arch.encoder[level - 1].width if level > 0 else stage.width
        net.apply(f"{place}_up", stage.resize or arch.up, width=width)
        if level > 0:
            net.apply(f"{place}_skip", stage.skip or arch.skip, ("x", f"skip{level}"))
        net.attend(place, stage)
        net.blocks(place, stage)
        net.end(place, stage)
    net.head()


def classifier(arch: "Arch", net: Assembly) -> None:
    """Join an encoder and a head that gives one row of logits per image."""
    net.stem()
    encode(arch, net)
    net.head()


def nested(arch: "Arch", net: Assembly) -> None:
    """Every level has nodes of its own that join all earlier ones and the upsampled one below.

    Decoder stages describe the nodes of a level. Source: U-Net++ (Zhou et al., DLMIA 2018).
    """
    _nest(arch, net, lambda level, column: arch.decoder[len(arch.decoder) - 1 - level])
    net.head()


def nested_ensemble(arch: "Arch", net: Assembly) -> None:
    """Nest with one decoder stage per diagonal, and a head that takes all full-size nodes.

    Decoder stages run from the deepest diagonal, the last one, to the first.
    """
    count = len(arch.decoder)
    _nest(arch, net, lambda level, column: arch.decoder[count - level - column])
    net.head(*(f"node1_{column}" for column in range(2, count + 1)))


def _nest(arch: "Arch", net: Assembly, stage_of: Callable[[int, int], "Stage"]) -> None:
    net.stem()
    concat = arch.skip
    for i, stage in enumerate(arch.encoder, 1):
        if i > 1:
            above = (f"node{i - 1}_1",)
            net.apply(f"encoder{i}_down", stage.resize or arch.down, above, width=stage.width)
        net.blocks(f"encoder{i}", stage)
        net.end(f"encoder{i}", stage)
        net.keep(f"node{i}_1")
        for column in range(1, i):  # the diagonal that this level makes possible
            level = i - column
            place, node = f"node{level}_{column + 1}", stage_of(level - 1, column)
            below = (f"node{level + 1}_{column}",)
            earlier = [f"node{level}_{k}" for k in range(1, column + 1)]
            net.apply(f"{place}_up", node.resize or arch.up, below, width=node.width)
            net.apply(f"{place}_skip", concat, ("x", *earlier))
            net.blocks(place, node)
            net.keep(place)


def bridged(arch: "Arch", net: Assembly) -> None:
    """Skips pass a chain of bridges, which also see the deeper map and a side map of the decoder.

    Source: EGE-UNet (Ruan et al., MICCAI 2023): the bottom keeps its size, the first decoder stage
    too, and the last one ends at half resolution.
    """
    from search_spaces.core.arch import BlockSpec  # which imports this file

    side, add = BlockSpec.of("conv1x1"), BlockSpec.of("add")
    levels = len(arch.encoder)
    net.stem()
    for i, stage in enumerate(arch.encoder, 1):
        net.blocks(f"encoder{i}", stage)
        if i < levels:
            net.apply(f"encoder{i}_down", stage.resize or arch.down, width=stage.width)
            net.keep(f"skip{i}")
        net.end(f"encoder{i}", stage)
    net.keep("bridge")
    for i, stage in enumerate(arch.decoder, 1):
        place = f"decoder{i}"
        net.blocks(place, stage)
        if i > 1:
            net.apply(f"{place}_up", stage.resize or arch.up, width=stage.width)
        net.end(place, stage)
        net.apply(f"{place}_side", side, width=1, output="side")
        bridge = ("bridge", f"skip{levels - i}", "side")
        net.apply(f"{place}_bridge", stage.skip or arch.skip, bridge, output="bridge")
        net.apply(f"{place}_add", add, ("x", "bridge"))
    net.head()


def encode(arch: "Arch", net: Assembly) -> None:
    """Apply encoder stages that begin with their size change; keep all but the last as skips."""
    for i, stage in enumerate(arch.encoder, 1):
        place = f"encoder{i}"
        if i > 1:
            net.apply(f"{place}_down", stage.resize or arch.down, width=stage.width)
        net.blocks(place, stage)
        net.attend(place, stage)
        net.end(place, stage)
        if i <= len(arch.decoder):
            net.keep(f"skip{i}")


def _doubling(count: int, first: int) -> list[int]:
    return [first * 2**i for i in range(count)]


def _to_full(levels: int, stride: int) -> int:
    """Return how often the smallest of `levels` maps must be doubled; the largest is 1/stride."""
    return levels - 1 + stride.bit_length() - 1


LAYOUTS: Mapping[str, Layout] = {
    "skip-after-down": Layout(
        skip_after_down,
        decoders=lambda n, s: n,
        scales=lambda n, s: (_doubling(n, s), _doubling(n, 2 * s)[::-1]),
        deepest=lambda n, s: s * 2**n,
    ),
    **{
        name: Layout(
            assemble,
            decoders=lambda n, s: n - 1,
            scales=lambda n, s: (_doubling(n, s), _doubling(n - 1, s)[::-1]),
            deepest=lambda n, s: s * 2 ** (n - 1),
        )
        for name, assemble in {
            "skip-before-down": skip_before_down,
            "nested": nested,
            "nested-ensemble": nested_ensemble,
        }.items()
    },
    "bridged": Layout(
        bridged,
        decoders=lambda n, s: n - 1,
        scales=lambda n, s: (
            _doubling(n, s),
            [s * 2 ** (n - 1), *_doubling(n - 2, 4 * s)[::-1]],
        ),
        deepest=lambda n, s: s * 2 ** (n - 1),
    ),
    "backbone": Layout(
        backbone,
        decoders=_to_full,
        scales=lambda n, s: (_doubling(n, s), _doubling(_to_full(n, s), 1)[::-1]),
        deepest=lambda n, s: s * 2 ** (n - 1),
    ),
    "classifier": Layout(
        classifier,
        decoders=lambda n, s: 0,
        scales=lambda n, s: (_doubling(n, s), []),
        deepest=lambda n, s: s * 2 ** (n - 1),
    ),
}


def pairs(arch: "Arch") -> Sequence[tuple[str, int, "Stage"]]:
    """Return name, scale (input side / side its blocks see) and stage, in order of computation."""
    encoder, decoder = LAYOUTS[arch.layout].scales(len(arch.encoder), arch.stem.stride)
    return [
        *((f"encoder {i + 1}", encoder[i], s) for i, s in enumerate(arch.encoder)),
        *((f"decoder {i + 1}", decoder[i], s) for i, s in enumerate(arch.decoder)),
    ]
