"""Probe networks as files: exported once, timed with ONNX Runtime here or on another device.

KEY.onnx        one file per network          probes.json    what they are
on_device.py    times them where there is neither torch nor this project
"""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from nas.latency import on_device
from nas.latency.record import Recording, Wanted
from nas.onnx_file import write_onnx
from nas.slot import DeviceSlot
from primitives.core.errors import InvalidInput
from search_spaces.core.network import build

if TYPE_CHECKING:
    from nas.folder import Progress


def export_probes(wanted: Sequence[Wanted], folder: Path, progress: "Progress") -> None:
    """Write networks with fresh weights; what is there already from an earlier call is kept.

    Args:
        wanted: networks.
        folder: new, or of an earlier call.
        progress: called after each network.

    Raises:
        InvalidInput: the folder holds other things.
    """
    script = Path(on_device.__file__)
    names = {f"{one.arch.key}.onnx" for one in wanted} | {script.name, "probes.json"}
    if folder.exists() and (not folder.is_dir() or {f.name for f in folder.iterdir()} - names):
        raise InvalidInput(f"probes need a new folder or their own, got {folder}; name another")
    folder.mkdir(parents=True, exist_ok=True)
    for done, one in enumerate(wanted, 1):
        path = folder / f"{one.arch.key}.onnx"
        if not path.exists():
            half = path.with_suffix(".part")
            write_onnx(build(one.arch).eval(), one.arch, half, {"arch_key": one.arch.key})
            half.rename(path)
        progress("exporting", done, len(wanted))
    shutil.copy(script, folder / script.name)
    entries = [
        {"key": w.arch.key, "space": w.space, "fitted": w.fitted, "arch": w.arch.to_json()}
        for w in wanted
    ]
    (folder / "probes.json").write_text(json.dumps(entries))


def record_onnx(folder: Path, size: int, *, threads: int, progress: "Progress") -> Recording:
    """Time exported networks in ONNX Runtime, with the CPU held alone.

    Args:
        folder: of `export_probes`.
        size: side of the input, pixels.
        threads: of the CPU.
        progress: called after each network.

    Raises:
        InvalidInput: the folder holds no probes.
    """
    if not (folder / "probes.json").is_file():
        raise InvalidInput(f"{folder} holds no probes; `nas latency probes --out` writes them")
    with DeviceSlot(torch.device("cpu")) as slot, slot.exclusive():
        found = on_device.record_probes(
            folder, size, threads, lambda done, total: progress("timing", done, total)
        )
    return Recording.from_json(found)
