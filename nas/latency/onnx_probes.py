"""Probe networks as files: exported once, timed with ONNX Runtime here or on another device.

KEY_SIZE.onnx    one file per network          probes.json    what they are
on_device.py     times them where there is neither torch nor this project
"""

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from concurrent.futures import as_completed
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from nas.latency import on_device
from nas.latency.record import Recording, Wanted
from nas.onnx_file import write_onnx
from nas.processes import process_pool
from nas.slot import DeviceSlot
from nas.splits import some
from primitives.core.errors import InvalidInput
from search_spaces.core.arch import Arch
from search_spaces.core.network import build

if TYPE_CHECKING:
    from nas.folder import Progress

_HALF = ".part"  # in place of ".onnx" while a file is written
_WORKERS = 8  # at most, of 0.7 GB each


def export_probes(wanted: Sequence[Wanted], size: int, folder: Path, progress: "Progress") -> None:
    """Write networks with fresh weights; what is there already from an earlier call is kept.

    Args:
        wanted: networks.
        size: side of the input, pixels.
        folder: new, or of an earlier call.
        progress: called after each network.

    Raises:
        InvalidInput: the folder holds other things.
    """
    script = Path(on_device.__file__)
    files = {on_device.probe_file(one.arch.key, size): one.arch for one in wanted}
    halves = {str(Path(name).with_suffix(_HALF)) for name in files}  # of a call that was killed
    names = {*files, *halves, script.name, "probes.json"}
    if folder.exists() and (not folder.is_dir() or {f.name for f in folder.iterdir()} - names):
        raise InvalidInput(f"probes need a new folder or their own, got {folder}; name another")
    folder.mkdir(parents=True, exist_ok=True)
    missing = {name: arch for name, arch in files.items() if not (folder / name).exists()}
    if missing:
        _export(missing, size, folder, len(files), progress)
    shutil.copy(script, folder / script.name)
    probes = [
        {"key": w.arch.key, "space": w.space, "fitted": w.fitted, "arch": w.arch.to_json()}
        for w in wanted
    ]
    (folder / "probes.json").write_text(json.dumps({"size": size, "probes": probes}))


def _export(
    missing: Mapping[str, Arch], size: int, folder: Path, total: int, progress: "Progress"
) -> None:
    """Write files by several processes, since one file takes seconds."""
    workers = min(len(missing), os.cpu_count() or 1, _WORKERS)
    with process_pool(workers, torch.set_num_threads, 1) as pool:
        jobs = [pool.submit(_write, arch, size, folder / name) for name, arch in missing.items()]
        try:
            for done, job in enumerate(as_completed(jobs), total - len(missing) + 1):
                job.result()
                progress("exporting", done, total)
        finally:
            pool.shutdown(cancel_futures=True)


def _write(arch: Arch, size: int, path: Path) -> None:
    half = path.with_suffix(_HALF)
    shape = (1, arch.in_channels, size, size)
    write_onnx(build(arch).eval(), arch, half, {"arch_key": arch.key}, shape)
    half.rename(path)


def record_onnx(folder: Path, size: int | None, *, threads: int, progress: "Progress") -> Recording:
    """Time exported networks in ONNX Runtime, with the CPU held alone.

    Args:
        folder: of `export_probes`.
        size: side of the input that is asked for, pixels.
        threads: of the CPU.
        progress: called after each network.

    Raises:
        InvalidInput: the folder holds no probes that can be read, not all, or such of another size.
    """
    if not (folder / "probes.json").is_file():
        raise InvalidInput(f"{folder} holds no probes; `nas latency probes --out` writes them")
    made, files = _read_probes(folder)
    if size not in (None, made):
        raise InvalidInput(
            f"size must be that of the probes in {folder}, {made}, got {size}; leave it out"
        )
    missing = [file.name for file in files if not file.is_file()]
    if missing or not files:
        raise InvalidInput(
            f"{folder} must hold all files of its probes, it lacks {some(missing) or 'all'}; "
            "make the probes again"
        )
    with DeviceSlot(torch.device("cpu")) as slot, slot.exclusive():
        found = on_device.record_probes(
            folder, threads, lambda done, total: progress("timing", done, total)
        )
    return Recording.from_json(found)


def _read_probes(folder: Path) -> tuple[int, list[Path]]:
    """Return the size of probes, and their files."""
    try:
        told = json.loads((folder / "probes.json").read_text())
        size = int(told["size"])
        return size, [folder / on_device.probe_file(one["key"], size) for one in told["probes"]]
    except (OSError, ValueError, LookupError, TypeError):
        raise InvalidInput(
            f"{folder}/probes.json must be of `nas latency probes`, it cannot be read; "
            "make the probes again"
        ) from None
