"""Arch -> the source of one file that builds exactly this network with torch alone.

The layers are the source of our blocks; the assembly follows `search_spaces.core.network.UNet` with
its loops unrolled, and its parameters have the names that they have there.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from textwrap import indent
from typing import Any

import torch

from nas.flatten import Origin, flatten
from nas.portable import Stage, read_image, read_weights, segment, write_mask
from primitives.core.contract import Value, find_block
from search_spaces.core.arch import Arch, BlockSpec
from search_spaces.core.arch import Stage as Level
from search_spaces.core.network import build

_PORTABLE = (Stage, read_weights, read_image, segment, write_mask)
_TAKEN = ("Net", "HERE", "load", "main")
_IMPORTS = (
    Origin("json", ""),
    Origin("sys", ""),
    Origin("pathlib", "Path"),
    Origin("torch", ""),
    Origin("torch", "Tensor"),
    Origin("torch", "nn"),
)

_HEADER = '''"""A network for image segmentation.

{table}

{params} parameters; arch key {key}.
Input: float32 (N, {in_channels}, H, W), normalised as preprocess.json says; H and W are multiples
of {multiple}.
Output: logits (N, {classes}, H, W).

    net = load()                                  # weights.safetensors beside this file
    python model.py IMAGE MASK.png                # needs Pillow as well
"""
'''

_NET = '''class Net(nn.Module):
    """The network; (N, {in_channels}, H, W) -> logits (N, {classes}, H, W)."""

    def __init__(self) -> None:
        super().__init__()
{layers}

    def forward(self, x: Tensor) -> Tensor:
        """Compute logits."""
        if any(side % {multiple} for side in x.shape[2:]):
            raise ValueError("input sides must be multiples of {multiple}")
{steps}
'''

_FOOTER = '''HERE = Path(__file__).parent


def load(weights: str | Path = HERE / "weights.safetensors", device: str = "cpu") -> Net:
    """Return the network with its weights, ready to predict."""
    net = Net()
    net.load_state_dict(read_weights(weights))
    return net.eval().to(device)


def main() -> None:
    """Segment one image: python model.py IMAGE MASK.png."""
    if len(sys.argv) != 3:
        raise SystemExit("usage: python model.py IMAGE MASK.png")
    preprocess = json.loads((HERE / "preprocess.json").read_text())
    image = read_image(sys.argv[1], preprocess["in_channels"])
    write_mask(segment(load(), image, preprocess), sys.argv[2], preprocess["classes"])


if __name__ == "__main__":
    main()
'''


def source(arch: Arch) -> str:
    """Return the text of model.py."""
    with torch.device("meta"):
        net = build(arch)
    flat = flatten([*_blocks(arch), *_PORTABLE], taken=_TAKEN, imports=_IMPORTS)
    facts = {"in_channels": arch.in_channels, "classes": arch.classes, "multiple": arch.multiple}
    writer = _Writer(arch, int(net.stem.out_channels), flat.names)  # type: ignore[arg-type, union-attr]
    header = _HEADER.format(
        table=arch.describe(),
        params=sum(p.numel() for p in net.parameters()),
        key=arch.key,
        **facts,
    )
    layers, steps = (indent("\n".join(part), " " * 8) for part in (writer.layers(), writer.steps()))
    body = _NET.format(layers=layers, steps=steps, **facts)
    imports = "\n".join(flat.imports)
    parts = (f"{header}\n{imports}", *flat.definitions, body.strip(), _FOOTER)
    return "\n\n\n".join(parts)


def _blocks(arch: Arch) -> list[type[torch.nn.Module]]:
    """Return the classes of the blocks of an arch, each once, in the order of the forward pass."""
    stages = (*arch.encoder, *arch.decoder)
    specs = [arch.stem, *(s.block for s in stages), arch.down, arch.up, arch.skip, arch.head]
    specs += [spec for stage in stages for spec in stage.attention]
    return list(dict.fromkeys(find_block(spec.name).module for spec in specs))


class _Writer:
    """Writes the assembly of `UNet` down for one arch.

    Args:
        arch: the network.
        stem_channels: what its stem passes on.
        names: block class -> its name in the text.
    """

    def __init__(self, arch: Arch, stem_channels: int, names: Mapping[Any, str]) -> None:
        self.arch, self.names = arch, names
        levels = len(arch.encoder)
        self.widths = [stage.width for stage in (*arch.encoder, *arch.decoder)]
        self.inputs = [stem_channels, *self.widths]  # channels that enter each stage
        self.up_widths = self.widths[levels:]

    def layers(self) -> Iterator[str]:
        """Yield the lines that build the layers."""
        arch, levels = self.arch, len(self.arch.encoder)
        yield f"self.stem = {self._call(arch.stem, arch.in_channels)}"
        if arch.shared:
            yield f"self.shared = {self._call(arch.shared, self.widths[0])}"
        encoder = zip(arch.encoder, self.inputs[:levels], arch.widths, strict=True)
        yield from _listed("encoder", (self._stage(*stage) for stage in encoder))
        yield from _listed("downs", (self._call(arch.down, c, c) for c in arch.widths))
        seen = self.inputs[levels:-1]
        decoder = zip(arch.decoder, seen, seen, strict=True)
        yield from _listed("decoder", (self._stage(*stage) for stage in decoder))
        yield from _listed("ups", (self._call(arch.up, c, c) for c in self.up_widths))
        yield from _listed("skips", (self._call(arch.skip, c) for c in self.up_widths[:-1]))
        yield f"self.head = {self._call(arch.head, self.widths[-1], arch.classes)}"

    def steps(self) -> Iterator[str]:
        """Yield the lines of the forward pass."""
        levels = len(self.arch.encoder)
        yield "x = self.stem(x)"
        for i, stage in enumerate(self.arch.encoder):
            yield f"# encoder {i + 1}: {stage.width} channels, {_scale(i)}"
            yield f"x = self.encoder[{i}].blocks(x)"
            yield from self._attend(f"self.encoder[{i}]", stage)
            kept = f"skip{i + 1} = " if i < levels - 1 else ""
            yield f"{kept}x = self.downs[{i}](x)"
        for i, stage in enumerate(self.arch.decoder):
            yield f"# decoder {i + 1}: {stage.width} channels, {_scale(levels - i)}"
            yield from self._attend(f"self.decoder[{i}]", stage)
            yield f"x = self.decoder[{i}].blocks(x)"
            yield f"x = self.ups[{i}](x)"
            if i < levels - 1:
                yield f"x = self.skips[{i}](x, skip{levels - 1 - i})"
        yield "return self.head(x)"

    def _attend(self, place: str, stage: Level) -> Iterator[str]:
        for i, spec in enumerate(stage.attention):
            layer = "self.shared" if spec == self.arch.shared else f"{place}.attention[{i}]"
            yield f"x = {layer}(x)"

    def _stage(self, stage: Level, in_channels: int, attended: int) -> str:
        inputs = [in_channels, *[stage.width] * (stage.depth - 1)]
        blocks = [self._call(stage.block, c, stage.width) for c in inputs]
        attention = [
            "nn.Identity()" if spec == self.arch.shared else self._call(spec, attended)
            for spec in stage.attention
        ]
        lists = f"[{_rows(blocks)}],\n[{_rows(attention)}],"
        return f"Stage(\n{indent(lists, '    ')}\n)"

    def _call(self, spec: BlockSpec, *channels: int) -> str:
        arguments = [*map(str, channels), *(f"{k}={_literal(v)}" for k, v in spec.knobs)]
        return f"{self.names[find_block(spec.name).module]}({', '.join(arguments)})"


def _listed(name: str, items: Iterable[str]) -> Iterator[str]:
    yield f"self.{name} = nn.ModuleList(\n    [{indent(_rows(list(items)), '    ')}    ]\n)"


def _rows(items: list[str]) -> str:
    return "\n" + indent("".join(f"{item},\n" for item in items), "    ") if items else ""


def _scale(level: int) -> str:
    return f"1/{2**level} of the sides" if level else "full resolution"


def _literal(value: Value) -> str:
    return json.dumps(value) if isinstance(value, str) else repr(value)
