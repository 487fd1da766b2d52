"""What all trainings of a table share, and one of them; needs neither Ray nor Optuna."""

from pathlib import Path

import search_spaces
from nas.cost_table import CostTable
from nas.data import Data, DataSpec, Prepared, prepare
from nas.fitting import check_size
from nas.folder import Progress
from nas.latency.measure import cpu_threads
from nas.recipes import find_recipe
from nas.settings import training_seed
from nas.slot import DeviceSlot
from nas.train import Training
from nas.trained_table import Entry, Plan, read_table
from primitives.core.errors import InvalidInput
from search_spaces.core.arch import Arch
from search_spaces.core.space import Point, Space

RECIPE = "brief"

Job = tuple[int, str, Point, int]  # number of the network, its origin and point, the seed


def make_plan(
    space: Space,
    data: str,
    prepared: Prepared,
    most_params: int,
    epochs: int,
    most_macs: int | None = None,
) -> Plan:
    """Return what all trainings share.

    Args:
        space: that networks are of.
        data: name of the folder.
        prepared: what it holds.
        most_params: the most parameters of a network.
        epochs: of a training; a multiple of 9, so that there are rungs at 1/9 and 1/3.
        most_macs: the most multiply-adds of a network for one image; None: any number.

    Raises:
        InvalidInput: epochs are no such multiple, the size does not fit, or the data are not images
            as the space needs them.
    """
    check_size(prepared.size, space)
    if prepared.ndim != space.ndim:
        raise InvalidInput(
            f"space {space.name!r} needs {space.ndim}D data, got {prepared.ndim}D; "
            "name another --space or --data"
        )
    if epochs % 9:
        raise InvalidInput(f"epochs must be a multiple of 9, got {epochs}")
    recipe = find_recipe(RECIPE)
    images = len(prepared.split["train"]), len(prepared.split["val"])
    return Plan(
        space=space.name,
        most_params=most_params,
        data=data,
        fingerprint=prepared.fingerprint,
        images=images,
        channels=(prepared.in_channels, prepared.classes),
        size=prepared.size,
        recipe=(RECIPE, recipe.version),
        epochs=epochs,
        steps=epochs * recipe.steps_per_epoch(images[0]),
        rungs=(epochs // 9, epochs // 3),
        most_macs=most_macs,
    )


def prepare_beside(
    file: Path, data: str, size: int, progress: Progress, *, skip_bad: bool = False
) -> Prepared:
    """Prepare images, with their cache beside a table.

    Args:
        file: the table.
        data: "phantom" or a folder.
        size: side of the input, pixels.
        progress: of the preparation.
        skip_bad: leave bad files out instead of refusing them.

    Raises:
        InvalidInput: the data are not fit.
    """
    source = data if data == "phantom" else str(Path(data).resolve())
    cache = file.parent / f".{file.name}.cache"
    return prepare(DataSpec(source, size, skip_bad=skip_bad), cache, seed=0, progress=progress)


def open_plan(
    file: Path, data: str, progress: Progress, *, skip_bad: bool = False
) -> tuple[Plan, Prepared]:
    """Return the plan of a table and the data that it was made with; see `prepare_beside`.

    Raises:
        InvalidInput: the file is no table, or of other data.
    """
    plan, _ = read_table(file)
    prepared = prepare_beside(file, data, plan.size, progress, skip_bad=skip_bad)
    if prepared.fingerprint != plan.fingerprint:
        raise InvalidInput(
            f"data must be those of {file}, {plan.data!r} with fingerprint {plan.fingerprint}, "
            f"got {prepared.fingerprint}; name its folder, or begin another table"
        )
    return plan, prepared


def train_entry(job: Job, plan: Plan, prepared: Prepared, data: Data) -> Entry:
    """Train one network in this process; a CPU gives one thread to it, as in a search.

    Args:
        job: what to train.
        plan: of the table.
        prepared: the data.
        data: the same, on the device.

    Raises:
        TrainingFailed: a loss is not finite.
    """
    net, origin, point, seed = job
    arch = search_spaces.load(plan.space).arch(point, *plan.channels)
    params, macs = CostTable(plan.size).costs(arch)
    training, losses = _trained(arch, plan, prepared, data, seed)
    assert training.best is not None
    return Entry(
        net=net,
        seed=seed,
        origin=origin,
        key=arch.key,
        point=dict(point),
        params=params,
        macs=macs,
        dice=round(training.best.dice, 5),
        losses=[round(loss, 5) for loss in losses],
        curve=[
            [round(value, 5) for value in (epoch.train_loss, epoch.val_loss, epoch.dice)]
            for epoch in training.curve
        ],
        seconds=round(training.seconds, 1),
    )


def _trained(
    arch: Arch, plan: Plan, prepared: Prepared, data: Data, seed: int
) -> tuple[Training, list[float]]:
    """Return a finished training, and its settled losses at the rungs."""
    losses = []
    with DeviceSlot(data.train.images.device) as slot, cpu_threads(1):
        training = Training(
            arch,
            data,
            prepared,
            find_recipe(plan.recipe[0]),
            epochs=plan.epochs,
            seed=training_seed(seed, arch.key),
            slot=slot,
        )
        while not training.done:
            training.run_epoch()
            if training.epoch in plan.rungs:
                losses.append(training.settled_loss())
    return training, losses
