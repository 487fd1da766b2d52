"""Arch -> the source of one file that builds exactly this network with torch alone.

A backbone of another library is still made by that library, which the file then says it needs.

The layers are the source of our blocks; the assembly follows `search_spaces.core.network.UNet` with
its loops unrolled, and its parameters have the names that they have there.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.metadata import version
from textwrap import indent
from typing import Any

import torch

from nas.flatten import Origin, flatten
from nas.portable import read_image, read_weights, segment, write_mask
from nas.portable3d import read_volume, segment_volume, write_labels
from primitives.core.contract import Value, find_block
from primitives.core.layers import StridedPointwise2d, avoid_strided_pointwise
from search_spaces.core.arch import Arch, BlockSpec
from search_spaces.core.layouts import pairs
from search_spaces.core.network import Step, build

_PORTABLE: Mapping[int, tuple[Callable[..., Any], ...]] = {
    2: (read_weights, read_image, segment, write_mask),
    3: (read_weights, read_volume, segment_volume, write_labels),
}
_TAKEN = ("Net", "HERE", "load", "main")
_IMPORTS = (
    Origin("json", ""),
    Origin("sys", ""),
    Origin("pathlib", "Path"),
    Origin("torch", ""),
    Origin("torch", "Tensor"),
    Origin("torch", "nn"),
)

_HEADER = '''"""A network for {kind} segmentation.

{table}

{params} parameters; arch key {key}.
Input: float32 (N, {in_channels}, {sides}), normalised as preprocess.json says; {all_sides} are
multiples of {multiple}.
Output: logits (N, {classes}, {sides}).
{needs}
    net = load()                                  # weights.safetensors beside this file
    {usage:<45} # needs {library} as well
"""
'''

_NET = '''class Net(nn.Module):
    """The network; (N, {in_channels}, {sides}) -> logits (N, {classes}, {sides})."""

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
    """Segment one {kind}: {usage}."""
    if len(sys.argv) != 3:
        raise SystemExit("usage: {usage}")
    preprocess = json.loads((HERE / "preprocess.json").read_text())
{work}


if __name__ == "__main__":
    main()
'''
_WORK = {
    2: """    image = read_image(sys.argv[1], preprocess["in_channels"])
    write_mask(segment(load(), image, preprocess), sys.argv[2], preprocess["classes"])""",
    3: """    volume, spacing = read_volume(sys.argv[1])
    labels = segment_volume(load(), volume, spacing, preprocess)
    write_labels(labels, sys.argv[2], like=sys.argv[1])""",
}
_FACTS: Mapping[int, Mapping[str, str]] = {
    2: {
        "kind": "image",
        "sides": "H, W",
        "all_sides": "H and W",
        "usage": "python model.py IMAGE MASK.png",
        "library": "Pillow",
    },
    3: {
        "kind": "volume",
        "sides": "D, H, W",
        "all_sides": "D, H and W",
        "usage": "python model.py VOLUME.nii.gz LABELS.nii.gz",
        "library": "nibabel",
    },
}


def source(arch: Arch) -> str:
    """Return the text of model.py."""
    with torch.device("meta"):
        net = build(arch)
    blocks = dict.fromkeys(find_block(step.spec.name).module for step in net.steps if step.spec)
    strided = any(isinstance(module, StridedPointwise2d) for module in net.modules())
    cures = [avoid_strided_pointwise] if strided else []  # as `make_unfilled` does, block by block
    parts: list[Callable[..., Any]] = [*blocks, *cures, *_PORTABLE[arch.ndim]]
    flat = flatten(parts, taken=_TAKEN, imports=_IMPORTS)
    facts = {
        **_FACTS[arch.ndim],
        "in_channels": arch.in_channels,
        "classes": arch.classes,
        "multiple": arch.multiple,
    }
    made = _layers(net.steps, flat.names, arch.ndim)
    cured = (f"{flat.names[cure]}(self)" for cure in cures)
    lines = [*made, *cured], _steps(net.steps, arch)
    others = needs(arch)
    header = _HEADER.format(
        needs=f"Needs torch and {_with_versions(others)}.\n" if others else "",
        table=arch.describe(),
        params=sum(p.numel() for p in net.parameters()),
        key=arch.key,
        **facts,
    )
    layers, steps = (indent("\n".join(part), " " * 8) for part in lines)
    body = _NET.format(layers=layers, steps=steps, **facts)
    imports = "\n".join(flat.imports)
    footer = _FOOTER.format(work=_WORK[arch.ndim], **facts)
    texts = (f"{header}\n{imports}", *flat.definitions, body.strip(), footer)
    return "\n\n\n".join(texts)


def needs(arch: Arch) -> tuple[str, ...]:
    """Return the libraries besides torch that a network of an arch needs."""
    return tuple(getattr(find_block(arch.stem.name).module, "needs", ()))


def _with_versions(libraries: Iterable[str]) -> str:
    return " and ".join(f"{name} (written with {version(name)})" for name in libraries)


def _layers(steps: Iterable[Step], names: Mapping[Any, str], ndim: int) -> Iterator[str]:
    """Yield the lines that make the layers, each once."""
    made = set()
    for step in steps:
        if step.spec is not None and step.layer not in made:
            made.add(step.layer)
            yield f"self.{step.layer} = {_call(step.spec, step.channels, names, ndim)}"


def _call(spec: BlockSpec, channels: Iterable[int], names: Mapping[Any, str], ndim: int) -> str:
    block = find_block(spec.name)
    arguments = [*map(str, channels), *(f"{k}={_literal(v)}" for k, v in spec.knobs)]
    if ndim != 2:
        arguments.append(f"ndim={ndim}")
    return f"{names[block.module]}({', '.join(arguments)})"


def _steps(steps: Iterable[Step], arch: Arch) -> Iterator[str]:
    """Yield the lines of the forward pass; a comment says where a stage begins."""
    stages = {name.replace(" ", ""): (name, scale, s) for name, scale, s in pairs(arch)}
    last = ""
    for step in steps:
        place = step.layer.partition("_")[0]
        if place in stages and place != last:
            name, scale, stage = stages[place]
            where = f"1/{scale} of the sides" if scale > 1 else "full resolution"
            yield f"# {name}: {stage.width} channels, blocks at {where}"
            last = place
        given = ", ".join(step.inputs)
        yield (
            f"{', '.join(step.outputs)} = self.{step.layer}({given})"
            if step.layer
            else (f"{step.outputs[0]} = {given}")
        )
    yield "return x"


def _literal(value: Value) -> str:
    return json.dumps(value) if isinstance(value, str) else repr(value)
