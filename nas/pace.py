"""How fast a device trains, so that a default budget fits it."""

import statistics
import time

import torch

from nas.latency.measure import cpu_threads
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
        size: side of the input, pixels or voxels.
    """
    memory_format = torch.channels_last if arch.ndim == 2 else torch.channels_last_3d
    net = build(arch).to(memory_format=memory_format)
    loss = LOSSES[recipe.loss]
    sides = (size,) * arch.ndim
    x = torch.randn(recipe.batch, arch.in_channels, *sides)
    y = torch.zeros(recipe.batch, *sides, dtype=torch.uint8)
    times = []
    with cpu_threads(1):
        for _ in range(_WARMUP + _STEPS):
            start = time.perf_counter()
            loss(net(x.to(memory_format=memory_format)), y).backward()
            times.append(time.perf_counter() - start)
    return statistics.median(times[_WARMUP:])
