"""Published weights: found in the cache, loaded where a training starts, never silently missing."""

import time
from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch
from huggingface_hub import constants
from safetensors.torch import save_file
from torch import Tensor

from nas import pretrained
from nas.costs import measure_costs
from nas.pretrained import Published, find_weights, load_published
from primitives.core.errors import InvalidInput
from search_spaces import load
from search_spaces.core.arch import Arch, BlockSpec
from search_spaces.core.network import build

BACKBONE = "repghostnet_050"
SPACE = load("timm")
ARCH = SPACE.arch(SPACE.baselines["repghostnet-lms"].point)
REPOSITORY = "models--timm--repghostnet_050.in1k"


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(pretrained, "_answers", lambda url: False)
    return tmp_path


@pytest.fixture
def published(empty_cache: Path) -> dict[str, Tensor]:
    """The weights of a whole classifier, kept as the library keeps a download."""
    torch.manual_seed(5)
    state = timm.create_model(BACKBONE).state_dict()
    folder = empty_cache / REPOSITORY
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text("0" * 40)
    snapshot = folder / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    save_file({k: v.contiguous() for k, v in state.items()}, snapshot / "model.safetensors")
    return dict(state)


def random_start(arch: Arch) -> Arch:
    knobs = dict(arch.stem.knobs) | {"pretrained": False}
    return replace(arch, stem=BlockSpec.of("timm", **knobs))


def test_weights_that_cannot_be_had_are_told_once_and_recorded(empty_cache: Path) -> None:
    lines: list[str] = []
    weights, start = Published(lines.append), time.perf_counter()
    assert weights.usable(ARCH) == random_start(ARCH)
    other = SPACE.arch(SPACE.baselines["resnet18-unet"].point)
    assert weights.usable(other) == random_start(other)
    assert time.perf_counter() - start < 5
    (line,) = lines
    assert "\n" not in line
    assert line.startswith("published weights of repghostnet_050 cannot be had")
    assert "HF_HOME" in line
    assert random_start(ARCH).key != ARCH.key


def test_what_starts_from_random_weights_anyway_is_left_alone(empty_cache: Path) -> None:
    lines: list[str] = []
    unet = load("unet")
    plain = unet.arch(next(iter(unet.baselines.values())).point)
    for arch in (random_start(ARCH), plain):
        assert Published(lines.append).usable(arch) is arch
    assert not lines


def test_weights_in_the_cache_are_used_without_a_connection(published: dict[str, Tensor]) -> None:
    assert find_weights(BACKBONE) is not None
    assert Published(pytest.fail).usable(ARCH) is ARCH


@pytest.mark.parametrize("in_channels", [1, 3])
def test_a_training_starts_from_the_published_weights(
    published: dict[str, Tensor], in_channels: int
) -> None:
    arch = replace(ARCH, in_channels=in_channels)
    torch.manual_seed(0)
    net = build(arch)
    decoder = net.get_submodule("decoder1_block1").state_dict()
    before, drawn = {k: v.clone() for k, v in decoder.items()}, torch.get_rng_state()
    load_published(net, arch)
    assert torch.equal(torch.get_rng_state(), drawn)
    state = net.get_submodule("stem").state_dict()
    found = {name.removeprefix("features.model."): value for name, value in state.items()}
    first = published["conv_stem.weight"]  # 3 channels; grey images see their sum
    expected = first.sum(1, keepdim=True) if in_channels == 1 else first
    torch.testing.assert_close(found.pop("conv_stem.weight"), expected)
    assert len(found) > 100
    assert all(torch.equal(value, published[name]) for name, value in found.items())
    assert all(torch.equal(before[k], v) for k, v in decoder.items())


def test_a_training_without_its_weights_fails_and_says_how_to_get_them(empty_cache: Path) -> None:
    with pytest.raises(InvalidInput, match=r"'repghostnet_050' must be in .*; run once online, or"):
        load_published(build(ARCH), ARCH)


def test_building_and_costing_ask_for_no_weights(
    empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr("huggingface_hub.hf_hub_download", forbidden)
    monkeypatch.setattr("timm.models._hub.load_state_dict_from_hf", forbidden)
    build(ARCH)
    assert measure_costs(ARCH, 32) == measure_costs(random_start(ARCH), 32)
