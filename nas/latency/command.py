"""The commands that learn how fast a device is; their heavy imports live inside."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nas.prompt import F, device_option, echo_json, json_option

if TYPE_CHECKING:
    from nas.latency.calibration import Calibration
    from search_spaces.core.space import Space

_SIZE = 256  # pixels
_SPACE = "Only networks of this space; repeatable.  [default: all of images]"


def _rig_options(command: F) -> F:
    """Add what a recording is made of."""
    probes = click.Path(path_type=Path)
    for option in (
        click.option("--space", "spaces", multiple=True, help=_SPACE),
        click.option(
            "--size",
            type=int,
            help=f"Side of the input, pixels.  [default: {_SIZE}, or the probes']",
        ),
        click.option(
            "--threads", type=click.IntRange(1), default=1, show_default=True, help="On a CPU."
        ),
        click.option(
            "--runtime",
            type=click.Choice(["torch", "onnxruntime"]),
            default="torch",
            show_default=True,
            help="What runs the networks.",
        ),
        click.option("--probes", type=probes, help="Folder of `nas latency probes`."),
    ):
        command = option(command)
    return device_option(json_option(command))


@click.group()
def latency() -> None:
    """Learn how fast a device is, so that a search can predict latency."""


@latency.command()
@click.option("--store", default="nas-store", show_default=True, help="Folder of the store.")
@_rig_options
def calibrate(store: str, as_json: bool, **options: Any) -> None:
    """Time networks on this machine; later searches of the store predict latency from them.

    Prints what predictions are worth on random networks that were not fitted.
    """
    from nas.store import Store, check_folder

    if not (Path(store) / "nas.db").exists():
        check_folder(Path(store))  # before minutes are spent
    found = _record(**options)
    opened = Store(Path(store), create=True)
    path = found.keep(opened.folder)
    opened.add_rig(found.rig, found.model.rig)
    _tell(found, path, as_json)


@latency.command()
@click.option("--out", type=click.Path(path_type=Path), required=True, help="File to write.")
@_rig_options
def record(out: Path, as_json: bool, **options: Any) -> None:
    """Time networks on this machine into a file for `nas search --latency-from` elsewhere.

    Needs torch or ONNX Runtime, no search and no store.
    """
    _check_out(out)
    found = _record(**options)
    found.write(out)
    _tell(found, out, as_json)


@latency.command()
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder to write.")
@click.option("--space", "spaces", multiple=True, help=_SPACE)
@click.option("--size", default=_SIZE, show_default=True, help="Side of the input, pixels.")
def probes(out: Path, spaces: tuple[str, ...], size: int) -> None:
    """Export networks, and a script that times them where there is ONNX Runtime alone."""
    from nas.latency.onnx_probes import export_probes
    from nas.latency.record import choose_probes
    from nas.progress import TerminalWatcher

    with TerminalWatcher() as watcher:
        export_probes(choose_probes(_spaces(spaces, size)), size, out, watcher.preparing)
    click.echo(f"on the device: python {out.name}/on_device.py OUT.json --threads 1")


def _record(
    spaces: tuple[str, ...],
    size: int | None,
    threads: int,
    runtime: str,
    probes: Path | None,
    device: str | None,
) -> "Calibration":
    """Time networks and fit a model.

    Raises:
        InvalidInput: an option does not fit another.
    """
    import tempfile

    import torch

    from nas.latency.calibration import Calibration
    from nas.latency.onnx_probes import export_probes, record_onnx
    from nas.latency.record import choose_probes, record_torch
    from nas.plan import find_device
    from nas.progress import TerminalWatcher
    from primitives.core.errors import InvalidInput

    onnx = runtime == "onnxruntime"
    where = find_device(device or ("cpu" if onnx else "auto"))
    if onnx and where != "cpu":
        raise InvalidInput(f"runtime onnxruntime needs device cpu, got {where!r}")
    if probes and not onnx:
        raise InvalidInput("probes are for runtime onnxruntime; add --runtime onnxruntime")
    if probes and spaces:
        raise InvalidInput("spaces are those of the probes; leave --space out")
    side = _SIZE if size is None else size
    chosen = _spaces(spaces, side)
    with TerminalWatcher() as watcher, tempfile.TemporaryDirectory() as temporary:
        tell = watcher.preparing
        if onnx:
            if probes is None:
                probes = Path(temporary)
                export_probes(choose_probes(chosen), side, probes, tell)
            recording = record_onnx(probes, size, threads=threads, progress=tell)
        else:
            device_ = torch.device(where)
            wanted = choose_probes(chosen)
            recording = record_torch(wanted, side, device=device_, threads=threads, progress=tell)
        return Calibration.of(recording)


def _check_out(out: Path) -> None:
    """Check before minutes are spent.

    Raises:
        InvalidInput: the file's folder is missing.
    """
    from primitives.core.errors import InvalidInput

    if not out.absolute().parent.is_dir():
        raise InvalidInput(f"out must lie in a folder that exists, got {str(out)!r}")


def _spaces(names: tuple[str, ...], size: int) -> list["Space"]:
    """Return the spaces of these names, or all for images that a search trains.

    Raises:
        InvalidInput: a name is unknown, or its space is for volumes or not for this size.
    """
    import search_spaces
    from nas.fitting import check_size
    from primitives.core.errors import InvalidInput

    found = [search_spaces.load(name) for name in dict.fromkeys(names or search_spaces.names())]
    for space in found:
        if names and space.ndim != 2:
            raise InvalidInput(
                f"latency is predicted for images, space {space.name!r} is for volumes"
            )
    chosen = [s for s in found if s.ndim == 2 and (names or s.task == "segmentation")]
    for space in chosen:
        check_size(size, space)
    return chosen


def _tell(found: "Calibration", path: Path, as_json: bool) -> None:
    from nas.latency.render import accuracy_table, calibration_json, calibration_lines
    from nas.tables import print_tables

    if as_json:
        echo_json(calibration_json(found, path))
    else:
        print_tables(accuracy_table(found), *calibration_lines(found, path))
