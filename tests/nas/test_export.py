import json
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import safetensors.torch
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn

import nas.export
import search_spaces
from nas.data import DataSpec, Prepared, prepare
from nas.evaluation import Evaluation, Latency
from nas.export import BOUND, ParityError, compare, export_net, export_trial, real_inputs
from nas.images import normalise
from nas.onnx_file import run_onnx, write_onnx
from nas.records import Trial
from nas.settings import Study
from primitives.core.errors import InvalidInput
from search_spaces.core.arch import Arch
from search_spaces.core.network import build
from tests.points import small_point

SPACE = search_spaces.load("ultralight")
TINY = SPACE.arch(SPACE.baseline("ultralight-t").point, in_channels=1)
PREPROCESS = {"in_channels": 1, "size": 32, "mean": [0.4], "std": [0.2], "classes": 1}


class Handle:
    """A study of one trial, as `nas.handle.StudyHandle` shows it."""

    def __init__(self, prepared: Prepared, state: str = "complete") -> None:
        self.name, self.prepared, self.revision = "liver", prepared, "abc1234"
        self.settings = Study(
            name="liver", space="ultralight", objectives=("dice",), size=32, epochs=3
        )
        self.store = SimpleNamespace(rig={"r1": {"processor": "Slow 486", "gpu": None}}.get)
        torch.manual_seed(0)
        self._net = build(TINY).eval()
        latency = Latency(1.25, 1.2, 1.3, 40, "r1")
        evaluation = Evaluation(
            TINY.key, 0.8125, 0.7, 27353, 4_000_000, 1.5, latency, 3, 3, 2, 60, 9.0, 7, "w"
        )
        self._trial = Trial(5, state, "", "ultralight-t", TINY, {}, {"dice": 0.8125}, evaluation)

    def trial(self, number: int) -> Trial:
        assert number == 5
        return self._trial

    def net(self, number: int) -> nn.Module:
        assert number == 5
        return self._net


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return prepare(DataSpec("phantom", 32), tmp_path_factory.mktemp("cache"), seed=0)


def export(arch: Arch, folder: Path, formats: Sequence[str] = ("module",), **changes: Any) -> Any:
    torch.manual_seed(1)
    state = build(arch).state_dict()
    inputs = [torch.rand(1, arch.in_channels, 32, 32), torch.rand(2, arch.in_channels, 64, 96)]
    return export_net(arch, state, inputs, folder, formats, card="# card", preprocess=PREPROCESS)


def leftovers(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*"))


def test_a_module_export_holds_the_weights_and_says_how_close_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    report = export(TINY, tmp_path / "a" / "out")
    files = ("card.md", "model.py", "preprocess.json", "weights.safetensors")
    assert report.files == files
    assert tuple(leftovers(tmp_path / "a")) == (*files[:2], "out", *files[2:])
    assert [(d.first, d.second) for d in report.differences] == [("search network", "model.py")] * 2
    assert [d.shape for d in report.differences] == [(1, 1, 32, 32), (2, 1, 64, 96)]
    assert all(0 <= d.value <= BOUND for d in report.differences)
    torch.manual_seed(1)
    expected, written = build(TINY).state_dict(), load_file(tmp_path / "a/out/weights.safetensors")
    assert written.keys() == expected.keys()
    assert all(torch.equal(written[name], expected[name]) for name in expected)
    assert json.loads((tmp_path / "a/out/preprocess.json").read_text()) == PREPROCESS
    assert "| search network | model.py | 1x1x32x32 |" in (tmp_path / "a/out/card.md").read_text()
    assert json.loads(json.dumps(report.to_json()))["differences"][1]["shape"] == [2, 1, 64, 96]
    assert str(report).splitlines()[1].startswith("search network and model.py at 1x1x32x32: ")


def test_broken_weights_fail_and_leave_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def save_badly(tensors: dict[str, Tensor]) -> bytes:
        bias = tensors["head.conv.bias"] + 0.0125
        return real_save({**tensors, "head.conv.bias": bias})

    real_save = safetensors.torch.save
    monkeypatch.setattr(safetensors.torch, "save", save_badly)
    with pytest.raises(
        ParityError, match=r"^search network and model.py .* 0\.0125 on an input of 1x1x32x32"
    ):
        export(TINY, tmp_path / "deep" / "out")
    assert leftovers(tmp_path) == []


def test_an_existing_empty_folder_survives_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nas.export, "BOUND", -1.0)
    (tmp_path / "out").mkdir()
    with pytest.raises(ParityError):
        export(TINY, tmp_path / "out")
    assert leftovers(tmp_path) == ["out"]


@pytest.mark.parametrize("wrong", [2 * BOUND, float("nan")])
def test_the_last_of_three_forms_is_compared_too(wrong: float) -> None:
    forms = {"a": lambda x: x, "b": lambda x: x + BOUND / 2, "c": lambda x: x + wrong}
    with pytest.raises(ParityError, match="a and c"):
        compare(forms, [torch.zeros(1, 1, 2, 2)])
    found = compare({"a": forms["a"], "b": forms["b"]}, [torch.zeros(1, 1, 2, 2)])
    assert found[0].value == pytest.approx(BOUND / 2)


def test_a_folder_in_use_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").touch()
    for folder in (tmp_path, tmp_path / "mine.txt"):
        with pytest.raises(InvalidInput, match=r"new or empty folder, got .*--out"):
            export(TINY, folder)
    assert leftovers(tmp_path) == ["mine.txt"]


def test_formats_are_checked(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="'onxx'; did you mean 'onnx'"):
        export(TINY, tmp_path / "out", ["module", "onxx"])
    with pytest.raises(InvalidInput, match="got none"):
        export(TINY, tmp_path / "out", [])


def test_real_inputs_are_normalised_validation_images_of_two_sizes(prepared: Prepared) -> None:
    first, second = real_inputs(prepared, 32)
    assert first.shape == (1, 1, 32, 32)
    assert second.shape == (2, 1, 64, 64)
    cached = load_file(prepared.cache)
    images = next(v for k, v in cached.items() if "val" in k and "image" in k)
    assert torch.equal(first, normalise(images[:1].float() / 255, prepared.mean, prepared.std))
    pixels = [normalise(i.float() / 255, prepared.mean, prepared.std) for i in images[[0, -1]]]
    for small, large in zip(pixels, second, strict=True):
        assert large.mean().item() == pytest.approx(small.mean().item(), abs=0.05)


def test_real_inputs_of_crops_are_cut_from_pictures_of_any_size(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
    for i in range(12):
        shape = (40 + 4 * i, 90 - 3 * i)
        mask = np.zeros(shape, np.uint8)
        mask[5:20, 5:20] = 255
        for name, pixels in (("images", rng.integers(60, 200, shape, np.uint8)), ("masks", mask)):
            Image.fromarray(pixels).save(tmp_path / name / f"{i:02}.png")
    prepared = prepare(DataSpec(str(tmp_path), 32, "crop"), tmp_path / "cache", seed=0)
    first, second = real_inputs(prepared, 32)
    assert (first.shape, second.shape) == ((1, 1, 32, 32), (2, 1, 64, 64))
    path = tmp_path / "images" / f"{prepared.split['val'][0]}.png"
    corner = torch.from_numpy(np.array(Image.open(path))[:32, :32]).float() / 255
    expected = (corner - prepared.mean[0]) / prepared.std[0]
    torch.testing.assert_close(first[0, 0], expected)
    # Pixels are 60 and more: the frame's zeros around a picture must not come along.
    assert second.min().item() > (55 / 255 - prepared.mean[0]) / prepared.std[0]


def test_a_trial_is_exported_with_its_card(tmp_path: Path, prepared: Prepared) -> None:
    report = export_trial(Handle(prepared), 5, tmp_path / "out", ["module"])  # type: ignore[arg-type]
    assert {d.shape for d in report.differences} == {(1, 1, 32, 32), (2, 1, 64, 64)}
    facts = json.loads((tmp_path / "out/preprocess.json").read_text())
    assert facts["mean"] == list(prepared.mean)
    assert (facts["activation"], facts["threshold"]) == ("sigmoid", 0.5)
    assert (facts["size"], facts["multiple"], facts["fit"]) == (32, 32, "resize")
    card = (tmp_path / "out/card.md").read_text()
    validated, kept = len(prepared.split["val"]), len(prepared.split["test"])
    for text in (
        "# ultralight-t",
        TINY.key,
        f"| 0.8125 | validation part, {validated} images, epoch 2 of 3; images resized to 32 x 32",
        f"The test part ({kept} images) took no part in training",
        "| 27353 | all learned numbers |",
        "95 % interval of the median 1.200 to 1.300 ms",
        "Slow 486",
        prepared.fingerprint,
        "seed: 7",
        "60 steps",
        "revision of the search program: abc1234",
        "net = load()",
        "not a medical device",
        "| search network | model.py |",
    ):
        assert text in card
    assert "onnxruntime.InferenceSession" not in card  # not exported


@pytest.mark.parametrize("state", ["stopped", "infeasible", "failed", "running"])
def test_a_trial_that_is_not_complete_is_refused(
    tmp_path: Path, prepared: Prepared, state: str
) -> None:
    with pytest.raises(InvalidInput, match=f"trial 5 is {state}"):
        export_trial(Handle(prepared, state), 5, tmp_path / "out")  # type: ignore[arg-type]
    assert leftovers(tmp_path) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"gate": "ag", "mode": "series", "fuse": "concat", "activation": "gelu", "width": 8},
        {"gate": "add", "levels": 4, "activation": "hardswish", "depth_1": 3},
    ],
)
def test_onnx_runtime_agrees_at_any_batch_and_size(tmp_path: Path, changes: dict[str, Any]) -> None:
    point = {**SPACE.baseline("ultralight-t").point, **changes}
    arch = SPACE.arch(point, in_channels=3, classes=2)
    report = export(arch, tmp_path / "out", ["module", "onnx"])
    assert report.files[:3] == ("card.md", "model.onnx", "model.py")
    assert {(d.first, d.second) for d in report.differences} == {
        ("search network", "model.py"),
        ("search network", "model.onnx"),
        ("model.py", "model.onnx"),
    }
    path = tmp_path / "out/model.onnx"
    onnx.checker.check_model(path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    torch.manual_seed(1)
    net = build(arch).eval()
    for n, h, w in ((1, 32, 32), (3, 32, 96), (1, 128, 64)):
        x = torch.rand(n, 3, h, w)
        (logits,) = session.run(["logits"], {"image": x.numpy()})
        with torch.no_grad():
            torch.testing.assert_close(torch.from_numpy(logits), net(x), atol=BOUND, rtol=0)
    facts = session.get_modelmeta().custom_metadata_map
    assert facts["arch_key"] == arch.key
    assert json.loads(facts["mean"]) == [0.4]
    assert str(Path(nas.export.__file__).parents[1]).encode() not in path.read_bytes()


@pytest.mark.slow
def test_random_networks_of_all_papers_blocks_survive_onnx(tmp_path: Path) -> None:
    space, rng = search_spaces.load("mixed"), random.Random(11)
    for i in range(2):
        arch = space.arch(small_point(space, rng))
        torch.manual_seed(i)
        net = build(arch).eval()
        write_onnx(net, arch, tmp_path / "net.onnx", {})
        forward = run_onnx(tmp_path / "net.onnx")
        for shape in ((1, 3, 32, 32), (2, 3, 64, 96)):
            x = torch.rand(shape)
            with torch.no_grad():
                torch.testing.assert_close(forward(x), net(x), atol=BOUND, rtol=0)


@pytest.mark.slow
def test_an_onnx_file_of_another_network_fails_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write_other(net: nn.Module, *rest: Any) -> None:
        torch.manual_seed(2)
        real_write(build(TINY).eval(), *rest)

    real_write = write_onnx
    monkeypatch.setattr("nas.export.write_onnx", write_other)
    with pytest.raises(ParityError, match=r"search network and model\.onnx"):
        export(TINY, tmp_path / "out", ["onnx"])
    assert leftovers(tmp_path) == []
