"""The published networks: parameter counts, printed costs, and values of the published program."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from primitives.attention import ChannelAttention
from primitives.core.contract import Value
from primitives.gates import GateMap
from primitives.mkir import MultiKernelInvertedResidual
from search_spaces import load
from search_spaces.core.network import build
from tests.search_spaces.golden import difference, example, recorded

SPACE = load("ultralight")
GOLDEN = recorded("ultralight")

# Exact counts of the published program with its three discarded heads, one class.
TOTALS = {
    "ultralight-t": 27_384,
    "ultralight-s": 93_050,
    "ultralight-base": 315_566,
    "ultralight-m": 1_150_166,
    "ultralight-l": 3_758_118,
    "ultralight-mobile-unet": 270_996,
    "ultralight-mkir": 305_736,
    "ultralight-mkir-gag": 310_220,
    "ultralight-mkir-mkira": 311_082,
    "ultralight-mkira-encoder": 320_814,
    "ultralight-ag": 326_414,
    "ultralight-k1": 271_562,
    "ultralight-k1-1": 275_036,
    "ultralight-k3": 280_826,
    "ultralight-k1-3": 284_300,
    "ultralight-k1-1-3": 287_774,
    "ultralight-k3-3": 293_564,
    "ultralight-k1-3-3": 297_038,
    "ultralight-k5": 299_354,
    "ultralight-k1-5": 302_828,
    "ultralight-k3-3-3": 306_302,
    "ultralight-k3-5": 312_092,
    "ultralight-k1-3-5": 315_566,
    "ultralight-k5-5": 330_620,
    "ultralight-k5-5-5": 361_886,
}
# variant -> live with one class, program with nine classes, channels of the discarded heads
SIZES = {
    "ultralight-t": (27_353, 27_672, (16, 8, 4)),
    "ultralight-s": (92_991, 93_594, (32, 16, 8)),
    "ultralight-base": (315_451, 316_622, (64, 32, 16)),
    "ultralight-m": (1_149_939, 1_152_246, (128, 64, 32)),
    "ultralight-l": (3_757_667, 3_762_246, (256, 128, 64)),
}
# The two printed costs that no reading of the paper reproduces.
UNMATCHED_COSTS = {"ultralight-mobile-unet", "ultralight-mkira-encoder"}


def net_of(name: str, classes: int = 1, device: str = "cpu", **changes: Value) -> Any:
    point = {**SPACE.baseline(name).point, **changes}
    with torch.device(device):
        return build(SPACE.arch(point, classes=classes))


def count(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


def test_every_baseline_has_a_known_count() -> None:
    assert set(TOTALS) == set(SPACE.baselines)


@pytest.mark.parametrize("name", TOTALS)
def test_parameters_with_the_discarded_heads_are_the_published_ones(name: str) -> None:
    baseline = SPACE.baseline(name)
    total = count(net_of(name, device="meta")) + baseline.discarded_params
    assert total == TOTALS[name]
    number, unit = float(baseline.params[:-1]), baseline.params[-1]
    assert unit == "M"
    digits = len(baseline.params[:-1].partition(".")[2])
    assert round(total / 1e6, digits) == number


@pytest.mark.parametrize("name", SIZES)
def test_live_and_nine_class_parameters(name: str) -> None:
    live, nine, heads = SIZES[name]
    assert count(net_of(name, device="meta")) == live
    assert SPACE.baseline(name).discarded_params == sum(heads) + len(heads)
    with_heads = count(net_of(name, classes=9, device="meta")) + 9 * (sum(heads) + len(heads))
    assert with_heads == nine


def test_expansion_4_has_571810_parameters() -> None:
    net = net_of("ultralight-base", device="meta", encoder_expansion=4, decoder_expansion=4)
    assert count(net) + 115 == 571_810


@pytest.mark.parametrize("name", [name for name in TOTALS if "-k" in name])
def test_a_kernel_set_changes_nothing_but_its_branches(name: str) -> None:
    def cost(kernels: str) -> int:
        return sum(1158 * (int(side) ** 2 + 2) for side in kernels.split("-"))

    rest = count(net_of("ultralight-base", device="meta")) - cost("1-3-5")
    kernels = name.partition("-k")[2]
    assert count(net_of(name, device="meta")) == rest + cost(kernels)


@pytest.mark.parametrize("name", sorted(set(TOTALS) - UNMATCHED_COSTS))
def test_cost_by_the_papers_rule_is_the_printed_one(name: str) -> None:
    net = net_of(name, device="meta")
    widths = net_widths(net)
    sides = (32, 64, 128)  # of the discarded heads' maps, deepest first
    heads = sum((c + 1) * s * s for c, s in zip(widths[2::-1], sides, strict=True))
    cost = (published_cost(net, 256) + heads) / 1e9
    printed = SPACE.baseline(name).cost
    digits = len(printed[:-1].partition(".")[2])
    assert printed == f"{cost:.{digits}f}G"


def net_widths(net: Any) -> list[int]:
    blocks = (getattr(net, f"encoder{i}_block1") for i in range(1, 6))
    return [int(block.project[0].out_channels) for block in blocks]


def published_cost(net: nn.Module, side: int) -> int:
    """Count as a module-hook counter: layers that are modules, norms twice, pools of CA too."""
    total = 0

    def add(module: nn.Module, args: tuple[Tensor, ...], out: Tensor) -> None:
        nonlocal total
        if isinstance(module, nn.Conv2d):
            taps = module.weight[0].numel() + (module.bias is not None)
            total += taps * out.numel()
        elif isinstance(module, nn.BatchNorm2d):
            total += 2 * out.numel()
        elif isinstance(module, nn.ReLU | nn.ReLU6):
            total += out.numel()
        elif isinstance(module, ChannelAttention):
            total += 2 * args[0].numel()

    for module in net.modules():
        module.register_forward_hook(add)
    with torch.no_grad():
        net.eval()(torch.empty(1, 3, side, side, device="meta"))
    return total


@pytest.mark.parametrize("name", GOLDEN)
def test_output_equals_the_published_program(name: str) -> None:
    facts = GOLDEN[name]
    net = net_of(name)
    assert count(net) == facts["live_parameters"]
    assert facts["parameters"] == TOTALS[name]
    assert difference(net, facts) <= 1e-6


def each(kind: type[nn.Module], change: Callable[[nn.Module], None]) -> Callable[[Any], None]:
    """Apply a change to all modules of a kind."""

    def apply(net: nn.Module) -> None:
        modules = [m for m in net.modules() if isinstance(m, kind)]
        assert modules
        for module in modules:
            change(module)

    return apply


def relu_for_relu6(net: nn.Module) -> None:
    for parent in list(net.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.ReLU6):
                setattr(parent, name, nn.ReLU())


class Upsample(nn.Module):
    def __init__(self, align_corners: bool, relu: bool) -> None:
        super().__init__()
        self.align_corners, self.relu = align_corners, relu

    def forward(self, x: Tensor) -> Tensor:
        corners = self.align_corners
        x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=corners)
        return F.relu(x) if self.relu else x


def upsampling(align_corners: bool, relu: bool) -> Callable[[Any], None]:
    def apply(net: Any) -> None:
        for i in range(1, 6):
            setattr(net, f"decoder{i}_up", Upsample(align_corners, relu))

    return apply


def swap_inputs(gate: Any) -> None:
    forward = gate.forward
    gate.forward = lambda x, skip: forward(skip, x)


def flip_channels(attention: nn.Module) -> None:
    attention.register_forward_pre_hook(lambda _, args: (args[0].flip(1),))


MISTAKES: dict[str, Callable[[Any], None]] = {
    "ReLU for ReLU6": relu_for_relu6,
    "no shuffle": each(MultiKernelInvertedResidual, lambda m: setattr(m, "groups", 1)),
    "other shuffle": each(MultiKernelInvertedResidual, lambda m: setattr(m, "groups", 2)),
    "aligned corners": upsampling(align_corners=True, relu=True),
    "no ReLU after upsampling": upsampling(align_corners=False, relu=False),
    "swapped gate inputs": each(GateMap, swap_inputs),
    "other norm eps": each(nn.BatchNorm2d, lambda m: setattr(m, "eps", 1e-3)),
    "mean and maximum in the other order": lambda net: flip_channels(net.shared.conv),
}


def test_the_copy_of_the_upsampling_is_itself_right() -> None:
    net = net_of("ultralight-s")
    upsampling(align_corners=False, relu=True)(net)
    assert difference(net, GOLDEN["ultralight-s"]) <= 1e-6


@pytest.mark.parametrize("mistake", MISTAKES)
def test_the_check_notices(mistake: str) -> None:
    net = net_of("ultralight-s")
    MISTAKES[mistake](net)
    assert difference(net, GOLDEN["ultralight-s"]) > 1e-5


def test_grey_input_equals_the_repeated_colour_input() -> None:
    point = SPACE.baseline("ultralight-s").point
    grey, colour = (build(SPACE.arch(point, in_channels=c)).double().eval() for c in (1, 3))
    grey.load_state_dict(colour.state_dict())
    x = example([2, 1, 64, 32])
    torch.testing.assert_close(grey(x), colour(x.repeat(1, 3, 1, 1)), rtol=0, atol=0)
