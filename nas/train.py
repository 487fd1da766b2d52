"""Train one network epoch by epoch; a killed training goes on to the bit from its last epoch."""

import copy
import io
import math
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from timm.optim import create_optimizer_v2
from timm.scheduler.cosine_lr import CosineLRScheduler
from timm.utils.model_ema import ModelEmaV3
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.swa_utils import update_bn

from nas.data import Batcher, Data, Prepared
from nas.files import replace_file
from nas.inheritance.inherit import inherit
from nas.latency.measure import memory_format, placed
from nas.losses import LOSSES
from nas.pretrained import load_published
from nas.recipes import Recipe
from nas.score import Scores, score
from nas.slot import DeviceSlot
from nas.task import TrainingFailed
from search_spaces.core.arch import Arch
from search_spaces.core.network import Network, build


@dataclass(frozen=True, slots=True)
class Epoch:
    """One row of a learning curve; seconds hold training and validation."""

    epoch: int
    train_loss: float
    val_loss: float
    dice: float
    seconds: float


class Training:
    """A network on its way through a recipe.

    Args:
        arch: what to train.
        data: training and validation images, on the device.
        prepared: how they were prepared.
        recipe: how to train.
        epochs: the full budget.
        seed: decides initial weights, order and augmentation.
        slot: of the device; held for one step at a time.
        parent: a network whose weights to begin with, on the CPU.
    """

    def __init__(
        self,
        arch: Arch,
        data: Data,
        prepared: Prepared,
        recipe: Recipe,
        *,
        epochs: int,
        seed: int,
        slot: DeviceSlot,
        parent: Network | None = None,
    ) -> None:
        torch.manual_seed(seed)
        self.seed = seed
        self.data, self.prepared, self.recipe, self.slot = data, prepared, recipe, slot
        self.device = data.train.images.device
        self.epochs = epochs
        self.epoch = 0
        self.seconds = 0.0
        self.steps_per_epoch = recipe.steps_per_epoch(len(data.train))
        self.multiple = arch.multiple
        self.memory_format = memory_format(self.device, arch.ndim)
        self.net = build(arch)
        load_published(self.net, arch)
        if parent is not None:
            inherit(self.net, parent, arch.in_channels)
        placed(self.net, self.device, arch.ndim)
        self.loss = LOSSES[recipe.loss]
        self.batcher = Batcher(
            data.train, prepared, batch=recipe.batch, augment=recipe.augment, seed=seed
        )
        self.optimizer = create_optimizer_v2(
            self.net, "adamw", lr=recipe.lr, weight_decay=recipe.weight_decay
        )
        self.scheduler = _schedule(self.optimizer, recipe, epochs * self.steps_per_epoch)
        self.averaged = _average(self.net, recipe)
        self.best: Scores | None = None
        self.best_epoch = 0
        self.best_state: dict[str, Tensor] = {}
        self.curve: list[Epoch] = []

    @property
    def done(self) -> bool:
        """Whether the full budget is used up."""
        return self.epoch >= self.epochs

    @property
    def steps(self) -> int:
        """Optimiser steps taken."""
        return self.epoch * self.steps_per_epoch

    @property
    def scored(self) -> nn.Module:
        """The network that is validated and kept: the averaged one, or the one that is trained."""
        return self.net if self.averaged is None else self.averaged.module

    def run_epoch(self) -> Epoch:
        """Train one more epoch and validate.

        Raises:
            TrainingFailed: the loss is not finite.
        """
        start = time.perf_counter()
        train_loss = self._train()
        scores = score(self.scored, self.data.val, self.prepared, self.loss, self.slot)
        self.epoch += 1
        if self.best is None or scores.dice > self.best.dice:
            self.best, self.best_epoch = scores, self.epoch
            self.best_state = copy.deepcopy(self.scored.state_dict())
        seconds = time.perf_counter() - start
        self.seconds += seconds
        self.curve.append(Epoch(self.epoch, train_loss, scores.loss, scores.dice, seconds))
        return self.curve[-1]

    def settled_loss(self) -> float:
        """Return the validation loss with norm statistics of the present weights.

        The running ones lag behind weights that still change fast. Changes nothing of the training.

        Raises:
            TrainingFailed: the loss is not finite, so that it cannot be compared.
        """
        first, x = self.steps, self.data.train.images
        with torch.random.fork_rng(devices=[x.device] if x.is_cuda else []):
            self._seed_dropout()
            net = copy.deepcopy(self.scored)
            update_bn(self._inputs(range(first, first + self.steps_per_epoch)), net)
            loss = score(net, self.data.val, self.prepared, self.loss, self.slot).loss
        if not math.isfinite(loss):
            raise TrainingFailed(f"validation loss is {loss} after epoch {self.epoch}")
        return loss

    def _inputs(self, steps: Iterable[int]) -> Iterator[Tensor]:
        """Yield the images of steps, with the device held while each is used."""
        for step in steps:
            with self.slot.shared():
                x, _ = self.batcher.draw(step)
                yield x.to(memory_format=self.memory_format)

    def _seed_dropout(self) -> None:
        """Let what a network drops follow from seed and epoch alone, so that it can go on."""
        torch.manual_seed(self.seed + self.epoch)

    def _train(self) -> float:
        self._seed_dropout()
        self.net.train()
        first = self.steps
        losses = []
        for step in range(first, first + self.steps_per_epoch):
            with self.slot.shared():
                losses.append(self._step(step))
        mean = torch.stack(losses).mean().item()
        if not math.isfinite(mean):
            raise TrainingFailed(f"loss is {mean} in epoch {self.epoch + 1}")
        return mean

    def _step(self, step: int) -> Tensor:
        self.scheduler.step_update(step)
        x, y = self._scaled(*self.batcher.draw(step), step)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
            logits = self.net(x.to(memory_format=self.memory_format))
        loss = self.loss(logits.float(), y)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if self.recipe.clip is not None:
            nn.utils.clip_grad_norm_(self.net.parameters(), self.recipe.clip)
        self.optimizer.step()
        if self.averaged is not None:
            self.averaged.update(self.net, step + 1)
        return loss.detach()

    def _scaled(self, x: Tensor, y: Tensor, step: int) -> tuple[Tensor, Tensor]:
        """Resize a batch to one of the recipe's scales."""
        draw = torch.Generator().manual_seed(step)
        scale = self.recipe.scales[int(torch.randint(len(self.recipe.scales), (), generator=draw))]
        side = max(1, round(x.shape[-1] * scale / self.multiple)) * self.multiple
        if side == x.shape[-1]:
            return x, y
        sides = (side,) * (x.ndim - 2)
        flat = x.ndim == 4  # torch has no antialiasing for volumes
        mode = "bilinear" if flat else "trilinear"
        x = F.interpolate(x, sides, mode=mode, align_corners=False, antialias=flat)
        return x, F.interpolate(y[:, None].float(), sides, mode="nearest-exact")[:, 0].to(y.dtype)

    def save(self, path: Path) -> None:
        """Write everything that the next epoch depends on, or nothing.

        Raises:
            OSError: the disk is full.
        """
        state = {
            "epoch": self.epoch,
            "seconds": self.seconds,
            "net": self.net.state_dict(),
            "averaged": self.averaged.module.state_dict() if self.averaged else None,
            "optimizer": self.optimizer.state_dict(),
            "best": asdict(self.best) if self.best else None,
            "best_epoch": self.best_epoch,
            "best_state": self.best_state,
            "curve": [asdict(epoch) for epoch in self.curve],
        }
        buffer = io.BytesIO()
        torch.save(state, buffer)
        replace_file(path, buffer.getvalue())

    def load(self, path: Path) -> None:
        """Go on from a saved state of the same training."""
        state: dict[str, Any] = torch.load(path, map_location=self.device, weights_only=True)
        self.epoch, self.seconds = state["epoch"], state["seconds"]
        self.net.load_state_dict(state["net"])
        if self.averaged is not None:
            self.averaged.module.load_state_dict(state["averaged"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.best = Scores(**state["best"]) if state["best"] else None
        self.best_epoch, self.best_state = state["best_epoch"], state["best_state"]
        self.curve = [Epoch(**row) for row in state["curve"]]


def _schedule(optimizer: torch.optim.Optimizer, recipe: Recipe, steps: int) -> CosineLRScheduler:
    """Warm up linearly, then follow a cosine to 1 % of the peak, or stay at the peak."""
    return CosineLRScheduler(
        optimizer,
        t_initial=steps,
        lr_min=recipe.lr / 100 if recipe.cosine else recipe.lr,
        warmup_t=int(recipe.warmup * steps),
        warmup_lr_init=recipe.lr / 100,
        t_in_epochs=False,
    )


def _average(net: nn.Module, recipe: Recipe) -> ModelEmaV3 | None:
    """Return a copy of a net that follows its weights, from the first steps ever more slowly.

    The statistics of norms are averaged with the same weights, so that they belong to them.
    """
    return None if recipe.ema is None else ModelEmaV3(net, decay=recipe.ema, use_warmup=True)
