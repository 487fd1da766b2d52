"""The command that measures this machine; its heavy imports live inside."""

import click
from click.core import ParameterSource

from nas.prompt import device_option, echo_json, json_option

_OPTIONS = {  # of one subject alone
    "baselines": ("space", "size", "device", "threads"),
    "blocks": ("block", "repeats"),
}


@click.command()
@click.argument("what", type=click.Choice(list(_OPTIONS)), default="baselines")
@click.option("--space", help="Only the baselines of this space.")
@click.option("--size", default=256, show_default=True, help="Side of the input, pixels.")
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True, help="On a CPU.")
@device_option
@click.option("--block", multiple=True, help="Only this block or part of blocks; repeatable.")
@click.option(
    "--repeats", type=click.IntRange(2), default=20, show_default=True, help="Rounds of each block."
)
@json_option
@click.pass_context
def bench(
    context: click.Context,
    what: str,
    space: str | None,
    size: int,
    device: str | None,
    threads: int,
    block: tuple[str, ...],
    repeats: int,
    as_json: bool,
) -> None:
    """Measure costs and latency of all 2D baselines, or the time of blocks, on this machine.

    `nas bench blocks` times every block, forward and backward, on one CPU thread, and parts of
    them against the obvious other form; --block and --repeats are for it, the other options for
    baselines.
    """
    for subject, names in _OPTIONS.items():
        for name in names:
            given = context.get_parameter_source(name) is ParameterSource.COMMANDLINE
            if given and subject != what:
                raise click.UsageError(f"--{name} is for `nas bench {subject}`", context)
    if what == "blocks":
        _bench_blocks(block, repeats, as_json)
    else:
        _bench_baselines(space, size, device or "auto", threads, as_json)


def _bench_baselines(
    space: str | None, size: int, device: str, threads: int, as_json: bool
) -> None:
    import search_spaces
    from nas import catalog
    from nas.bench import bench_baselines
    from nas.progress import TerminalWatcher
    from nas.tables import print_tables

    spaces = [search_spaces.load(name) for name in ([space] if space else search_spaces.names())]
    with TerminalWatcher() as watcher:
        rig, rows = bench_baselines(spaces, size, device, threads, watcher.preparing)
    if as_json:
        echo_json({"rig": rig, "baselines": rows})
    else:
        print_tables(catalog.bench_table(rows, size), catalog.rig_text(rig))


def _bench_blocks(names: tuple[str, ...], repeats: int, as_json: bool) -> None:
    from nas import catalog
    from nas.bench_blocks import bench_blocks, block_table
    from nas.progress import TerminalWatcher
    from nas.tables import print_tables

    with TerminalWatcher() as watcher:
        rig, rows = bench_blocks(names, repeats, watcher.preparing)
    if as_json:
        echo_json({"rig": rig, "blocks": rows})
    else:
        print_tables(block_table(rows), catalog.rig_text(rig))
