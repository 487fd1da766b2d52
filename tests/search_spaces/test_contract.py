"""Every space: its points are legal, its archs are networks, equal networks have equal keys."""

import hashlib
import json
import math
import random
import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from primitives.core.contract import Value
from primitives.core.errors import InvalidInput
from search_spaces import load, names
from search_spaces.core.arch import Arch
from search_spaces.core.network import build
from search_spaces.core.space import Choice, Int, Point, Space
from tests.points import small_point
from tests.search_spaces.golden import example, fill

# Stored studies refer to archs by key, so these may never change.
KEYS = {("ultralight", "ultralight-base"): "54b12d9e3985"}

SINGLE: Point = {f"{side}_kernels_{i}": "3" for side in ("encoder", "decoder") for i in range(1, 6)}
UNATTENDED: Point = {f"decoder_attention_{i}": "none" for i in range(1, 6)}
# The last decoder stage sees `width` channels.
ONE_CA: Point = {**UNATTENDED, "decoder_attention_5": "ca"}

Case = tuple[str, Point, str, tuple[Value, ...]]
# space, changes to the first baseline, dimension, values that then give one network
NO_EFFECT: tuple[Case, ...] = (
    ("ultralight", {"levels": 4}, "depth_5", (1, 2, 3)),
    ("ultralight", {"levels": 4}, "encoder_kernels_5", ("1-3-5", "7", "1-1")),
    ("ultralight", {"levels": 4}, "decoder_kernels_1", ("1-3-5", "7", "1-1")),
    ("ultralight", {"levels": 4}, "encoder_attention_5", ("none", "ca", "sa", "ca-sa")),
    ("ultralight", {"levels": 4}, "decoder_attention_1", ("none", "ca", "sa", "ca-sa")),
    ("ultralight", {"levels": 4}, "growth", ("1-2-4-6-10", "1-2-4-6-8")),
    ("ultralight", {"gate": "ag"}, "gate_kernel", (3, 5)),
    ("ultralight", {"gate": "add"}, "gate_kernel", (3, 5)),
    ("ultralight", UNATTENDED, "sa_kernel", (3, 7, 11)),
    ("ultralight", ONE_CA, "sa_kernel", (3, 7, 11)),
    ("ultralight", UNATTENDED, "ca_ratio", ("published", "16", "8", "4")),
    ("ultralight", SINGLE, "mode", ("parallel", "series")),
    ("ultralight", SINGLE, "fuse", ("sum", "concat")),
    ("ultralight", {**ONE_CA, "width": 4}, "ca_ratio", ("published", "16", "8", "4")),
    ("ultralight", {**ONE_CA, "width": 8}, "ca_ratio", ("16", "8")),
    ("ultralight", {**ONE_CA, "width": 12}, "ca_ratio", ("16", "8")),
)
# the same where the values give different networks
EFFECT: tuple[Case, ...] = (
    ("ultralight", {}, "depth_5", (1, 2, 3)),
    ("ultralight", {"levels": 4}, "encoder_kernels_4", ("1-3-5", "7", "1-1")),
    ("ultralight", {"levels": 4}, "decoder_kernels_2", ("1-3-5", "7", "1-1")),
    ("ultralight", {}, "gate_kernel", (3, 5)),
    ("ultralight", {**UNATTENDED, "encoder_attention_1": "sa"}, "sa_kernel", (3, 7, 11)),
    ("ultralight", {**ONE_CA, "width": 8}, "ca_ratio", ("8", "4")),
    ("ultralight", {**SINGLE, "decoder_kernels_3": "3-3"}, "mode", ("parallel", "series")),
    ("ultralight", {**SINGLE, "decoder_kernels_3": "3-3"}, "fuse", ("sum", "concat")),
)

every_space = pytest.mark.parametrize("space", [load(name) for name in names()], ids=names())


def points(space: Space, n: int) -> Iterator[Point]:
    """`n` random points and a mutation of each."""
    rng = random.Random(7)
    for _ in range(n):
        point = space.sample(rng)
        yield point
        yield space.mutate(point, rng)


def sides_of(space: Space) -> tuple[int, ...]:
    return (space.multiple, 2 * space.multiple) if space.ndim == 2 else (space.multiple,) * 3


def check_networks(space: Space, n: int) -> None:
    for i, point in enumerate(points(space, n)):
        space.validate(point)
        in_channels, classes = (1, 3)[i % 2], (1, 4)[i % 3 == 0]
        arch = space.arch(point, in_channels=in_channels, classes=classes)
        assert space.multiple % arch.multiple == 0
        sides = sides_of(space)
        torch.manual_seed(i)
        net = build(arch)
        out = net(torch.randn(2, in_channels, *sides))
        assert out.shape == (2, classes, *(() if space.task == "classification" else sides))
        assert out.isfinite().all()
        out.square().mean().backward()
        for name, parameter in net.named_parameters():
            assert parameter.grad is not None, (name, arch.describe())
            assert parameter.grad.isfinite().all(), (name, arch.describe())
        if i == 0 or (space.ndim == 2 and (i % 10 == 0 or n <= 20)):  # takes long, and much memory
            check_samples_are_independent(net, torch.randn(2, in_channels, *sides))


def check_samples_are_independent(net: torch.nn.Module, x: torch.Tensor) -> None:
    net.double().eval()  # in single precision norms of nearly equal values make noise large
    with torch.no_grad():
        together, alone = net(x.double())[:1], net(x[:1].double())
    assert (alone - together).abs().max() <= 1e-6 * (1 + together.abs().max())


@every_space
def test_points_become_networks_that_train(space: Space) -> None:
    check_networks(space, 2 if space.ndim == 2 else 1)


@pytest.mark.slow
@every_space
def test_many_points_become_networks_that_train(space: Space, pytestconfig: pytest.Config) -> None:
    many = pytestconfig.getoption("points")
    check_networks(space, many if space.ndim == 2 else max(2, many // 6))


@every_space
def test_arch_survives_json_with_its_key(space: Space) -> None:
    for point in points(space, 50):
        arch = space.arch(point, in_channels=1, classes=5)
        text = json.dumps(arch.to_json(), sort_keys=True, separators=(",", ":"))
        again = Arch.from_json(json.loads(text))
        assert again == arch
        assert again.key == arch.key == hashlib.sha256(text.encode()).hexdigest()[:12]


@every_space
def test_key_tells_channels_and_classes_apart(space: Space) -> None:
    point = space.sample(random.Random(0))
    archs = [space.arch(point, i, c) for i in (1, 3) for c in (1, 2)]
    assert len({arch.key for arch in archs}) == 4


@pytest.mark.parametrize(("space", "baseline"), KEYS)
def test_keys_of_stored_archs_stay(space: str, baseline: str) -> None:
    point = load(space).baseline(baseline).point
    assert load(space).arch(point).key == KEYS[space, baseline]


@every_space
def test_mutation_moves_exactly_one_dimension(space: Space) -> None:
    rng = random.Random(1)
    point = space.sample(rng)
    moved_dimensions = set()
    for _ in range(60 * len(space.dimensions)):
        mutant = space.mutate(point, rng)
        space.validate(mutant)
        moved = [name for name in space.dimensions if mutant[name] != point[name]]
        assert len(moved) == 1
        moved_dimensions.update(moved)
        point = mutant
    assert moved_dimensions == set(space.dimensions)


@every_space
@pytest.mark.parametrize("rng", [random.Random(3), np.random.default_rng(3)], ids=["std", "numpy"])
def test_sampling_reaches_every_value(
    space: Space, rng: random.Random | np.random.Generator
) -> None:
    sampled = [space.sample(rng) for _ in range(600)]
    for name, dimension in space.dimensions.items():
        assert {point[name] for point in sampled} == set(dimension.values)
    for point in sampled[:20]:
        space.validate(point)
        space.validate(space.mutate(point, rng))
        assert json.loads(json.dumps(point)) == point


@every_space
def test_sampling_repeats_with_the_seed(space: Space) -> None:
    assert space.sample(random.Random(5)) == space.sample(random.Random(5))
    assert space.sample(random.Random(5)) != space.sample(random.Random(6))


@every_space
def test_baselines_are_points_and_seeds_are_baselines(space: Space) -> None:
    for baseline in space.baselines.values():
        space.validate(baseline.point)
    seeds = dict(space.seeds())
    assert seeds
    assert all(space.baselines[name] is baseline for name, baseline in seeds.items())
    assert len({space.arch(b.point).key for b in seeds.values()}) == len(seeds)


@every_space
def test_size_is_the_product_of_the_dimensions(space: Space) -> None:
    counts = [
        (d.high - d.low) // d.step + 1 if isinstance(d, Int) else len(set(d.values))
        for d in space.dimensions.values()
    ]
    assert space.size == math.prod(counts)


@every_space
def test_wrong_points_are_refused(space: Space) -> None:
    point = dict(space.sample(random.Random(2)))
    name = next(iter(space.dimensions))
    with pytest.raises(InvalidInput, match=f"has no dimension '{name}z'; did you mean '{name}'"):
        space.validate({**point, f"{name}z": 1})
    for name, dimension in space.dimensions.items():
        rest = {k: v for k, v in point.items() if k != name}
        with pytest.raises(InvalidInput, match=f"'{name}' is missing"):
            space.arch(rest)
        for wrong in ("nonsense", None, [dimension.values[0]]):
            with pytest.raises(InvalidInput, match=f"^{name} must be one of .*, got "):
                space.arch({**point, name: wrong})  # type: ignore[dict-item]
        if isinstance(dimension.values[0], int):  # 3.0 == 3, but a key would tell them apart
            with pytest.raises(InvalidInput, match=r"got \d+\.0$"):
                space.arch({**point, name: float(dimension.values[0])})


@pytest.mark.parametrize(("name", "changes", "dimension", "values"), NO_EFFECT)
def test_a_dimension_without_effect_vanishes(
    name: str, changes: Point, dimension: str, values: tuple[Value, ...]
) -> None:
    assert len(keys(name, changes, dimension, values)) == 1


@pytest.mark.parametrize(("name", "changes", "dimension", "values"), EFFECT)
def test_a_dimension_with_effect_stays(
    name: str, changes: Point, dimension: str, values: tuple[Value, ...]
) -> None:
    assert len(keys(name, changes, dimension, values)) == len(values)


def keys(name: str, changes: Point, dimension: str, values: tuple[Value, ...]) -> set[str]:
    space = load(name)
    base = space.baselines[f"{name}-base"].point
    return {space.arch({**base, **changes, dimension: value}).key for value in values}


# Volumes take a minute each; their spaces have the dimensions and the decoder of the 2D ones.
@pytest.mark.parametrize(
    "space", [s for s in map(load, names()) if s.ndim == 2], ids=lambda s: s.name
)
def test_archs_of_different_keys_compute_different_functions(space: Space) -> None:
    rng = random.Random(11)
    # "pretrained" decides where a training starts, not what the network computes.
    names = [name for name in space.dimensions if name != "pretrained"]
    few = min(6, len(names))  # takes long
    for name in rng.sample(names, few):
        dimension = space.dimensions[name]
        point = small_point(space, rng)
        others = [value for value in dimension.values if value != point[name]]
        values = (point[name], rng.choice(others))
        archs = [space.arch({**point, name: v}, classes=3) for v in values]
        if archs[0].key != archs[1].key:
            first, second = (output(arch, space.multiple) for arch in archs)
            assert (first - second).abs().max() > 1e-9 * first.std(), (name, point)


def output(arch: Arch, side: int) -> torch.Tensor:
    """Of the arch's network with weights that depend on the order of its layers alone."""
    net, x = build(arch), example([1, 3, *[side] * arch.ndim])
    fill(net, x)
    with torch.no_grad():
        return torch.as_tensor(net(x))


def test_an_arch_of_a_newer_version_is_refused() -> None:
    data = load("ultralight").arch(load("ultralight").baselines["ultralight-t"].point).to_json()
    with pytest.raises(InvalidInput, match="is of version 99, this program reads up to 1"):
        Arch.from_json({**data, "version": 99})


def test_choice_and_int_list_their_values() -> None:
    assert Int(2, 9, 3).values == (2, 5, 8)
    assert str(Int(1, 3)) == "1 to 3"
    assert str(Int(2, 8, 2)) == "2 to 8 in steps of 2"
    assert Choice("a", "b").values == ("a", "b")
    assert Choice("a", "b") == Choice("a", "b") != Choice("b", "a")


def test_an_unknown_space_or_baseline_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(InvalidInput, match="got 'ultralite'; did you mean 'ultralight'"):
        load("ultralite")
    with pytest.raises(InvalidInput, match="got 'ultralight-bas'; did you mean 'ultralight-base'"):
        load("ultralight").baseline("ultralight-bas")


def test_listing_spaces_imports_no_torch() -> None:
    code = "import search_spaces, sys; assert search_spaces.names(); print('torch' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "False\n"
