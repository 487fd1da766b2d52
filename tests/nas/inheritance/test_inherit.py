"""What a block promises to keep is kept: the copy computes what its parent did."""

import random
from collections.abc import Sequence
from itertools import permutations
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import search_spaces
from nas.dispatch import Operators
from nas.inheritance.channels import trace
from nas.inheritance.inherit import Places, inherit, pair, transfer
from primitives.core.contract import Block, Value, load_blocks
from primitives.core.errors import InvalidInput
from primitives.core.init import INITS
from search_spaces.core.arch import Arch, BlockSpec, Stage
from search_spaces.core.network import Network, build
from search_spaces.nets.ultralight import BASE, decode
from tests.points import small_point

Channels = tuple[int, ...]
Shapes = Sequence[tuple[int, ...]]

SIDE = 8
WIDTHS: dict[str, tuple[tuple[Channels, Channels], ...]] = {  # of a role: before and after
    "stem": (((3, 8), (3, 12)),),
    "stage": (((16, 16), (32, 32)), ((8, 16), (16, 32))),
    "attention": (((8,), (16,)),),
    "down": (((8, 8), (16, 16)), ((8, 12), (12, 16))),
    "up": (((8, 8), (16, 16)), ((12, 8), (16, 12))),
    "skip": (((8, 8), (12, 12)),),
    "bridge": (((8, 12, 1), (12, 16, 1)),),
    "head": (((8, 4), (12, 4)),),
    "ensemble": (((8, 8, 12, 2), (12, 8, 16, 2)),),
}


def cases() -> list[Any]:
    found = []
    for block in load_blocks().values():
        if block.role == "encoder" or block.name == "classifier":
            continue
        for growth in getattr(block.module, "keeps", ()):
            for ndim in block.ndims:
                found.append(pytest.param(block, growth, ndim, id=f"{block.name}-{growth}-{ndim}d"))
    return found


def built(block: Block, channels: Channels, **knobs: Any) -> nn.Module:
    module = block.module(*channels, **knobs)
    INITS[block.init](module)
    return module.double()


def trained(module: nn.Module) -> nn.Module:
    """Move parameters and statistics away from what every network begins with."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, tensor in module.state_dict().items():
            if tensor.is_floating_point():
                noise = torch.randn(tensor.shape, generator=generator, dtype=tensor.dtype)
                tensor.add_(noise.abs() if name.endswith("var") else 0.2 * noise)
    return module


def shapes_of(block: Block, channels: Channels, ndim: int) -> Shapes:
    given = channels[:1]
    if block.role in ("skip", "bridge"):
        given = channels
    elif block.role == "ensemble":
        given = channels[:-1]
    return [(2, c, *[SIDE] * 2, *[2] * (ndim - 2)) for c in given]


def drawn(shape: Sequence[int], generator: torch.Generator) -> Tensor:
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def change(
    child: nn.Module, parent: nn.Module, pairs: dict[str, str], wide: Shapes, narrow: Shapes
) -> float:
    """Largest change on the parent's channels, in its deviations; new inputs are anything."""
    labels = trace(child, wide), trace(parent, narrow)
    transfer(child, parent, pairs, *labels)
    generator = torch.Generator().manual_seed(2)
    before = [drawn(shape, generator) for shape in narrow]
    after = [
        torch.cat([x, drawn((2, shape[1] - x.shape[1], *shape[2:]), generator)], 1)
        for x, shape in zip(before, wide, strict=True)
    ]
    with torch.no_grad():
        old, new = parent.eval()(*before), child.eval()(*after)
    places = Places(*labels, pairs)(labels[0].outputs[0], labels[1].outputs[0])
    assert sorted(places[places >= 0]) == list(range(old.shape[1])), "a channel is lost"
    kept = np.flatnonzero(places >= 0)
    return float((new[:, kept] - old[:, places[kept]]).abs().max() / old.std())


def changes(block: Block, growth: str, ndim: int) -> list[float]:
    """The change by every growth of a kind that the block can be built with."""
    torch.manual_seed(0)
    dims = {"ndim": ndim} if len(block.ndims) > 1 else {}
    same = WIDTHS[block.role][0][0]
    shapes = shapes_of(block, same, ndim)
    found = []
    if growth == "width":
        for before, after in WIDTHS[block.role]:
            try:
                pair_of = built(block, after, **dims), trained(built(block, before, **dims))
            except InvalidInput:
                continue
            wide = shapes_of(block, after, ndim)
            narrow = shapes_of(block, before, ndim)
            found.append(change(*pair_of, pair(*pair_of), wide, narrow))
    elif growth == "blocks":
        parent = nn.Sequential(trained(built(block, same, **dims)))
        child = nn.Sequential(*(built(block, same, **dims) for _ in range(3)))
        found.append(change(child, parent, pair(child[0], parent[0], "0", "0"), shapes, shapes))
    else:
        for before, after in permutations(block.knobs[growth], 2):
            if larger(before, after) and len(found) < 4:
                parent = trained(built(block, same, **dims, **{growth: before}))
                child = built(block, same, **dims, **{growth: after})
                found.append(change(child, parent, pair(child, parent), shapes, shapes))
    assert found, "the block cannot grow so"
    return found


def larger(before: Value, after: Value) -> bool:
    """Whether a number, or every kernel of a set, is at least as large as before."""
    if isinstance(before, str):
        sides = [[int(side) for side in str(value).split("-")] for value in (before, after)]
        return len(sides[0]) == len(sides[1]) and all(a <= b for a, b in zip(*sides, strict=True))
    return before < after  # type: ignore[operator]


@pytest.mark.parametrize(("block", "growth", "ndim"), cases())
def test_a_block_keeps_what_it_claims(block: Block, growth: str, ndim: int) -> None:
    assert max(changes(block, growth, ndim)) < 1e-5


@pytest.mark.parametrize("growth", ["width", "blocks"])
def test_a_block_that_claims_nothing_could_not(growth: str) -> None:
    for block in load_blocks().values():
        if block.role not in WIDTHS or block.name == "classifier":
            continue
        if growth == "blocks" and block.role != "stage":
            continue
        parameters = list(built(block, WIDTHS[block.role][0][0]).parameters())
        if parameters and growth not in getattr(block.module, "keeps", ()):
            assert max(changes(block, growth, 2)) > 1e-3, block.name


@pytest.mark.parametrize(("before", "after"), [("3", "1-3"), ("3-5", "1-3-5"), ("1-3", "1-3-7")])
@pytest.mark.parametrize("fuse", ["sum", "concat"])
@pytest.mark.parametrize("mode", ["parallel", "series"])
@pytest.mark.parametrize("branch_norm", [True, False])
def test_a_new_kernel_adds_nothing_and_learns(
    before: str, after: str, fuse: str, mode: str, branch_norm: bool
) -> None:
    mkir = load_blocks()["mkir"]
    torch.manual_seed(0)
    knobs = {"fuse": fuse, "mode": mode, "branch_norm": branch_norm}
    parent = trained(built(mkir, (8, 8), kernels=before, **knobs))
    child = built(mkir, (8, 8), kernels=after, **knobs)
    shapes = [(2, 8, SIDE, SIDE)]
    assert change(child, parent, pair(child, parent), shapes, shapes) < 1e-5
    child.train()(drawn(shapes[0], torch.Generator().manual_seed(3))).square().sum().backward()
    new = next(i for i, k in enumerate(after.split("-")) if k not in before.split("-"))
    columns = child.get_parameter("project.0.weight").grad
    name = f"filter.branches.{new}" + (".1.weight" if branch_norm else ".weight")
    learning = child.get_parameter(name).grad
    assert columns is not None
    assert learning is not None
    # Its channels are read by nobody at first, or they say nothing; not both, it could not learn.
    assert (learning.abs() > 0).all() or (columns.abs().amax((0, 2, 3)) > 0).all()


def test_branches_are_found_by_their_kernels() -> None:
    mkir = load_blocks()["mkir"]
    parent, child = (built(mkir, (8, 8), kernels=kernels) for kernels in ("1-5", "3-5-7"))
    pairs = pair(child, parent)
    found = {i: pairs.get(f"filter.branches.{i}") for i in range(3)}
    assert found == {0: "filter.branches.0", 1: "filter.branches.1", 2: None}


POINT = {**BASE, "width": 4, "growth": "1-2-4-6-8", "levels": 4}
POINT |= {f"decoder_attention_{level}": "none" for level in range(1, 6)}
KEPT: tuple[dict[str, Value], ...] = (
    {"width": 8},
    {"growth": "1-2-4-8-16"},
    {"depth_2": 3},
    {"encoder_expansion": 4},
    {"encoder_kernels_1": "3-5-7"},
    {"gate_kernel": 5},
    {"width": 8, "depth_1": 2, "decoder_kernels_5": "3-5-7", "decoder_expansion": 3},
)


def net_of(changed: dict[str, Value]) -> tuple[Arch, Network]:
    arch = decode({**POINT, **changed})
    return arch, build(arch)


@pytest.mark.parametrize("changed", KEPT, ids=str)
@pytest.mark.parametrize("before", [{}, {"gate": "ag"}, {"fuse": "concat"}], ids=str)
def test_a_network_that_grows_computes_the_same(
    before: dict[str, Value], changed: dict[str, Value]
) -> None:
    if "gate_kernel" in changed and "gate" in before:
        return
    torch.manual_seed(0)
    _, parent = net_of(before)
    _, child = net_of(before | changed)
    share = inherit(child, trained(parent), 3)
    assert 0.2 < share <= 1
    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        old, new = parent.eval()(x), child.eval()(x)
    assert (new - old).abs().max() < 1e-5 * max(1, old.abs().max())
    assert old.std() > 1e-4


def test_the_same_arch_is_copied_whole() -> None:
    _, parent = net_of({})
    _, child = net_of({})
    assert inherit(child, trained(parent), 3) == 1
    assert all(torch.equal(v, child.state_dict()[k]) for k, v in parent.state_dict().items())


def test_a_level_more_keeps_the_stages_of_each_scale() -> None:
    _, parent = net_of({})
    arch, child = net_of({"levels": 5})
    inherit(child, trained(parent), 3)
    for stage in (2, 3):  # decoder stages count from the bottom
        weight = f"decoder{stage}_block1.filter.branches.0.0.weight"
        other = weight.replace(str(stage), str(stage + 1), 1)
        assert torch.equal(parent.state_dict()[weight], child.state_dict()[other])
    assert len(arch.decoder) == 5


def test_a_smaller_network_takes_the_first_channels_and_the_middle_of_kernels() -> None:
    _, parent = net_of({"width": 8, "gate_kernel": 5})
    _, child = net_of({})
    inherit(child, trained(parent), 3)
    gate = "decoder1_skip.gate.from_x.0.weight"
    new, old = (net.state_dict()[gate] for net in (child, parent))
    assert torch.equal(new, old[: len(new), :, 1:-1, 1:-1])
    norm = "encoder1_block1.expand.1.running_var"
    new, old = (net.state_dict()[norm] for net in (child, parent))
    assert torch.equal(new, old[: len(new)])


def joined(widths: Sequence[int], block: str) -> Arch:
    stages = [Stage(BlockSpec.of(block), width) for width in widths]
    return Arch(
        encoder=tuple(stages),
        decoder=tuple(stages[-2::-1]),
        stem=BlockSpec.of("conv-stem"),
        down=BlockSpec.of("max-pool"),
        up=BlockSpec.of("nearest-conv"),
        skip=BlockSpec.of("concat"),
        head=BlockSpec.of("conv1x1"),
        layout="skip-before-down",
    )


@pytest.mark.parametrize("block", ["double-conv", "cmunext", "ds", "mkir"])
def test_columns_of_joined_maps_move_with_their_map(block: str) -> None:
    torch.manual_seed(0)
    parent, child = (build(joined(w, block)).double() for w in ((8, 12, 16), (12, 16, 32)))
    inherit(child, trained(parent), 3)
    x = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    with torch.no_grad():
        old, new = parent.eval()(x), child.eval()(x)
    assert (new - old).abs().max() < 1e-5 * old.std()


def test_labelling_channels_convolves_nothing() -> None:
    """In double precision a small network of volumes took 21 GB."""
    devices = []

    def note(func: Any, args: Sequence[Any], kwargs: Any) -> Any:
        if func == torch.ops.aten.convolution.default:
            devices.append(args[0].device.type)
        return func(*args, **kwargs)

    net = nn.Sequential(nn.Conv3d(2, 3, 3), nn.ConvTranspose3d(3, 2, 2, 2))
    with Operators(note):
        found = trace(net, [(1, 2, 6, 6, 6)])
    assert devices == ["meta", "meta"]
    assert len(found.outputs[0]) == 2


def test_another_block_in_a_stage_leaves_the_others_as_they_were() -> None:
    _, parent = net_of({})
    _, child = net_of({"gate": "ag"})
    inherit(child, trained(parent), 3)
    key = "encoder3_block1.project.0.weight"
    assert torch.equal(child.state_dict()[key], parent.state_dict()[key])


@pytest.mark.slow
@pytest.mark.parametrize("name", search_spaces.names())
def test_networks_of_every_space_inherit_from_their_mutations(name: str) -> None:
    space = search_spaces.load(name)
    rng = random.Random(0)
    points = [small_point(space, rng)]
    points.append(space.mutate(points[0], rng))
    parent, child, same = (build(space.arch(points[i])) for i in (0, 1, 0))
    assert inherit(same, parent, 3) == 1
    assert all(torch.equal(v, same.state_dict()[k]) for k, v in parent.state_dict().items())
    assert 0.2 < inherit(child, parent, 3) <= 1
    assert all(p.isfinite().all() for p in child.parameters())
