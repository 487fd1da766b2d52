"""The command that measures this machine; its heavy imports live inside."""

from pathlib import Path

import click
from click.core import ParameterSource

from nas.bench.search_command import bench_report, bench_search, bench_studies
from nas.prompt import device_option, echo_json, json_option


@click.group(invoke_without_command=True, commands=[bench_search, bench_report, bench_studies])
@click.option("--space", help="Only the baselines of this space.")
@click.option("--size", default=256, show_default=True, help="Side of the input, pixels.")
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True, help="On a CPU.")
@device_option
@json_option
@click.pass_context
def bench(
    context: click.Context,
    space: str | None,
    size: int,
    device: str | None,
    threads: int,
    as_json: bool,
) -> None:
    """Measure costs and latency of all 2D baselines on this machine."""
    if context.invoked_subcommand is None:
        _bench_baselines(space, size, device or "auto", threads, as_json)
        return
    for parameter in context.command.params:
        if context.get_parameter_source(str(parameter.name)) is ParameterSource.COMMANDLINE:
            raise click.UsageError(
                f"{parameter.opts[0]} belongs to `nas bench` or behind its command", context
            )


@bench.command()
@click.option("--block", multiple=True, help="Only this block or part of blocks; repeatable.")
@click.option(
    "--repeats", type=click.IntRange(2), default=20, show_default=True, help="Rounds of each block."
)
@json_option
def blocks(block: tuple[str, ...], repeats: int, as_json: bool) -> None:
    """Time every block, forward and backward, and parts of them against the obvious other form.

    On one CPU thread; all forms of a part take turns.
    """
    from nas import catalog
    from nas.bench.blocks import bench_blocks, block_table
    from nas.progress import TerminalWatcher
    from nas.tables import print_tables

    with TerminalWatcher() as watcher:
        rig, rows = bench_blocks(block, repeats, watcher.preparing)
    if as_json:
        echo_json({"rig": rig, "blocks": rows})
    else:
        print_tables(block_table(rows), catalog.rig_text(rig))


@bench.command()
@click.option("--size", default=64, show_default=True, help="Side of the input, pixels.")
@click.option("--epochs", type=click.IntRange(2), default=24, show_default=True,
              help="Of the full plan.")  # fmt: skip
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of trainings.")
@click.option("--folder", type=click.Path(path_type=Path), required=True,
              help="For trainings; the same again goes on.")  # fmt: skip
@json_option
def inherit(size: int, epochs: int, seed: int, folder: Path, as_json: bool) -> None:
    """Train five children of one network, from scratch and with its weights, on embedded images."""
    from dataclasses import asdict

    from nas.bench.inheritance import bench_inherit, inherit_table
    from nas.progress import TerminalWatcher
    from nas.tables import print_tables
    from nas.task import TrainingFailed

    with TerminalWatcher() as watcher:
        try:
            parent, rows = bench_inherit(folder, size, epochs, seed, watcher.preparing)
        except TrainingFailed as error:
            raise click.ClickException(f"{error}; take another --seed and --folder") from None
    if as_json:
        echo_json({"parent": parent, "children": [asdict(row) for row in rows]})
    else:
        print_tables(inherit_table(parent, rows, epochs))


@bench.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--space", default="ultralight", show_default=True, help="A search space.")
@click.option("--data", required=True, help="'phantom' or a folder with images/ and masks/.")
@click.option("--size", default=64, show_default=True, help="Side of the input, pixels.")
@click.option(
    "--most-params",
    type=click.IntRange(5_001),
    default=500_000,
    show_default=True,
    help="Of a network.",
)
@click.option("--most-macs", type=click.IntRange(1), show_default="no limit",
              help="Of a network, for one image.")  # fmt: skip
@click.option("--skip-bad", is_flag=True, help="Leave bad files out.")
@click.option("--epochs", type=click.IntRange(9), default=9, show_default=True,
              help="Of a training; a multiple of 9.")  # fmt: skip
@click.option("--nets", type=click.IntRange(1), default=300, show_default=True, help="In the end.")
@click.option("--seeds", type=click.IntRange(1), default=2, show_default=True,
              help="Trainings of each.")  # fmt: skip
@click.option("--workers", type=click.IntRange(1), default=1, show_default=True,
              help="Trainings at once.")  # fmt: skip
@device_option
def table(
    file: Path,
    space: str,
    data: str,
    size: int,
    most_params: int,
    most_macs: int | None,
    skip_bad: bool,
    epochs: int,
    nets: int,
    seeds: int,
    workers: int,
    device: str | None,
) -> None:
    """Train many networks alike into FILE, which `nas bench search --task tabular` replays.

    The same command again goes on where it was interrupted; larger --nets or --seeds extend FILE.
    """
    import torch

    import search_spaces
    from nas.bench.table import build_table
    from nas.bench.table_training import make_plan, prepare_beside
    from nas.plan import find_device
    from nas.progress import TerminalWatcher

    where = torch.device(find_device(device or "auto"))
    with TerminalWatcher() as watcher:
        prepared = prepare_beside(file, data, size, watcher.preparing, skip_bad=skip_bad)
        name = Path(data).resolve().name
        plan = make_plan(search_spaces.load(space), name, prepared, most_params, epochs, most_macs)
        entries = build_table(
            file,
            plan,
            prepared,
            nets=nets,
            seeds=seeds,
            device=where,
            workers=workers,
            progress=watcher.preparing,
            failed=lambda why: click.echo(f"left out: {why}", err=True),
        )
    click.echo(f"{file}: {len({e.net for e in entries})} networks, {len(entries)} trainings")


@bench.command()
@click.argument("table", type=click.Path(path_type=Path))
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True, help="On a CPU.")
@device_option
@json_option
def times(table: Path, file: Path, threads: int, device: str | None, as_json: bool) -> None:
    """Time every network of TABLE, a file of `nas bench table`, on this machine, into FILE.

    The same command again goes on where it was interrupted.
    """
    import torch

    from nas.bench.table_times import summary, time_table
    from nas.plan import find_device
    from nas.progress import TerminalWatcher

    where = torch.device(find_device(device or "auto"))
    with TerminalWatcher() as watcher:
        found = summary(time_table(table, file, where, threads, watcher.preparing))
    if as_json:
        echo_json(found)
        return
    click.echo(
        f"{file}: {found['networks']} networks, {found['least_ms']:.3g} to {found['most_ms']:.3g} "
        f"ms, median {found['median_ms']:.3g} ms; Spearman with parameters "
        f"{found['spearman_params']:.2f}, with multiply-adds {found['spearman_macs']:.2f}"
    )


def _bench_baselines(
    space: str | None, size: int, device: str, threads: int, as_json: bool
) -> None:
    import search_spaces
    from nas import catalog
    from nas.bench.baselines import bench_baselines
    from nas.progress import TerminalWatcher
    from nas.tables import print_tables

    spaces = [search_spaces.load(name) for name in ([space] if space else search_spaces.names())]
    with TerminalWatcher() as watcher:
        rig, rows = bench_baselines(spaces, size, device, threads, watcher.preparing)
    if as_json:
        echo_json({"rig": rig, "baselines": rows})
    else:
        print_tables(catalog.bench_table(rows, size), catalog.rig_text(rig))
