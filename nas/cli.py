"""Commands: parse, one library call, print. Heavy imports live inside the commands."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from nas.bench.command import bench
from nas.latency.command import latency
from nas.prompt import (
    MISUSED,
    Commands,
    echo_json,
    json_option,
    store_option,
)
from nas.search_command import search

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
@click.argument("study")
@click.option("--under", multiple=True, help="Only within a limit, e.g. latency=20ms; repeatable.")
@store_option
@json_option
def front(study: str, under: tuple[str, ...], store: str, as_json: bool) -> None:
    """Print the Pareto front: fully trained trials that no other beats."""
    from nas import open_study, render
    from nas.latency.render import front_notes, front_rows
    from nas.objectives import parse_limit
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


main.add_command(search)
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
