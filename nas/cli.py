"""Commands: parse, one library call, print. Heavy imports live inside the commands."""

import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nas.bench_command import bench
from nas.latency_command import latency
from nas.prompt import (
    FAILED,
    MISUSED,
    Commands,
    Duration,
    device_option,
    echo_json,
    json_option,
    store_option,
)

if TYPE_CHECKING:
    from search_spaces.core.space import Space


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="nas-unet")
def main() -> None:
    """Search for lightweight U-nets that segment medical images."""
    # Matrices here are small; beside other work several threads wait for each other, 5 x as long.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


@main.command()
@click.argument("name", required=False)
@click.option("--markdown", is_flag=True, help="Print the tables of the README: spaces, blocks.")
@json_option
def spaces(name: str | None, markdown: bool, as_json: bool) -> None:
    """List the search spaces, or the dimensions and baselines of one."""
    from nas import catalog
    from nas.tables import print_tables

    found = _spaces(name)
    if as_json:
        echo_json([catalog.space_json(space) for space in found])
    elif markdown:
        click.echo(catalog.readme_tables(found))
    elif name:
        print_tables(catalog.dimension_table(found[0]), catalog.baseline_names(found[0]))
    else:
        print_tables(catalog.space_table(found))


@main.command()
@click.option("--space", "name", help="Only those of this space.")
@json_option
def baselines(name: str | None, as_json: bool) -> None:
    """Compare the published networks with their papers' figures."""
    from nas import catalog
    from nas.tables import print_tables

    homes = [space for space in _spaces(name) if name or not space.homes]
    rows = [row for space in homes for row in catalog.baseline_rows(space)]
    if as_json:
        echo_json(rows)
    else:
        print_tables(catalog.baseline_table(rows), catalog.baseline_rules(rows))


@main.command()
@click.option("--space", help="A search space; see `nas spaces`.")
@click.option("--objective", help="One to four of dice, iou, params, macs, flops, latency, memory.")
@click.option("--data", help="'phantom' or a folder with images/ and masks/.  [default: phantom]")
@click.option("--constraint", multiple=True, help='E.g. "params<=0.5M"; repeatable; or "none".')
@click.option("--trials", type=int, help="Total number of trials of the study.")
@click.option("--epochs", type=int, help="Full budget of a trial.")
@click.option("--time", "seconds", type=Duration(), help="Stop after this time, e.g. 2h.")
@click.option("--size", type=int, help="Side of the network's input, pixels or voxels.")
@click.option("--fit", type=click.Choice(["resize", "crop"]), help="Resize images or crop patches.")
@click.option("--invert-masks", is_flag=True, default=None, help="The class of interest is 0.")
@click.option("--skip-bad", is_flag=True, default=None, help="Leave bad files out.")
@click.option(
    "--recipe", help="How to train: fast, fast-ema, fast3d, ultralight.  [default: fast, fast3d]"
)
@click.option(
    "--sampler", help="known-cost, tpe, nsga2, nsga3, gp, random or local.  [default: known-cost]"
)
@click.option("--warm-start", metavar="STUDY", help="An earlier study of the space to learn from.")
@click.option("--fidelity", help="Stop weak trials early: none, mo-asha or model.  [default: none]")
@click.option("--runtime", "latency_runtime", type=click.Choice(["torch", "onnxruntime"]),
              help="What runs the networks that are timed.  [default: torch]",
)  # fmt: skip
@click.option("--latency-from", help="A file of `nas latency record`: predict that device's times.")
@click.option("--inherit", type=click.Choice(["on", "off"]),
              help="Begin with the nearest network's weights, a third as long.  [default: off]",
)  # fmt: skip
@click.option("--seed", type=int, help="Of everything random.  [default: 0]")
@click.option("--study", help="Name of the study.  [default: SPACE-DATA]")
@click.option("--store", help="Folder of the store.  [default: nas-store]")
@click.option("--workers", type=int, help="Trials in training at once.")
@click.option("--gpus-per-trial", type=float, help="Share of a GPU that each trial gets.")
@click.option("--trial-timeout", type=Duration(), help="A trial that takes longer counts as hung.")
@device_option
@click.option("--no-baselines", is_flag=True, help="Do not start with the published networks.")
@click.option("--file", type=click.Path(path_type=Path), help="A study file; flags win over it.")
@click.option("--dry-run", is_flag=True, help="Print the plan and stop.")
@json_option
def search(
    file: Path | None,
    objective: str | None,
    constraint: tuple[str, ...],
    study: str | None,
    no_baselines: bool,
    inherit: str | None,
    dry_run: bool,
    as_json: bool,
    **flags: Any,
) -> None:
    """Search a space and keep the Pareto front.

    What is not given is chosen for the device and printed. The same command again continues the
    study; --trials is its total.
    """
    from nas import render
    from nas.plan import make_plan, read_file
    from nas.tables import print_tables

    flags |= {
        "objectives": tuple(objective.split(",")) if objective is not None else None,
        "constraints": constraint or None,
        "name": study,
        "baselines": False if no_baselines else None,
        "inherit": inherit == "on" if inherit else None,
    }
    options = read_file(file) if file else {}
    options |= {key: value for key, value in flags.items() if value is not None}
    plan = make_plan(options)
    if dry_run and as_json:
        echo_json(plan.to_json())
        return
    print_tables(render.plan_table(plan), stderr=not dry_run)
    if not dry_run:
        _drive(plan, as_json)


def _drive(plan: Any, as_json: bool) -> None:
    from nas import render
    from nas.driver import drive
    from nas.progress import TerminalWatcher
    from nas.render_latency import front_notes, front_rows
    from nas.tables import print_tables

    try:
        with TerminalWatcher() as watcher:
            handle = drive(plan, watcher)
    except KeyboardInterrupt:
        command = shlex.join(["nas", *sys.argv[1:]])
        click.echo(f"stopped; everything is stored. To continue:\n  {command}", err=True)
        sys.exit(FAILED)
    found = handle.front()
    if as_json:
        echo_json(front_rows(handle, found))
    elif found:
        print_tables(render.front_table(found, handle.objectives), *front_notes(handle, found))
    for line in render.after_search(handle, plan):
        click.echo(line, err=as_json)


@main.command()
@click.argument("study")
@click.option("--under", multiple=True, help="Only within a limit, e.g. latency=20ms; repeatable.")
@store_option
@json_option
def front(study: str, under: tuple[str, ...], store: str, as_json: bool) -> None:
    """Print the Pareto front: fully trained trials that no other beats."""
    from nas import open_study, render
    from nas.objectives import parse_limit
    from nas.render_latency import front_notes, front_rows
    from nas.tables import print_tables

    limits = [parse_limit(text, "=") for text in under]
    handle = open_study(store, study)
    trials = handle.front(limits)
    if as_json:
        echo_json(front_rows(handle, trials))
    elif trials:
        print_tables(render.front_table(trials, handle.objectives), *front_notes(handle, trials))
    else:
        click.echo("no fully trained trial meets that yet", err=True)


@main.command()
@click.argument("study")
@click.argument("trial", type=int)
@store_option
@json_option
def show(study: str, trial: int, store: str, as_json: bool) -> None:
    """Print one trial: its arch, costs, scores and learning curve."""
    from nas import open_study, render

    handle = open_study(store, study)
    found = handle.trial(trial)
    curve = handle.store.epochs(study, trial)
    if as_json:
        arch = found.arch.to_json() if found.arch else None
        echo_json({**found.to_json(), "arch": arch, "curve": curve})
    else:
        click.echo(render.trial_text(found, curve))


@main.command()
@click.argument("store", default="nas-store")
@json_option
def status(store: str, as_json: bool) -> None:
    """Count the trials of every study of a store by state."""
    from nas import render
    from nas.handle import StudyHandle, study_names
    from nas.store import Store
    from nas.tables import print_tables

    opened = Store(Path(store))
    rows = [render.status_row(StudyHandle(opened, name)) for name in study_names(opened)]
    if as_json:
        echo_json(rows)
    else:
        print_tables(render.status_table(rows))


@main.command()
@click.argument("study")
@click.option("--trial", type=int, required=True, help="Number of the trial; see `nas front`.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="A new folder.")
@click.option(
    "--format", "formats", default="module,onnx", show_default=True, help="What to write."
)
@store_option
@json_option
def export(study: str, trial: int, out: Path, formats: str, store: str, as_json: bool) -> None:
    """Write a trial's network as files that need nothing of this project, and check them."""
    from nas import open_study
    from nas.export import ParityError

    try:
        report = open_study(store, study).export(trial, out, formats.split(","))
    except ParityError as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        echo_json(report.to_json())
    else:
        click.echo(str(report))


@main.command()
@click.argument("store", default="nas-store")
@click.option("--port", default=8080, show_default=True, help="On 127.0.0.1; 0: any free one.")
@click.option("--open", is_flag=True, help="Show it in the browser.")
def dashboard(store: str, port: int, open: bool) -> None:
    """Serve Optuna Dashboard with the store's fronts, curves, archs and masks."""
    from dashboard.app import serve

    serve(Path(store), port=port, open=open)


main.add_command(bench)
main.add_command(latency)


@main.group()
def data() -> None:
    """Look at data sets."""


@data.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--invert-masks", is_flag=True, help="The class of interest is stored as 0.")
@json_option
def check(folder: Path, invert_masks: bool, as_json: bool) -> None:
    """Read every image or volume and mask of a folder and name each bad file.

    The exit code is 2 if there are any.
    """
    from nas.folder import check_folder
    from nas.progress import TerminalWatcher

    with TerminalWatcher() as watcher:
        report = check_folder(folder, invert=invert_masks, progress=watcher.preparing)
    if as_json:
        echo_json(report.to_json())
    else:
        click.echo(str(report))
    sys.exit(MISUSED if report.bad else 0)


def _spaces(name: str | None) -> list["Space"]:
    """Return the space of that name, or all."""
    import search_spaces

    return [search_spaces.load(n) for n in ([name] if name else search_spaces.names())]
