"""The command that compares samplers; its heavy imports live inside."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nas.prompt import device_option, echo_json, json_option

if TYPE_CHECKING:
    from nas.bench.grounds import Ground
    from nas.folder import Progress
    from nas.sampler.history import Results
    from nas.trained_table import Entry, Plan

    Arena = tuple[Iterable[tuple[Ground, Results | None]], Mapping[str, Any]]

_DEFAULT = "known-cost,tpe,nsga2,random"


@click.command("search")
@click.option("--task", type=click.Choice(["synthetic", "tabular", "live"]), default="synthetic",
              show_default=True, help="What is searched.")  # fmt: skip
@click.option("--table", type=click.Path(path_type=Path),
              help="Tabular, live: a file of `nas bench table`; live adds to it.")  # fmt: skip
@click.option("--data", help="Live: the data that the table was made with.")
@click.option("--skip-bad", is_flag=True, help="Live: leave bad files out.")
@click.option("--samplers", default=_DEFAULT, show_default=True, help="Names, by commas.")
@click.option("--seeds", type=click.IntRange(1), default=5, show_default=True, help="How many.")
@click.option("--first-seed", type=click.IntRange(0), default=0, help="Where they begin.")
@click.option("--trials", type=click.IntRange(1), default=200, show_default=True,
              help="Trainings of each run.")  # fmt: skip
@click.option("--noise", type=float, help="Synthetic: SD of a training's Dice.  [default: 0.006]")
@click.option("--tight", is_flag=True, help="Limit parameters to the space's 5th percentile.")
@click.option("--earlier", type=click.IntRange(0), default=0, show_default=True,
              help="Synthetic: trainings on a relative, which warm-start knows.")  # fmt: skip
@click.option("--earlier-table", type=click.Path(path_type=Path),
              help="Tabular, live: a table of other data, which warm-start knows.")  # fmt: skip
@click.option("--keep", type=click.Path(path_type=Path),
              help="Synthetic, tabular: file of runs, which are not repeated.")  # fmt: skip
@click.option("--figure", type=click.Path(path_type=Path), help="Also draw it: .html, .png, .svg.")
@json_option
def bench_search(
    task: str,
    table: Path | None,
    data: str | None,
    skip_bad: bool,
    samplers: str,
    seeds: int,
    first_seed: int,
    trials: int,
    noise: float | None,
    tight: bool,
    earlier: int,
    earlier_table: Path | None,
    keep: Path | None,
    figure: Path | None,
    as_json: bool,
) -> None:
    """Compare samplers on problems whose truth is known, without training; or with it.

    Tasks: "synthetic" is a formula, "tabular" predicts what networks would do from a table of real
    trainings, "live" trains them. Samplers are those of `nas search`; known-cost with rungs
    (known-cost+model, known-cost+mo-asha) or without a part (random-start, costs-unknown,
    costs-no-inputs, no-baselines); stratified, nsga2-50, warm-start; ray-asha, the stack of Ray,
    OptunaSearch and ASHA; qlognehvi, syne-morea and primo, where BoTorch, Syne Tune or NePS is
    installed.

    Prints the median share of the best known hypervolume over trainings, and after how many of its
    own trainings known-cost has what each other sampler ends with.
    """
    from nas.bench.kept_runs import KeptRuns
    from nas.bench.search import bench_samplers, check_methods
    from nas.progress import TerminalWatcher
    from nas.task import TrainingFailed

    names, span = samplers.split(","), range(first_seed, first_seed + seeds)
    check_methods(names)
    _check(task, table, data, skip_bad, noise, earlier, earlier_table, tight, keep)
    with TerminalWatcher() as watcher:
        try:
            if task == "synthetic":
                grounds, facts = _synthetic(span, 0.006 if noise is None else noise, tight, earlier)
            elif task == "tabular":
                grounds, facts = _tabular(Path(str(table)), span, tight, earlier_table)
            else:
                options = skip_bad, earlier_table, watcher.preparing
                grounds, facts = _live(Path(str(table)), str(data), span, *options)
            facts = {**facts, "trials": trials}
            kept = KeptRuns(keep, facts) if keep else None
            found = bench_samplers(
                names, span, trials, grounds, facts, keep=kept, progress=watcher.preparing
            )
        except TrainingFailed as error:
            raise click.ClickException(f"{error}; other --seeds train other networks") from None
    if as_json:
        echo_json(found)
    _show(found, figure, tables=not as_json)


def _synthetic(seeds: range, noise: float, tight: bool, earlier: int) -> "Arena":
    from nas.bench.search import synthetic_grounds

    facts = {"name": "synthetic", "noise": noise, "tight": tight}
    grounds = synthetic_grounds(seeds, noise=noise, tight=tight, earlier=earlier)
    return grounds, facts | ({"earlier": earlier} if earlier else {})


def _check(
    task: str,
    table: Path | None,
    data: str | None,
    skip_bad: bool,
    noise: float | None,
    earlier: int,
    earlier_table: Path | None,
    tight: bool,
    keep: Path | None,
) -> None:
    """Check that options belong to the task."""
    if task == "synthetic" and (table or data or earlier_table):
        raise click.UsageError(
            "--table, --data and --earlier-table belong to --task tabular and live"
        )
    if task != "synthetic" and (table is None or noise is not None or earlier):
        raise click.UsageError(f"--task {task} needs --table, and has no --noise or --earlier")
    if (task == "live") != (data is not None) or (task == "live" and tight):
        raise click.UsageError("--data belongs to --task live, which needs it and has no --tight")
    if skip_bad and task != "live":
        raise click.UsageError("--skip-bad belongs to --task live")
    if keep and task == "live":
        raise click.UsageError(
            "--keep belongs to other tasks; --task live keeps all in its --table"
        )


def _tabular(file: Path, seeds: range, tight: bool, earlier: Path | None) -> "Arena":
    from dataclasses import asdict

    from nas.bench.table_world import PredictedWorld
    from nas.bench.tabular import tabular_grounds
    from nas.trained_table import read_table

    plan, entries = read_table(file)
    world = PredictedWorld(plan, entries)
    facts = {"name": "tabular", "table": file.name, "trainings": len(entries), "tight": tight}
    limit = world.tight() if tight else float(plan.most_params)
    grounds = tabular_grounds(world, seeds, limit, _earlier(earlier, plan))
    return grounds, {**facts, **_named(earlier), "quality": asdict(world.quality())}


def _named(earlier: Path | None) -> Mapping[str, str]:
    return {"earlier": earlier.name} if earlier else {}


def _earlier(file: Path | None, plan: "Plan") -> Sequence["Entry"]:
    """Return the trainings of another table of the space, none where there is no other table."""
    from nas.trained_table import read_table

    if file is None:
        return ()
    earlier, entries = read_table(file)
    if earlier.space != plan.space or earlier.fingerprint == plan.fingerprint:
        raise click.UsageError(
            f"--earlier-table must be of space {plan.space!r} and of other data than "
            f"{plan.data!r}, {file} is of {earlier.space!r} and {earlier.data!r}"
        )
    return entries


def _live(
    file: Path,
    data: str,
    seeds: range,
    skip_bad: bool,
    earlier: Path | None,
    progress: "Progress",
) -> "Arena":
    import torch

    from nas.bench.live_world import LiveWorld
    from nas.bench.table_training import open_plan
    from nas.bench.tabular import tabular_grounds
    from nas.plan import find_device

    plan, prepared = open_plan(file, data, progress, skip_bad=skip_bad)
    device = torch.device(find_device("auto"))
    world = LiveWorld(file, plan, prepared, device, progress)
    facts: dict[str, Any] = {"name": "live", "table": file.name, "data": plan.data}
    facts |= {"tight": False, **_named(earlier)}
    limit = float(plan.most_params)
    return tabular_grounds(world, seeds, limit, _earlier(earlier, plan)), facts


@click.command("studies")
@click.argument("stores", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--table", required=True, type=click.Path(path_type=Path),
              help="A file of `nas bench table`, of the same plan; adds to it.")  # fmt: skip
@click.option("--figure", type=click.Path(path_type=Path), help="Also draw it: .html, .png, .svg.")
@device_option
@json_option
def bench_studies(
    stores: tuple[Path, ...], table: Path, figure: Path | None, device: str | None, as_json: bool
) -> None:
    """Compare all studies of STORES, made by `nas search`, by trainings that they never saw.

    Give each study a store of its own, so that none has what another one trained. Studies of equal
    sampler, --fidelity, --inherit and --baselines are one method; its median over seeds is shown.
    """
    import torch

    from nas.bench.studies import judge_studies
    from nas.handle import open_study, study_names
    from nas.plan import find_device
    from nas.progress import TerminalWatcher
    from nas.store import Store
    from nas.task import TrainingFailed

    names = [(store, name) for store in stores for name in study_names(Store(store))]
    handles = [open_study(store, name) for store, name in names]
    where = torch.device(find_device(device or "auto"))
    with TerminalWatcher() as watcher:
        try:
            found = judge_studies(handles, table, where, watcher.preparing)
        except TrainingFailed as error:
            raise click.ClickException(f"{error}; leave its study out") from None
    if as_json:
        echo_json(found)
    _show(found, figure, tables=not as_json)


@click.command("report")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--figure", type=click.Path(path_type=Path), help="Also draw it: .html, .png, .svg.")
def bench_report(file: Path, figure: Path | None) -> None:
    """Print the tables of what `nas bench search --json` found and kept in FILE."""
    from nas.bench.report import read_found

    _show(read_found(file), figure, tables=True)


def _show(found: Mapping[str, Any], figure: Path | None, *, tables: bool) -> None:
    from nas.bench.report import search_tables
    from nas.tables import print_tables

    if tables:
        print_tables(*search_tables(found))
    if figure:
        from dashboard.shares import shares_figure, write_figure

        write_figure(shares_figure(found), figure)
