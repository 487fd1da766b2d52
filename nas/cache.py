"""The file that holds the encoded train and val parts, so that images are decoded once."""

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from nas.samples import Samples
from primitives.core.errors import InvalidInput

_ABOUT = "nas"  # the one key of the metadata: several would be written in any order
_FIELDS = ("images", "masks", "heights", "widths", "depths")  # the last of volumes alone


def write_cache(path: Path, parts: Mapping[str, Samples], facts: Mapping[str, Any]) -> None:
    """Write parts and JSON-able facts in one step: readers see the whole file or none."""
    tensors = {
        f"{part}.{field}": getattr(samples, field)
        for part, samples in parts.items()
        for field in _FIELDS
        if getattr(samples, field) is not None
    }
    stems = {part: samples.stems for part, samples in parts.items()}
    about = {"stems": stems, "facts": dict(facts), "digest": _digest(tensors)}
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
    os.close(handle)
    try:
        save_file(tensors, name, {_ABOUT: json.dumps(about)})
        os.replace(name, path)
    finally:
        Path(name).unlink(missing_ok=True)


def cached_facts(path: Path) -> dict[str, Any] | None:
    """Return the facts of a cache, or None if the file is missing or any byte of it changed."""
    if not path.exists():
        return None
    try:
        tensors, about = _read(path, torch.device("cpu"))
        if about["digest"] != _digest(tensors):
            return None
        facts: dict[str, Any] = about["facts"]
    except (SafetensorError, KeyError, ValueError):
        return None
    return facts


def read_cache(path: Path, device: torch.device) -> dict[str, Samples]:
    """Read the parts onto a device.

    Raises:
        InvalidInput: the file is missing or damaged.
    """
    try:
        tensors, about = _read(path, device)
    except (SafetensorError, OSError, KeyError) as error:
        raise InvalidInput(
            f"cache must be readable, got {path} ({error}); prepare the data again"
        ) from error
    return {
        part: Samples(
            stems=tuple(stems),
            **{field: tensors[f"{part}.{field}"] for field in _FIELDS[:-1]},
            depths=tensors.get(f"{part}.{_FIELDS[-1]}"),
        )
        for part, stems in about["stems"].items()
    }


def _read(path: Path, device: torch.device) -> tuple[dict[str, Tensor], dict[str, Any]]:
    with safe_open(path, framework="pt", device=str(device)) as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        return tensors, json.loads((file.metadata() or {})[_ABOUT])


def _digest(tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for key in sorted(tensors):
        digest.update(key.encode())
        digest.update(tensors[key].contiguous().numpy().data)
    return digest.hexdigest()
