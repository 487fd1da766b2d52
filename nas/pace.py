"""How fast a device trains, so that a default budget fits it."""

import statistics
import time

import torch

from nas.latency import cpu_threads
from nas.losses import LOSSES
from nas.recipes import Recipe
from search_spaces.core.arch import Arch
from search_spaces.core.network import build

_WARMUP, _STEPS = 2, 3


def seconds_per_step(arch: Arch, recipe: Recipe, size: int) -> float:
    """Return the median time of a training step on one CPU thread.

    Args:
        arch: what to train, on noise.
        recipe: its batch and loss.
        size: side of the input, pixels.
    """
    net = build(arch).to(memory_format=torch.channels_last)
    loss = LOSSES[recipe.loss]
    x = torch.randn(recipe.batch, arch.in_channels, size, size)
    y = torch.zeros(recipe.batch, size, size, dtype=torch.uint8)
    times = []
    with cpu_threads(1):
        for _ in range(_WARMUP + _STEPS):
            start = time.perf_counter()
            loss(net(x.to(memory_format=torch.channels_last)), y).backward()
            times.append(time.perf_counter() - start)
    return statistics.median(times[_WARMUP:])
