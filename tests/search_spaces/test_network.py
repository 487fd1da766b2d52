"""The assembler: what is shared, what it refuses, how the parts meet."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from primitives.attention import SpatialAttention
from primitives.core.errors import InvalidInput
from search_spaces import load
from search_spaces.core.arch import Arch, BlockSpec, Stage
from search_spaces.core.network import build
from search_spaces.nets.classic import resnet_unet_plus_plus
from search_spaces.nets.ultralight import ultralight


def two_levels() -> Arch:
    return ultralight(
        (4, 8),
        depths=(1, 2),
        encoder_kernels=("3", "3"),
        decoder_kernels=("3", "3"),
        encoder_attention=("none", "none"),
        decoder_attention=("ca-sa", "sa"),
        ratios=(4, 4),
    )


def spatial(net: nn.Module) -> list[nn.Module]:
    return [m for m in net.modules() if isinstance(m, SpatialAttention)]


def test_shared_attention_is_one_module_run_by_every_stage() -> None:
    net = build(load("ultralight").arch(load("ultralight").baselines["ultralight-t"].point))
    (module,) = spatial(net)
    runs = []
    module.register_forward_hook(lambda *_: runs.append(1))
    net(torch.randn(2, 3, 32, 32))
    assert len(runs) == 5
    own = build(replace(two_levels(), shared=None))
    assert len(spatial(own)) == 2


def test_sides_must_be_multiples_of_two_to_the_levels() -> None:
    net = build(two_levels())
    assert net(torch.randn(1, 3, 4, 8)).shape == (1, 1, 4, 8)
    with pytest.raises(InvalidInput, match=r"must be multiples of 4, got \(4, 6\)"):
        net(torch.randn(1, 3, 4, 6))


def test_decoder_widths_must_meet_the_skips() -> None:
    arch = two_levels()
    wrong = replace(arch.decoder[0], width=6)
    with pytest.raises(InvalidInput, match="gag needs equal channel counts, got 6 and 4"):
        build(replace(arch, decoder=(wrong, arch.decoder[1])))


def test_encoder_and_decoder_have_equally_many_stages() -> None:
    arch = two_levels()
    with pytest.raises(
        InvalidInput, match="2 encoder stages, 1 or more, needs 2 decoder stages, got 1"
    ):
        replace(arch, decoder=arch.decoder[:1])
    with pytest.raises(InvalidInput, match="with 0 encoder stages, 1 or more, needs"):
        replace(arch, encoder=(), decoder=())
    with pytest.raises(InvalidInput, match="classes must be 1 or more, got 0"):
        replace(arch, classes=0)


def test_depth_repeats_the_block_at_the_stage_width() -> None:
    net: Any = build(two_levels())
    convs = [block.project[0] for block in (net.encoder2_block1, net.encoder2_block2)]
    assert [(c.in_channels, c.out_channels) for c in convs] == [(8, 8), (16, 8)]


def test_weights_start_by_the_published_scheme() -> None:
    torch.manual_seed(0)
    net: Any = build(load("ultralight").arch(load("ultralight").baselines["ultralight-base"].point))
    convs = [m for m in net.modules() if isinstance(m, nn.Conv2d) and m is not net.head.conv]
    weights = torch.cat([conv.weight.flatten() for conv in convs]).detach()
    assert weights.numel() > 200_000
    assert abs(weights.mean()) < 2e-4
    assert abs(weights.std() - 0.02) < 2e-4
    assert all(not conv.bias.any() for conv in convs if conv.bias is not None)
    # The head keeps the framework's uniform start: bounded by 1 / sqrt(fan in) = 1 / 4.
    assert 0.05 < net.head.conv.weight.abs().max() <= 0.25


def test_description_lists_stages_and_parts() -> None:
    rows = list(two_levels().rows())
    assert [row[:4] for row in rows] == [
        ("encoder 1", "1", "4", "1"),
        ("encoder 2", "1/2", "8", "2"),
        ("decoder 1", "1/4", "4", "1"),
        ("decoder 2", "1/2", "4", "1"),
    ]
    attention = "channel-attention ratio=4, spatial-attention kernel=7 (shared)"
    assert [row[5] for row in rows] == ["-", "-", attention, "spatial-attention kernel=7 (shared)"]
    last = two_levels().describe().splitlines()[-1]
    assert last.endswith("skip gag kernel=3, head conv1x1; 3 in, 1 out")


def test_stage_defaults_are_one_block_without_attention() -> None:
    stage = Stage(BlockSpec.of("mkir"), 8)
    assert (stage.depth, stage.attention) == (1, ())
    assert Stage.from_json(stage.to_json()) == stage


def test_strided_pointwise_convolutions_have_right_gradients() -> None:
    """oneDNN's are wrong, or it crashes or hangs, where few channels are stored last."""
    net = build(resnet_unet_plus_plus(4, depths=(1, 1, 1, 1)))
    convs = [
        m for m in net.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (1, 1) != m.stride
    ]
    assert [conv.in_channels for conv in convs] == [4, 8, 16]
    for conv in convs:
        x = torch.randn(32, conv.in_channels, 32, 32).to(memory_format=torch.channels_last)
        out = conv(x)
        given = torch.randn_like(out)
        out.backward(given)
        met = x[:, :, ::2, ::2].double()
        weight = conv.weight.double()[..., 0, 0]
        assert torch.allclose(out.double(), torch.einsum("oc,nchw->nohw", weight, met), atol=1e-4)
        expected = torch.einsum("nohw,nchw->oc", given.double(), met)
        assert conv.weight.grad is not None
        assert torch.allclose(conv.weight.grad[..., 0, 0].double(), expected, atol=1e-2)
