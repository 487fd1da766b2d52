"""Is a network numerically the published one, although its layers have other names?

The recorded networks were filled with numbers drawn from the position of each layer in the order
of first use, so a net of ours filled by the same rule must give the recorded output.
"""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

TENSORS = ("weight", "bias", "running_mean", "running_var")


def recorded(space: str) -> dict[str, dict[str, Any]]:
    """Baseline name -> input shape, layers in order of use, and a summary of the output."""
    text = (Path(__file__).parent / f"golden_{space}.json").read_text()
    return dict(json.loads(text))


def fill(net: nn.Module, x: torch.Tensor) -> list[str]:
    """Fill the layers of a net for inputs like `x`; return their tensors in order of first use."""
    used: list[nn.Module] = []
    owners = [m for m in net.modules() if any(True for _ in m.parameters(recurse=False))]
    hooks = [m.register_forward_pre_hook(lambda m, _: used.append(m)) for m in owners]
    net.double().eval()
    with torch.no_grad():
        net(x)
    for hook in hooks:
        hook.remove()
    order = list(dict.fromkeys(used))
    assert len(order) == len(owners), "a layer with parameters is never used"
    return [_fill_layer(layer, i) for i, layer in enumerate(order)]


def _fill_layer(layer: nn.Module, i: int) -> str:
    state = {name: getattr(layer, name, None) for name in TENSORS}
    present = {name: t for name, t in state.items() if t is not None}
    for j, (name, tensor) in enumerate(present.items()):
        noise = np.random.RandomState(7919 * (i + 1) + j).standard_normal(tensor.numel())
        if tensor.ndim > 1:
            values = noise / math.sqrt(tensor[0].numel())
        elif name == "running_var":
            values = 1 + 0.1 * np.abs(noise)
        else:
            values = 0.1 * noise + (name == "weight")
        tensor.data.copy_(torch.from_numpy(values).view(tensor.shape))
    return " ".join(f"{name}{list(t.squeeze().shape) or [1]}" for name, t in present.items())


def example(shape: list[int]) -> torch.Tensor:
    """The recorded input."""
    return torch.from_numpy(np.random.RandomState(0).standard_normal(shape))


def difference(net: nn.Module, facts: dict[str, Any]) -> float:
    """Fill a net and return how far its output is from the recorded one, in recorded deviations."""
    x = example(facts["input"])
    layers = fill(net, x)
    assert layers == [layer.partition(" ")[2] for layer in facts["layers"]]
    with torch.no_grad():
        out = net(x).flatten()
    assert out.numel() == facts["numel"]
    picks = np.linspace(0, out.numel() - 1, len(facts["values"])).astype(int).tolist()
    pairs = [(out.mean().item(), facts["mean"]), (out.std().item(), facts["std"])]
    pairs += zip(out[picks].tolist(), facts["values"], strict=True)
    worst = max(abs(ours - theirs) for ours, theirs in pairs)
    return float(worst / facts["std"])
