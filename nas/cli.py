"""Commands: parse, one library call, print. Heavy imports live inside the commands."""

import json
import re
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class Commands(click.Group):
    """A group whose commands end in one line and exit code 2 or 1 where a user or the run fails."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command."""
        from primitives.core.errors import InvalidInput

        try:
            return super().invoke(ctx)
        except InvalidInput as error:
            click.echo(f"Error: {error}", err=True)
            ctx.exit(2)
        except BrokenPipeError:
            ctx.exit(0)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find a command and name the nearest where there is none."""
        if args and args[0] not in self.commands:
            from primitives.core.errors import nearest

            hint = nearest(args[0], self.commands)
            ctx.fail(f"no such command {args[0]!r}{hint}")
        return super().resolve_command(ctx, args)


class Duration(click.ParamType[float]):
    """A time such as 90s, 30m or 2h, in seconds."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return seconds."""
        match = re.fullmatch(r"([\d.]+)([smhd])", str(value))
        if match is None:
            self.fail(f"a time reads 90s, 30m, 2h or 1d, got {value!r}", param, ctx)
        return float(match[1]) * _UNITS[match[2]]


def json_option(command: F) -> F:
    """Add --json to a reading command."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(command)


store_option = click.option(
    "--store", default="nas-store", show_default=True, help="Folder of the store."
)


def echo_json(value: Any) -> None:
    """Print JSON to stdout."""
    click.echo(json.dumps(value, indent=2))


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="nas-unet")
def main() -> None:
    """Search for lightweight U-nets that segment medical images."""


@main.command()
@click.argument("name", required=False)
@click.option("--markdown", is_flag=True, help="Print the tables of the README.")
@json_option
def spaces(name: str | None, markdown: bool, as_json: bool) -> None:
    """List the search spaces, or the dimensions and baselines of one."""
    from nas import render
    from nas import space as load
    from nas import spaces as names

    found = [load(n) for n in ([name] if name else names())]
    if as_json:
        echo_json([render.space_json(space) for space in found])
    elif markdown:
        click.echo(render.spaces_markdown(found))
    elif name:
        render.show(render.dimension_table(found[0]), render.baseline_names(found[0]))
    else:
        render.show(render.space_table(found))


@main.command()
@click.option("--space", "name", help="Only those of this space.")
@json_option
def baselines(name: str | None, as_json: bool) -> None:
    """Compare the published networks as built here with their papers' figures."""
    from nas import render
    from nas import space as load
    from nas import spaces as names

    rows = [row for n in ([name] if name else names()) for row in render.baseline_rows(load(n))]
    if as_json:
        echo_json(rows)
    else:
        render.show(render.baseline_table(rows), *render.baseline_rules(rows))


@main.command()
@click.option("--space", help="A search space; see `nas spaces`.")
@click.option("--objective", help="One to four of dice, iou, params, macs, flops, latency, memory.")
@click.option("--data", help="'phantom' or a folder with images/ and masks/.  [default: phantom]")
@click.option("--constraint", multiple=True, help='E.g. "params<=0.5M"; repeatable; "none" for none.')
@click.option("--trials", type=int, help="Total number of trials of the study.")
@click.option("--epochs", type=int, help="Full budget of a trial.")
@click.option("--time", "seconds", type=Duration(), help="Start nothing after this time, e.g. 2h.")
@click.option("--size", type=int, help="Side of the network's input, pixels.")
@click.option("--fit", type=click.Choice(["resize", "crop"]), help="Resize images, or crop patches.")
@click.option("--invert-masks", is_flag=True, default=None, help="The class of interest is stored as 0.")
@click.option("--skip-bad", is_flag=True, default=None, help="Leave bad files out.")
@click.option("--recipe", help="How candidates are trained: fast or ultralight.")
@click.option("--sampler", help="Who proposes: tpe, nsga2 or random.")
@click.option("--seed", type=int, help="Of everything random.  [default: 0]")
@click.option("--study", help="Name of the study.  [default: SPACE-DATA]")
@click.option("--store", help="Folder of the store.  [default: nas-store]")
@click.option("--workers", type=int, help="Trials in training at once.")
@click.option("--gpus-per-trial", type=float, help="Share of a GPU that each trial gets.")
@click.option("--trial-timeout", type=Duration(), help="A trial that takes longer counts as hung.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda", "mps"]), help="[default: auto]")
@click.option("--no-baselines", is_flag=True, help="Do not start with the published networks.")
@click.option("--file", "file", type=click.Path(path_type=Path), help="A study file; flags win over it.")
@click.option("--dry-run", is_flag=True, help="Print the plan and stop.")
@json_option
def search(
    file: Path | None,
    objective: str | None,
    constraint: tuple[str, ...],
    study: str | None,
    no_baselines: bool,
    dry_run: bool,
    as_json: bool,
    **flags: Any,
) -> None:
    """Search a space and keep the Pareto front. The same command again continues the study."""
    from nas import render
    from nas.plan import make_plan, read_file

    flags |= {
        "objectives": tuple(objective.split(",")) if objective else None,
        "constraints": constraint or None,
        "name": study,
        "baselines": False if no_baselines else None,
    }
    options = read_file(file) if file else {}
    plan = make_plan(options | {key: value for key, value in flags.items() if value is not None})
    render.show(render.plan_table(plan), stderr=True)
    if dry_run:
        echo_json(plan.to_json()) if as_json else None
        return
    _drive(plan, as_json)


def _drive(plan: Any, as_json: bool) -> None:
    from nas import render
    from nas.driver import drive
    from nas.progress import TerminalWatcher

    try:
        with TerminalWatcher() as watcher:
            handle = drive(plan, watcher)
    except KeyboardInterrupt:
        command = shlex.join(["nas", *sys.argv[1:]])
        click.echo(f"stopped; everything is stored. To continue:\n  {command}", err=True)
        sys.exit(1)
    front = handle.front()
    if as_json:
        echo_json([trial.to_json() for trial in front])
    else:
        render.show(render.front_table(front, handle.objectives))
    for line in render.after_search(handle, plan):
        click.echo(line, err=as_json)


@main.command()
@click.argument("study")
@click.option("--under", multiple=True, help="Only trials within a limit, e.g. latency=20ms; repeatable.")
@store_option
@json_option
def front(study: str, under: tuple[str, ...], store: str, as_json: bool) -> None:
    """Print the Pareto front of a study: fully trained trials that no other beats."""
    from nas import open_study, render
    from nas.objectives import parse_limit

    limits = [parse_limit(text, "=") for text in under]
    handle = open_study(store, study)
    trials = handle.front(limits)
    if as_json:
        echo_json([trial.to_json() for trial in trials])
    elif trials:
        render.show(render.front_table(trials, handle.objectives))
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

    opened = Store(Path(store))
    rows = [render.status_row(StudyHandle(opened, name)) for name in study_names(opened)]
    if as_json:
        echo_json(rows)
    else:
        render.show(render.status_table(rows))


@main.command()
@click.argument("study")
@click.option("--trial", type=int, required=True, help="Number of the trial; see `nas front`.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="A new folder.")
@click.option("--format", "formats", default="module,onnx", show_default=True, help="What to write.")
@store_option
@json_option
def export(study: str, trial: int, out: Path, formats: str, store: str, as_json: bool) -> None:
    """Write a trial's network as files that need nothing of this project, and check them."""
    from nas import open_study, render
    from nas.export import ParityError

    try:
        report = open_study(store, study).export(trial, out, formats.split(","))
    except ParityError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(1)
    if as_json:
        echo_json(report.to_json())
    else:
        click.echo(render.export_text(report))


@main.command()
@click.argument("store", default="nas-store")
@click.option("--port", default=8080, show_default=True, help="On 127.0.0.1.")
def dashboard(store: str, port: int) -> None:
    """Serve Optuna Dashboard with the store's fronts, curves, archs and masks."""
    from dashboard.app import serve

    serve(Path(store), port=port)


@main.command()
@click.option("--space", "name", help="Only the baselines of this space.")
@click.option("--size", default=256, show_default=True, help="Side of the input, pixels.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or mps.")
@click.option("--threads", default=1, show_default=True, help="CPU threads.")
@json_option
def bench(name: str | None, size: int, device: str, threads: int, as_json: bool) -> None:
    """Measure parameters, multiply-adds and latency of all baselines on this machine."""
    from nas import render
    from nas.bench import bench_baselines

    rig, rows = bench_baselines(name, size=size, device=device, threads=threads)
    if as_json:
        echo_json({"rig": rig, "baselines": rows})
    else:
        render.show(render.bench_table(rows, size), render.rig_text(rig))


@main.group()
def data() -> None:
    """Look at data sets."""


@data.command()
@click.argument("folder", type=click.Path(path_type=Path))
@json_option
def check(folder: Path, as_json: bool) -> None:
    """Read every image and mask of a folder and name each bad file."""
    from nas.folder import check_folder

    report = check_folder(folder)
    if as_json:
        echo_json(report.to_json())
    else:
        click.echo(str(report))
    sys.exit(2 if report.bad else 0)
