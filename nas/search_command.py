"""The command that searches; its heavy imports live inside."""

import shlex
import sys
from pathlib import Path
from typing import Any

import click

from nas.prompt import FAILED, Duration, device_option, echo_json, json_option


@click.command()
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
    "--recipe",
    help="How to train: fast, fast-ema, brief, fast3d, ultralight.  [default: fast, fast3d]",
)
@click.option(
    "--sampler", help="known-cost, tpe, nsga2, nsga3, gp, random or local.  [default: known-cost]"
)
@click.option("--warm-start", metavar="STUDY|FILE",
              help="Learn from an earlier study of the space, or a file of `nas bench table`.",
)  # fmt: skip
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
    from nas.latency.render import front_notes, front_rows
    from nas.progress import TerminalWatcher
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
