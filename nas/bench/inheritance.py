"""What inheritance is worth: children of one network, trained from scratch and with its weights."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from rich.table import Table

from nas.costs import measure_costs
from nas.data import Data, DataSpec, open_data, prepare
from nas.evaluate import Candidate
from nas.folder import Progress
from nas.inheritance.lineage import Parent, short_epochs
from nas.inheritance.nearest import overlap
from nas.settings import Study
from nas.tables import table
from nas.task import Task
from primitives.core.contract import Value
from search_spaces.core.arch import Arch
from search_spaces.ultralight import SPACE

PARENT = "ultralight-t"
# One change each, as a mutation makes it; the last two cannot keep the function.
CHANGES: Mapping[str, Mapping[str, Value]] = {
    "wider stages 4 and 5": {"growth": "1-2-4-8-16"},
    "larger kernels in stage 2": {"encoder_kernels_2": "1-3-7"},
    "one more block in stage 2": {"depth_2": 2},
    "other gates": {"gate": "ag"},
    "attention in stage 2": {"encoder_attention_2": "ca-sa"},
}
_NEAR = 0.005  # Dice


@dataclass(frozen=True, slots=True)
class Row:
    """One child.

    Attributes:
        change: against the parent.
        share: of its parameters that the parent has.
        full: best validation Dice of the full plan from scratch.
        short: of the short plan from scratch.
        inherited: of the short plan with the parent's weights.
        epochs: first ones within .005 of `full`, from scratch and inherited; None: none was.
    """

    change: str
    share: float
    full: float
    short: float
    inherited: float
    epochs: tuple[int | None, int | None]


def bench_inherit(
    folder: Path, size: int, epochs: int, seed: int, progress: Progress
) -> tuple[float, list[Row]]:
    """Train a network and its children on the embedded images, in this process.

    Args:
        folder: for data, checkpoints and weights; a second run goes on where one was interrupted.
        size: side of the input, pixels.
        epochs: of the full plan.
        seed: of data and trainings.
        progress: called after each child.

    Returns:
        The parent's best validation Dice, and one row for each child.

    Raises:
        TrainingFailed: a loss is not finite.
    """
    torch.set_num_threads(1)  # as in a search
    task = _task(folder, size, epochs, seed)
    short = replace(task, study=replace(task.study, epochs=short_epochs(epochs)))
    data = open_data(task.prepared, torch.device("cpu"))
    base = dict(SPACE.baselines[PARENT].point)
    channels = task.prepared.in_channels, task.prepared.classes
    arch = SPACE.arch(base, *channels)
    curve, weights, steps = _train(task, arch, data)
    parent = Parent(arch, weights, steps)
    rows = []
    for change, values in CHANGES.items():
        child = SPACE.arch({**base, **values}, *channels)
        full, brief = (_train(plan, child, data)[0] for plan in (task, short))
        heir = _train(task, child, data, parent)[0]
        near = _first(full, max(full)), _first(heir, max(full))
        share = overlap(child, arch)
        rows.append(Row(change, share, max(full), max(brief), max(heir), near))
        progress("training children", len(rows), len(CHANGES))
    return max(curve), rows


def inherit_table(parent: float, rows: Sequence[Row], epochs: int) -> Table:
    """Return the rows for reading.

    Args:
        parent: its best validation Dice.
        rows: of the children.
        epochs: of the full plan.
    """
    short = short_epochs(epochs)
    columns = (
        "child",
        ">has of it",
        f">scratch {epochs}",
        f">scratch {short}",
        f">inherited {short}",
        f">within {_NEAR} at: scratch",
        ">inherited",
    )
    cells = (
        (
            row.change,
            f"{row.share:.0%}",
            *(f"{dice:.4f}" for dice in (row.full, row.short, row.inherited)),
            *(str(epoch or "-") for epoch in row.epochs),
        )
        for row in rows
    )
    title = f"Children of {PARENT} (Dice {parent:.4f} after {epochs} epochs); best validation Dice"
    return table(title, columns, cells)


def _task(folder: Path, size: int, epochs: int, seed: int) -> Task:
    prepared = prepare(DataSpec("phantom", size), folder / "cache", seed=seed)
    study = Study(
        name="inherit",
        space=SPACE.name,
        objectives=("dice",),
        size=size,
        epochs=epochs,
        seed=seed,
        inherit=True,
    )
    weights, checkpoints = folder / "weights", folder / "checkpoints"
    for path in (weights, checkpoints):
        path.mkdir(parents=True, exist_ok=True)
    return Task(study, prepared, str(weights), str(checkpoints), timed=False)


def _train(
    task: Task, arch: Arch, data: Data, parent: Parent | None = None
) -> tuple[list[float], str, int]:
    """Return the Dice after each epoch, the name of the best weights, and the steps behind them."""
    costs = measure_costs(arch, task.study.size)
    candidate = Candidate(task, arch, costs, data, parent=parent)
    try:
        while not candidate.done:
            candidate.run_epoch()
        found = candidate.finish()
    finally:
        candidate.close()
    dice = [epoch.dice for epoch in candidate.training.curve]
    return dice, found.weights, found.lineage_steps


def _first(curve: Sequence[float], target: float) -> int | None:
    """Return the first epoch that comes near a target."""
    reached = (epoch for epoch, dice in enumerate(curve, 1) if dice >= target - _NEAR)
    return next(reached, None)
