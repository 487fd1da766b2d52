import json
import random
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn

import search_spaces
from nas.images import decode_image, normalise, resize_image, to_channels
from nas.metrics import labels
from nas.standalone import source
from search_spaces.core.arch import Arch
from search_spaces.core.network import build
from search_spaces.core.space import Point, Space

FRESH = """
import pathlib, sys, torch
torch.set_num_threads(1)
sys.path.insert(0, "")
for folder in sorted(pathlib.Path(sys.argv[1]).iterdir()):
    sys.path[0] = str(folder)
    sys.modules.pop("model", None)
    from model import load
    with torch.no_grad():
        torch.save(load()(torch.load(folder / "x.pt")), folder / "y.pt")
ours = {"nas", "primitives", "search_spaces", "dashboard", "safetensors"}
print(sorted(ours & {name.partition(".")[0] for name in sys.modules}))
"""


def trained(arch: Arch, seed: int) -> nn.Module:
    """Build a net whose norms and weights all differ from their start."""
    torch.manual_seed(seed)
    net = build(arch)
    with torch.no_grad():
        for name, value in net.state_dict().items():
            if name.endswith("running_var"):
                value.uniform_(0.5, 2)
            elif value.is_floating_point():
                value.add_(torch.randn_like(value) * 0.1)
    return net.eval()


def small(space: Space) -> Point:
    """The dimension that makes networks of a space light."""
    if "width" in space.dimensions:
        return {"width": min(space.dimensions["width"].values)}
    return {"scale": "1/8"}


def archs() -> Iterator[tuple[str, Arch]]:
    """Baselines and random points of every space, grey and colour, with one and several classes."""
    for name in search_spaces.names():
        space, rng = search_spaces.load(name), random.Random(0)
        for i, (baseline, entry) in enumerate(space.seeds()):
            if i < 2:
                yield f"{name} {baseline}", space.arch(entry.point, in_channels=1)
        plain = (space.arch(entry.point) for entry in space.baselines.values())
        for arch in [arch for arch in plain if arch.shared is None][:1]:
            yield f"{name} without shared attention", arch
        for i in range({"ultralight": 6}.get(name, 2 if space.ndim == 2 else 1)):
            point = {**space.sample(rng), **small(space)}
            yield (
                f"{name} sample {i}",
                space.arch(point, in_channels=1 + i % 2 * 2, classes=1 + i % 3),
            )


ARCHS = dict(archs())
text_of = cache(source)


def namespace(arch: Arch) -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": "model", "__file__": "model.py"}
    exec(compile(text_of(arch), "model.py", "exec"), names)
    return names


def image(arch: Arch, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    sides = (2 * arch.multiple, *[arch.multiple] * (arch.ndim - 1))
    return torch.randn(2, arch.in_channels, *sides, generator=generator)


def test_the_cases_cover_shared_and_no_attention_and_both_depths() -> None:
    assert {arch.shared is None for arch in ARCHS.values()} == {True, False}
    assert {len(arch.encoder) for arch in ARCHS.values()} >= {4, 5}
    assert any(stage.depth > 1 for arch in ARCHS.values() for stage in arch.encoder)


@pytest.mark.parametrize("name", ARCHS)
def test_the_text_builds_the_same_network(name: str) -> None:
    arch = ARCHS[name]
    net, copy = trained(arch, 1), namespace(arch)["Net"]().eval()
    assert list(copy.state_dict()) == list(net.state_dict())
    copy.load_state_dict(net.state_dict())
    with torch.no_grad():
        torch.testing.assert_close(copy(image(arch)), net(image(arch)), atol=1e-5, rtol=0)


def test_training_the_copy_of_strided_pointwise_convolutions_has_the_same_gradients() -> None:
    mixed = search_spaces.load("mixed")
    changes = {"skip": "concat-project", "down": "residual-down", "width": 4}
    arch = mixed.arch({**mixed.baselines["cmunext"].point, **changes}, in_channels=1)
    net, copy = trained(arch, 1), namespace(arch)["Net"]().eval()
    copy.load_state_dict(net.state_dict())
    x = image(arch).to(memory_format=torch.channels_last)
    for one in (copy, net):
        one(x).square().mean().backward()
    found = {name: p.grad for name, p in copy.named_parameters()}
    strided = [
        name
        for name, layer in copy.named_modules()
        if isinstance(layer, nn.Conv2d) and layer.kernel_size == (1, 1) != layer.stride
    ]
    assert len(strided) == len(arch.encoder) - 1
    for name, layer in net.named_parameters():
        torch.testing.assert_close(found[name], layer.grad, rtol=1e-4, atol=1e-7)


def test_a_fresh_interpreter_needs_torch_alone(tmp_path: Path) -> None:
    expected = {}
    for i, arch in enumerate(list(ARCHS.values())[:4]):
        folder = tmp_path / "nets" / str(i)
        folder.mkdir(parents=True)
        net = trained(arch, i)
        save_file(net.state_dict(), folder / "weights.safetensors")
        (folder / "model.py").write_text(source(arch))
        torch.save(image(arch, i), folder / "x.pt")
        with torch.no_grad():
            expected[folder] = net(image(arch, i))
    command = [sys.executable, "-I", "-c", FRESH, str(tmp_path / "nets")]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == "[]\n"  # nothing of this project was loaded
    for folder, logits in expected.items():
        torch.testing.assert_close(torch.load(folder / "y.pt"), logits, atol=1e-5, rtol=0)


def test_the_text_names_neither_the_project_nor_a_pickle() -> None:
    for arch in ARCHS.values():
        text = text_of(arch)
        for word in ("primitives", "search_spaces", "import nas", "from nas", "InvalidInput"):
            assert word not in text
        assert "pickle" not in text
        assert "torch.load" not in text


def test_the_docstring_states_key_and_parameters() -> None:
    arch = ARCHS["ultralight ultralight-t"]
    doc = namespace(arch)["__doc__"]
    assert arch.key in doc
    assert "27353 parameters" in doc  # the published 27 384 less three heads that are never used
    assert arch.describe() in doc


def test_a_wrong_side_is_refused() -> None:
    arch = ARCHS["ultralight ultralight-t"]
    with pytest.raises(ValueError, match="multiples of 32"):
        namespace(arch)["Net"]()(torch.zeros(1, 1, 48, 64))


@pytest.mark.parametrize("mode", ["L", "I;16", "1", "RGBA", "P"])
def test_images_are_read_as_the_search_reads_them(tmp_path: Path, mode: str) -> None:
    values = torch.randint(0, 256, (20, 30, 3), generator=torch.Generator().manual_seed(0))
    colour = Image.frombytes("RGB", (30, 20), bytes(values.flatten().tolist()))
    deep = Image.frombytes("I;16", (30, 20), bytes(values.flatten().tolist()[: 2 * 600]))
    (deep if mode == "I;16" else colour.convert(mode)).save(tmp_path / "a.png")
    path = tmp_path / "a.png"
    read = namespace(ARCHS["ultralight ultralight-t"])["read_image"]
    for channels in (1, 3) if mode in ("L", "I;16", "1") else (3,):
        expected = to_channels(path, decode_image(path), channels)
        assert torch.equal(read(path, channels)[0], expected)
    if mode == "RGBA":
        with pytest.raises(ValueError, match="in colour"):
            read(path, 1)


def test_the_program_segments_an_image_as_the_search_does(tmp_path: Path) -> None:
    arch = ARCHS["ultralight ultralight-t"]
    net = trained(arch, 3)
    facts = {"in_channels": 1, "fit": "resize", "size": 64, "mean": [0.4], "std": [0.2]}
    facts |= {"classes": 1, "threshold": 0.5, "multiple": 32}
    (tmp_path / "preprocess.json").write_text(json.dumps(facts))
    pixels = torch.randint(0, 256, (64 * 64,), generator=torch.Generator().manual_seed(0)).tolist()
    Image.frombytes("L", (64, 64), bytes(pixels)).save(tmp_path / "a.png")
    with torch.no_grad():
        unit = to_channels(tmp_path / "a.png", decode_image(tmp_path / "a.png"), 1)
        x = normalise(resize_image(unit, 64), [0.4], [0.2])[None]
        net.get_parameter("head.conv.bias").sub_(net(x).median())  # half of the mask
        logits = net(x)
    expected = labels(logits)[0]
    assert 0.4 < expected.float().mean() < 0.6
    (tmp_path / "model.py").write_text(source(arch))
    save_file(net.state_dict(), tmp_path / "weights.safetensors")
    command = [sys.executable, "-I", "model.py", "a.png", "mask.png"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    mask = torch.from_numpy(decode_image(tmp_path / "mask.png").astype("int64"))
    sure = logits[0, 0].abs() > 1e-4  # thread counts differ, so rounding does
    assert sure.float().mean() > 0.98
    assert torch.equal(mask[sure], expected[sure] * 255)


def test_whole_images_of_any_size_keep_their_size() -> None:
    arch = ARCHS["ultralight ultralight-t"]
    names = namespace(arch)
    net = trained(arch, 3)
    facts = {"mean": [0.4], "std": [0.2], "threshold": 0.5, "size": 32, "multiple": 32}
    x = torch.rand(1, 1, 50, 70, generator=torch.Generator().manual_seed(0))
    padded = torch.nn.functional.pad(x, (0, 26, 0, 14), mode="replicate")
    with torch.no_grad():
        expected = labels(net(normalise(padded, [0.4], [0.2])))[0, :50, :70]
    assert torch.equal(names["segment"](net, x, {**facts, "fit": "crop"}).long(), expected)
    assert names["segment"](net, x, {**facts, "fit": "resize"}).shape == (50, 70)
