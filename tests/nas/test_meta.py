"""What is made without memory, and what it leaves alone."""

import pytest
import torch
from torch import nn

import search_spaces
from nas.meta import OnMeta
from search_spaces.core.network import build


@pytest.mark.parametrize("name", search_spaces.names())
def test_networks_have_the_shapes_of_real_ones_and_draw_nothing(name: str) -> None:
    space = search_spaces.load(name)
    _, baseline = next(iter(space.seeds()))
    arch = space.arch(baseline.point)
    real, before = build(arch), torch.get_rng_state()
    with OnMeta():
        net = build(arch)
    assert torch.equal(torch.get_rng_state(), before)
    shapes = {name: (value.shape, value.dtype) for name, value in real.state_dict().items()}
    assert {n: (v.shape, v.dtype) for n, v in net.state_dict().items()} == shapes
    assert {value.device.type for value in net.state_dict().values()} == {"meta"}


def test_a_device_that_is_asked_for_is_kept() -> None:
    with OnMeta():
        assert torch.zeros(2, device="cpu").device.type == "cpu"
        assert torch.zeros(2).device.type == "meta"
    assert nn.Linear(2, 2).weight.device.type == "cpu"
