"""The other forms compute what the primitives compute; the command prints rows and knows misuse."""

import random
import re
from typing import Any

import pytest
import torch
from torch import nn

from nas.bench import blocks
from nas.bench.alternatives import PARTS, Form
from nas.bench.blocks import SIDES, Spread
from primitives.core.contract import load_blocks
from tests.commands import run, run_json

SMALL = {2: ((6, 8), (10, 6)), 3: ((4, 6),)}  # ndim -> channels and sides


def results(form: Form, net: nn.Module, shape: tuple[int, ...], inputs: int) -> list[torch.Tensor]:
    """Output, gradients of the inputs and of the weights, in double precision."""
    generator = torch.Generator().manual_seed(2)
    maps = [torch.randn(shape, generator=generator).double() for _ in range(inputs)]
    net.zero_grad()
    out = form(*(x.requires_grad_() for x in maps))
    out.backward(torch.randn(out.shape, generator=generator).double())
    gradients = [p.grad for p in (*maps, *net.parameters())]
    return [out.detach(), *(g.clone() for g in gradients if g is not None)]


@pytest.mark.parametrize("name", PARTS)
def test_other_forms_give_the_values_and_gradients_of_the_primitive(name: str) -> None:
    part = PARTS[name]
    for channels, side in SMALL[part.ndim]:
        torch.manual_seed(0)
        forms = part.make(channels, side)
        net, shape = forms.net.double(), (2, channels, *[side] * part.ndim)
        ours = results(forms.ours, net, shape, part.inputs)
        assert len(ours) == 1 + part.inputs + len(list(net.parameters()))
        assert forms.others
        for other in forms.others.values():
            theirs = results(other, net, shape, part.inputs)
            for mine, its in zip(ours, theirs, strict=True):
                torch.testing.assert_close(mine, its, rtol=1e-9, atol=1e-11)


def test_the_spread_of_values_by_hand() -> None:
    values = [float(v) for v in range(11)]  # the quantiles of 0 to 10 are themselves
    random.Random(0).shuffle(values)
    assert Spread.of(values) == Spread(5.0, 1.0, 9.0)
    assert str(Spread(1.23456, 0.5, 20.0)) == "1.23 [0.5, 20]"


def test_forms_take_turns_and_ratios_are_paired_by_round(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[str] = []

    class Fake:
        def __init__(self, name: str, forward: float) -> None:
            self.name, self.forward = name, forward

        def time_ms(self) -> tuple[float, float]:
            called.append(self.name)
            drift = len(called)  # both get slower, their ratio stays about the same
            return self.forward * drift, 3.0 * drift

    runners: Any = [Fake("a", 1.0), Fake("b", 2.0)]
    times = blocks._times(runners, 4)
    assert "".join(called) == "aabb" + "abbaabba"
    (row,) = blocks._rows(runners, times)
    assert (row["other"], row["rounds"]) == ("b", 4)
    assert row["forward_ratio"]["median"] == pytest.approx(2.0, rel=0.1)
    assert row["backward_ratio"]["median"] == pytest.approx(1.0, rel=0.1)
    assert row["both_ratio"]["median"] == pytest.approx(5 / 4, rel=0.1)


def test_a_block_and_a_part_are_timed_at_three_widths(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "WIDTHS", (4, 8, 16))
    monkeypatch.setattr(blocks, "SIDES", dict.fromkeys(SIDES, (8, 4, 2)))
    threads = torch.get_num_threads()
    command = "bench blocks --repeats 2 --block add --block 'channel shuffle'"
    rows = run_json(command)["blocks"]
    assert torch.get_num_threads() == threads
    shapes = [[2, 4, 8, 8], [2, 8, 4, 4], [2, 16, 2, 2]]
    assert [row["shape"] for row in rows if row["name"] == "add"] == shapes
    shuffles = [row["other"] for row in rows if row["name"] == "channel shuffle"]
    assert shuffles == ["view, transpose, reshape", "index of channels"] * 3
    for row in rows:
        for times in (row["forward_ms"], row["backward_ms"]):
            assert 0 < times["low"] <= times["median"] <= times["high"]
    result = run(command)
    assert re.search(r"^add +2x8x4x4 +channels last +\d", result.stdout, re.M)
    assert re.search(r"\[\S+, \S+\] +contiguous +\d", result.stdout)
    assert "rig: device cpu" in result.stdout
    assert "timing" in result.stderr


def test_every_block_can_be_timed() -> None:
    timed = {case.name: case for case in blocks._blocks()}
    assert {name.removesuffix(" 3d") for name in timed} == set(load_blocks()) - {
        "as-is",
        "identity",
        "timm",
    }
    for case in timed.values():
        for runner in case.make(16, 8):
            forward, backward = runner.time_ms()
            assert forward > 0, case.name
            assert backward > 0, case.name
            assert all(p.grad is not None for p in runner.net.parameters()), case.name
