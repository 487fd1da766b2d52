"""Arch -> Evaluation: train, score, time. Knows neither the scheduler nor the study's database."""

from pathlib import Path

from safetensors.torch import load_file, save

from nas.costs import Costs
from nas.data import Data
from nas.evaluation import Evaluation, Latency
from nas.files import replace_file
from nas.inheritance.lineage import Parent, gentle, short_epochs
from nas.latency.timing import time_network
from nas.recipes import find_recipe
from nas.slot import DeviceSlot
from nas.task import Task
from nas.train import Epoch, Training
from search_spaces.core.arch import Arch
from search_spaces.core.network import Network, build


class Candidate:
    """One arch on its way to an evaluation; goes on from a checkpoint if there is one.

    Args:
        task: what all candidates share.
        arch: what to train.
        costs: of the arch.
        data: on the study's device.
        latency: if it is known already.
        parent: whose weights to begin with, in a short plan; None: from scratch, in full.

    Raises:
        OSError: the parent's weights are gone.
    """

    def __init__(
        self,
        task: Task,
        arch: Arch,
        costs: Costs,
        data: Data,
        latency: Latency | None = None,
        parent: Parent | None = None,
    ) -> None:
        self.task, self.arch, self.costs, self._latency = task, arch, costs, latency
        self.parent, self._checkpoint = parent, task.checkpoint(arch, parent)
        self.slot = DeviceSlot(data.train.images.device)
        recipe, epochs, begun = find_recipe(task.study.recipe), task.study.epochs, None
        if parent:
            recipe, epochs = gentle(recipe), short_epochs(epochs)
            begun = _trained(task, parent)
        self.training = Training(
            arch,
            data,
            task.prepared,
            recipe,
            epochs=epochs,
            seed=task.study.seed_of(arch.key),
            slot=self.slot,
            parent=begun,
        )
        if self._checkpoint.exists():
            self.training.load(self._checkpoint)

    @property
    def done(self) -> bool:
        """Whether the full budget is used up."""
        return self.training.done

    def run_epoch(self) -> Epoch:
        """Train one epoch and keep a checkpoint.

        Raises:
            TrainingFailed: the loss is not finite.
            OSError: the checkpoint could not be written.
        """
        epoch = self.training.run_epoch()
        self.training.save(self._checkpoint)
        return epoch

    def settled_loss(self) -> float:
        """Return what candidates are compared by before the end of their budget.

        Raises:
            TrainingFailed: it is not finite.
        """
        return self.training.settled_loss()

    def latency(self) -> Latency:
        """Return the latency, measured once, while no training of ours runs on the device."""
        if self._latency is None:
            net, study = self.training.net, self.task.study
            self._latency = time_network(net, self.arch, study, self.slot)
        return self._latency

    def finish(self) -> Evaluation:
        """Time the net if asked for, keep its best weights and return what was measured.

        Raises:
            OSError: the weights could not be written.
        """
        training, study = self.training, self.task.study
        assert training.best is not None
        latency = self.latency() if self.task.timed else None
        name = f"{self.task.file_stem(self.arch, self.parent)}.safetensors"
        state = {k: v.cpu().contiguous() for k, v in training.best_state.items()}
        replace_file(Path(self.task.weights) / name, save(state))
        return Evaluation(
            arch_key=self.arch.key,
            dice=training.best.dice,
            iou=training.best.iou,
            params=self.costs.params,
            macs=self.costs.macs,
            memory_mib=self.costs.memory_mib,
            latency=latency,
            epochs=training.epoch,
            full_epochs=study.epochs,
            best_epoch=training.best_epoch,
            steps=training.steps,
            train_seconds=training.seconds,
            seed=study.seed_of(self.arch.key),
            weights=name,
            dice_per_class=tuple(training.best.dice_per_class),
            parent=self.parent.weights if self.parent else "",
            ancestor_steps=self.parent.lineage_steps if self.parent else 0,
        )

    def close(self) -> None:
        """Let go of the device."""
        self.slot.close()


def _trained(task: Task, parent: Parent) -> Network:
    net = build(parent.arch)
    net.load_state_dict(load_file(Path(task.weights) / parent.weights))
    return net


def evaluate(
    task: Task, arch: Arch, costs: Costs, data: Data, parent: Parent | None = None
) -> Evaluation:
    """Train an arch to the end of its budget in this process and return what was measured.

    Raises:
        TrainingFailed: the loss is not finite.
        OSError: a file could not be written.
    """
    candidate = Candidate(task, arch, costs, data, parent=parent)
    try:
        while not candidate.done:
            candidate.run_epoch()
        return candidate.finish()
    finally:
        candidate.close()
