"""The only place that assembles a network: the steps of a layout, made and run."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from primitives.core.contract import find_block
from primitives.core.errors import InvalidInput
from primitives.core.init import INITS
from primitives.core.layers import avoid_strided_pointwise
from search_spaces.core.arch import Arch, BlockSpec, Stage
from search_spaces.core.layouts import LAYOUTS


def build(arch: Arch) -> "Network":
    """Return the network of an arch with freshly drawn weights, in training mode.

    Its forward maps (N, in_channels, H, W), or (N, in_channels, D, H, W) in 3D, to logits of the
    same sides; they must be multiples of `arch.multiple`.

    Raises:
        InvalidInput: a block refuses its channels or knobs, or a stage does not reach its width.
    """
    return Network(arch)


@dataclass(frozen=True, slots=True)
class Step:
    """One line of the forward pass: `outputs = layer(*inputs)`, or a copy without a layer.

    Attributes:
        layer: attribute of the network; "" for a plain copy.
        spec: its block.
        channels: what the block is made with.
        inputs: names of maps.
        outputs: name of the map; of several where the layer is an encoder.
    """

    layer: str
    spec: BlockSpec | None
    channels: tuple[int, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


class Network(nn.Module):
    """What an arch describes.

    Shape: (N, in_channels, *sides) -> (N, classes, *sides); (N, classes) of a classifier
    """

    def __init__(self, arch: Arch) -> None:
        super().__init__()
        self.multiple, self.ndim = arch.multiple, arch.ndim
        layers, self.steps = assemble(arch)
        for layer, module in layers.items():
            self.add_module(layer, module)
        self._unused = tuple(_unused_after(self.steps))

    def forward(self, x: Tensor) -> Tensor:
        """Compute logits; shape as in the class.

        Raises:
            InvalidInput: the input is of another dimension, or a side is no multiple of `multiple`.
        """
        if x.ndim != self.ndim + 2:
            raise InvalidInput(f"input must have {self.ndim + 2} axes, got {tuple(x.shape)}")
        if any(side % self.multiple for side in x.shape[2:]):
            raise InvalidInput(
                f"input sides must be multiples of {self.multiple}, got {tuple(x.shape[2:])}"
            )
        maps = {"x": x}
        for step, unused in zip(self.steps, self._unused, strict=True):
            given = [maps[name] for name in step.inputs]
            found = getattr(self, step.layer)(*given) if step.layer else given[0]
            maps.update(zip(step.outputs, found if len(step.outputs) > 1 else [found], strict=True))
            for name in unused:
                del maps[name]
        return maps["x"]


def assemble(
    arch: Arch, maker: Callable[..., nn.Module] | None = None
) -> tuple[dict[str, nn.Module], tuple[Step, ...]]:
    """Return the layers of a network by name, and the steps of its forward pass.

    Args:
        arch: what to assemble.
        maker: makes one block, with the arguments of `make`, which it is by default.

    Raises:
        InvalidInput: see `build`.
    """
    parts = _Parts(arch, maker or make)
    LAYOUTS[arch.layout].assemble(arch, parts)
    return parts.layers, tuple(parts.steps)


class _Parts:
    """Makes the blocks that a layout asks for and notes how they are joined."""

    def __init__(self, arch: Arch, maker: Callable[..., nn.Module]) -> None:
        self.arch, self.maker = arch, maker
        self.layers: dict[str, Any] = {}
        self.steps: list[Step] = []
        self.channels = {"x": arch.in_channels}

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
        if width is not None:
            channels += (width,)
        if layer not in self.layers:  # one that exists is used again
            self.layers[layer] = self.maker(spec, *channels, ndim=self.arch.ndim)
        self.steps.append(Step(layer, spec, channels, tuple(inputs), (output,)))
        self.channels[output] = int(getattr(self.layers[layer], "out_channels", channels[-1]))

    def keep(self, name: str) -> None:
        self._copy("x", name)

    def take(self, name: str) -> None:
        self._copy(name, "x")

    def _copy(self, source: str, target: str) -> None:
        self.steps.append(Step("", None, (), (source,), (target,)))
        self.channels[target] = self.channels[source]

    def maps(self, names: Sequence[str]) -> None:
        spec, channels = self.arch.stem, (self.arch.in_channels, len(names))
        self.layers["stem"] = self.maker(spec, *channels, ndim=self.arch.ndim)
        self.steps.append(Step("stem", spec, channels, ("x",), tuple(names)))
        self.channels.update(zip(names, self.layers["stem"].out_channels, strict=True))

    def stem(self) -> None:
        self.apply("stem", self.arch.stem, width=self.arch.encoder[0].width)

    def blocks(self, place: str, stage: Stage) -> None:
        for i in range(stage.depth):
            self.apply(f"{place}_block{i + 1}", stage.block, width=stage.width)

    def attend(self, place: str, stage: Stage) -> None:
        for i, spec in enumerate(stage.attention):
            self.apply("shared" if spec == self.arch.shared else f"{place}_attention{i + 1}", spec)

    def end(self, place: str, stage: Stage) -> None:
        for i, spec in enumerate(stage.after):
            self.apply(f"{place}_after{i + 1}", spec, width=stage.width)
        if self.channels["x"] != stage.width:
            raise InvalidInput(
                f"{place} must end with its width of {stage.width} channels, its blocks leave "
                f"{self.channels['x']}"
            )

    def head(self, *others: str) -> None:
        self.apply("head", self.arch.head, ("x", *others), width=self.arch.classes)


def _unused_after(steps: tuple[Step, ...]) -> Iterable[tuple[str, ...]]:
    """Yield for each step the maps that nothing reads any more, so that their memory is free."""
    last = {name: i for i, step in enumerate(steps) for name in step.inputs}
    for i, step in enumerate(steps):
        yield tuple(n for n in dict.fromkeys(step.inputs) if last[n] == i and n not in step.outputs)


def make(spec: BlockSpec, *channels: int, ndim: int = 2) -> nn.Module:
    """Make one block and fill its weights by the scheme it names.

    Raises:
        InvalidInput: the block refuses its channels, its knobs or the dimension.
    """
    module = make_unfilled(spec, *channels, ndim=ndim)
    INITS[find_block(spec.name).init](module)
    return module


def make_unfilled(spec: BlockSpec, *channels: int, ndim: int = 2) -> nn.Module:
    """Make one block with the weights that its modules begin with.

    Raises:
        InvalidInput: the block refuses its channels, its knobs or the dimension.
    """
    block = find_block(spec.name)
    knobs: dict[str, Any] = dict(spec.knobs)
    if ndim not in block.ndims:
        raise InvalidInput(f"block {spec.name!r} works in {block.ndims[0]}D alone, got ndim={ndim}")
    if len(block.ndims) > 1:
        knobs["ndim"] = ndim
    module = block.module(*channels, **knobs)
    avoid_strided_pointwise(module)
    return module
