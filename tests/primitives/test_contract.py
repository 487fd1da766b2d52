"""Every block keeps the promise of its role at every knob value, and its file says what it is."""

import ast
import inspect
import sys
import textwrap
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.modules.instancenorm import _InstanceNorm

from primitives.core.contract import BLOCKS, Block, Value, find_block, load_blocks
from primitives.core.errors import InvalidInput
from search_spaces.core.arch import BlockSpec

Channels = tuple[int, ...]

CHANNELS: dict[str, tuple[Channels, ...]] = {  # what a block of the role is built with
    "stem": ((1, 8), (2, 8), (3, 8), (5, 12)),
    "encoder": ((1, 2), (3, 4)),
    "stage": ((8, 8), (8, 12), (12, 8), (16, 16), (12, 16)),
    "attention": ((8,), (64,)),
    "down": ((8, 8), (8, 12)),
    "up": ((8, 8), (12, 8)),
    "skip": ((2, 2), (16, 16), (8, 12)),
    "bridge": ((8, 12, 1), (8, 8, 1)),
    "head": ((8, 1), (8, 4)),
    "ensemble": ((8, 8, 12, 1), (8, 4)),
}
# What some blocks refuse, and odd counts.
REFUSED: dict[str, tuple[Channels, ...]] = {
    "stem": ((4, 6),),
    "stage": ((1, 4), (3, 8), (5, 5), (6, 16), (2, 2)),
    "down": ((6, 8),),
    "up": ((6, 8),),
    "skip": ((3, 3), (4, 4), (6, 12)),
    "bridge": ((8, 6, 1), (8, 8, 2)),
}
# Knobs of which some have no effect, and channels where that is so.
IDLE: tuple[tuple[str, dict[str, Value], Channels], ...] = (
    ("mkir", {"kernels": "3", "mode": "series", "fuse": "concat"}, (8, 12)),
    ("gms", {"tc": "0:1", "depth": 3, "heads": 8, "head_width": 16, "mlp": 4, "patch": 4}, (8, 8)),
    ("double-conv", {"between": "in"}, (8, 8)),
    ("rolling", {"embed": True}, (8, 12)),
    ("med", {"mixer": "off", "kernels": "7-21", "axis": "pool", "fuse": "sum"}, (8, 8)),
    ("med", {"axis": "pool", "side": 7}, (8, 8)),
    ("ds", {"filter": "plain", "kernel": 3, "style": "paper", "mid": "max"}, (8, 12)),
    ("ds", {"mid": "max"}, (12, 8)),
    ("ds", {"shortcut": "identity"}, (8, 12)),
    ("lfwf-mlp", {"shift": "none", "segments": 3}, (8, 8)),
    ("lfwf-mlp", {"branches": "c", "shift": "none", "fc_depth": 2, "fusion": "sum"}, (8, 8)),
    ("lfwf-mlp", {"fc_hidden": 2}, (8, 8)),
    ("lfwf-mlp", {"fusion": "sum", "reduction": 8}, (8, 8)),
    ("lfwf-mlp", {"reduction": 8}, (7, 7)),
    ("channel-attention", {"ratio": 16}, (12,)),
)
FACTOR = {"down": 0.5, "up": 2.0}  # side of the output / side of the input
MERGING = ("skip", "bridge")  # built with the channels of all their inputs
ODD, EVEN = (9, 11), (8, 12)
DEEP = (32, 64)  # for encoders, which halve the sides up to five times


def cases() -> list[Any]:
    """All defaults, then every other value of every knob with the rest at their defaults."""
    found = []
    for block in load_blocks().values():
        found.append(pytest.param(block, {}, id=f"{block.name}-defaults"))
        if 3 in block.ndims:
            found.append(pytest.param(block, {"ndim": 3}, id=f"{block.name}-3d"))
        slow = [pytest.mark.slow] if block.role == "encoder" else []  # a whole backbone each
        for knob, values in block.knobs.items():
            for value in values[1:]:
                name = f"{block.name}-{knob}={value}"
                found.append(pytest.param(block, {knob: value}, id=name, marks=slow))
    return found


every_knob = pytest.mark.parametrize(("block", "knobs"), cases())
every_block = pytest.mark.parametrize("block", load_blocks().values(), ids=lambda b: b.name)


def built(block: Block, knobs: dict[str, Value]) -> list[tuple[Channels, Any]]:
    """The block at each of its role's channel counts; one it refuses must be a stated refusal."""
    nets = []
    for channels in CHANNELS[block.role]:
        torch.manual_seed(0)
        try:
            nets.append((channels, block.module(*channels, **knobs)))
        except InvalidInput:
            assert "Raises:" in str(block.module.__doc__)
    assert nets, "a block must accept at least one of its role's channel counts"
    return nets


def inputs(
    block: Block, channels: Channels, sides: tuple[int, ...], knobs: dict[str, Value], n: int = 2
) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    given = channels[:1]
    if block.role in MERGING:
        given = channels
    elif block.role == "ensemble":
        given = channels[:-1]
    if knobs.get("ndim") == 3:
        sides = (4, *sides)
    shapes = [(n, c, *sides) for c in given]
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]


def out_channels(block: Block, channels: Channels, net: Any) -> int:
    return int(
        getattr(net, "out_channels", channels[1] if block.role == "bridge" else channels[-1])
    )


def factor_of(block: Block) -> float:
    """Side of the output / side of the input."""
    stride = getattr(block.module, "stride", 1)
    if block.role == "stem":
        return 1 / stride
    return FACTOR.get(block.role, 1.0) * stride


def even(block: Block) -> tuple[int, int]:
    """Sides that every block of the role accepts."""
    return DEEP if block.role == "encoder" else EVEN


def joined(out: Any) -> Tensor:
    """The map that a block gives, or the values of all of an encoder's."""
    return out if isinstance(out, Tensor) else torch.cat([m.flatten(1) for m in out], 1)


def sides_of(block: Block) -> tuple[tuple[int, int], ...]:
    """Odd sides too, where the role and the block allow them."""
    if block.role == "encoder":
        return (DEEP,)
    even = factor_of(block) < 1 or hasattr(block.module, "multiple_knob")
    return (EVEN,) if even else (EVEN, ODD)


@every_knob
def test_output_has_the_shape_of_the_role(block: Block, knobs: dict[str, Value]) -> None:
    factor = factor_of(block)
    for channels, net in built(block, knobs):
        for sides in sides_of(block):
            given = inputs(block, channels, sides, knobs)
            out = net.double()(*given)
            if block.role == "encoder":
                check_maps(block, knobs, channels[1], net, out)
                continue
            after = [int(side * factor) for side in given[0].shape[2:]]
            if block.name == "classifier":
                after = []
            assert out.shape == (2, out_channels(block, channels, net), *after)
            assert out.isfinite().all()


def check_maps(block: Block, knobs: dict[str, Value], levels: int, net: Any, out: Any) -> None:
    stride = BlockSpec.of(block.name, **knobs).stride
    scales = [stride * 2**i for i in range(levels)]
    sides = [tuple(side // scale for side in DEEP) for scale in scales]
    expected = [(2, c, *s) for c, s in zip(net.out_channels, sides, strict=True)]
    assert [tuple(m.shape) for m in out] == expected
    assert all(m.isfinite().all() for m in out)


@every_knob
def test_what_a_block_leaves_is_known_without_it(block: Block, knobs: dict[str, Value]) -> None:
    if block.role in ("encoder", "head", "ensemble") or (block.leaves is None and knobs):
        return
    given = dict(BlockSpec.of(block.name, **{k: v for k, v in knobs.items() if k != "ndim"}).knobs)
    for channels in (*CHANNELS[block.role], *REFUSED.get(block.role, ())):
        try:
            left = out_channels(block, channels, block.module(*channels, **knobs))
        except InvalidInput:
            left = 0
        known = block.leaves(given, *channels) if block.leaves else channels[-1]
        assert known == left, channels


@pytest.mark.parametrize(("name", "knobs", "channels"), IDLE)
def test_knobs_without_effect_are_reset(
    name: str, knobs: dict[str, Value], channels: Channels
) -> None:
    spec = BlockSpec.of(name, **knobs)
    canonical = spec.canonical(*channels)
    assert canonical != spec
    assert canonical.canonical(*channels) == canonical
    outputs = []
    for knobs_of in (spec, canonical):
        torch.manual_seed(0)
        net = find_block(name).module(*channels, **dict(knobs_of.knobs)).double().eval()
        outputs.append(net(*inputs(find_block(name), channels, EVEN, {})))
    assert torch.equal(*outputs)


@every_knob
def test_every_parameter_gets_a_gradient(block: Block, knobs: dict[str, Value]) -> None:
    for channels, net in built(block, knobs):
        if block.role == "encoder":  # some residual branches start with a norm that gives 0
            with torch.no_grad():
                for parameter in net.parameters():
                    parameter.add_(torch.randn_like(parameter) * 0.1)
        # In eval mode norms are affine, so the bias of a convolution before a norm counts too.
        out = joined(net.double().eval()(*inputs(block, channels, even(block), knobs, n=4)))
        parameters = dict(net.named_parameters())
        if parameters:
            (out * torch.randn(out.shape, dtype=out.dtype)).sum().backward()
        # Published programs keep biases although an instance norm takes them out again.
        kept = any(isinstance(m, _InstanceNorm) for m in net.modules())
        for name, parameter in parameters.items():
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name
            assert parameter.grad.abs().max() > 1e-9 or (kept and name.endswith("bias")), name


@every_knob
def test_samples_of_a_batch_are_independent(block: Block, knobs: dict[str, Value]) -> None:
    for channels, net in built(block, knobs):
        batch = inputs(block, channels, even(block), knobs, n=3)
        net = net.double().eval()
        with torch.no_grad():
            together = joined(net(*batch))
            alone = torch.cat([joined(net(*(x[i : i + 1] for x in batch))) for i in range(3)])
        torch.testing.assert_close(together, alone, rtol=1e-12, atol=1e-12)


@every_knob
def test_single_and_double_precision_agree(block: Block, knobs: dict[str, Value]) -> None:
    for channels, net in built(block, knobs):
        batch = inputs(block, channels, even(block), knobs)
        with torch.no_grad():
            single = joined(net.float().eval()(*(x.float() for x in batch)))
            double = joined(net.double()(*batch))
        assert single.dtype == torch.float32
        torch.testing.assert_close(single.double(), double, rtol=1e-4, atol=1e-4)


@every_block
def test_first_knob_value_is_the_constructor_default(block: Block) -> None:
    parameters = inspect.signature(block.module).parameters.values()
    knobs = {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}
    assert (knobs.pop("ndim", None) == 2) == (len(block.ndims) > 1)
    assert knobs == {name: values[0] for name, values in block.knobs.items()}
    for values in block.knobs.values():
        assert len(set(values)) == len(values) > 1
        assert len({type(value) for value in values}) == 1


@every_block
def test_spec_fills_in_defaults_and_refuses_unknown_knobs(block: Block) -> None:
    defaults = tuple((knob, values[0]) for knob, values in block.knobs.items())
    assert BlockSpec.of(block.name).knobs == defaults
    for knob in block.knobs:
        with pytest.raises(InvalidInput, match=f"did you mean '{knob}'"):
            BlockSpec.of(block.name, **{f"{knob}z": 1})
    if not block.knobs:
        with pytest.raises(InvalidInput, match=r"no knobs, got 'size'"):
            BlockSpec.of(block.name, size=1)


def test_an_unknown_block_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(InvalidInput, match=r"got 'mkri'; did you mean 'mkir'\?"):
        find_block("mkri")


@every_block
def test_docstring_states_arguments_shape_and_errors(block: Block) -> None:
    doc = inspect.getdoc(block.module) or ""
    for parameter in inspect.signature(block.module).parameters:
        assert f"\n    {parameter}: " in doc, parameter
    assert "Shape: " in doc
    assert ("Raises:" in doc) == can_raise(block.module)


@every_block
def test_file_names_source_and_departures(block: Block) -> None:
    doc = sys.modules[block.module.__module__].__doc__ or ""
    assert "\nSource: " in doc
    assert "\nDepartures: " in doc


def test_every_file_of_blocks_is_loaded() -> None:
    assert load_blocks() is BLOCKS
    assert {block.role for block in BLOCKS.values()} <= set(CHANNELS)
    assert all(name == block.name for name, block in BLOCKS.items())


def can_raise(thing: Any) -> bool:
    """Whether code of ours that `thing` reaches by plain names holds a `raise`."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(thing)))
    if any(isinstance(node, ast.Raise) for node in ast.walk(tree)):
        return True
    calls = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    scope = vars(sys.modules[thing.__module__])
    called = [scope.get(func.id) for func in calls if isinstance(func, ast.Name)]
    ours = [c for c in called if getattr(c, "__module__", "").startswith("primitives")]
    return any(can_raise(c) for c in ours)
