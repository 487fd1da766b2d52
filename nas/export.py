"""A trial's network as a folder of files that need nothing of this project.

    model.py             the network, torch only       weights.safetensors   its parameters
    model.onnx           the same for ONNX Runtime     preprocess.json       what to do to an image
    card.md              where it comes from and what was measured

The files are checked against the search's network on real images before the folder appears.
"""

import dataclasses
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas.card import write_card
from nas.data import Prepared, open_data
from nas.images import normalise, resize_image
from nas.onnx_file import run_onnx, write_onnx
from nas.preprocess import describe_preprocess
from nas.standalone import source
from primitives.core.errors import InvalidInput, nearest
from search_spaces.core.arch import Arch
from search_spaces.core.network import build

if TYPE_CHECKING:
    from nas.handle import StudyHandle

FORMATS = ("module", "onnx")
BOUND = 1e-4  # largest difference between two forms of one network
_SEARCHED = "search network"
Forward = Callable[[Tensor], Tensor]


class ParityError(RuntimeError):
    """Two forms of an exported network differ by more than `BOUND`."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Largest absolute difference of logits between two forms on one input."""

    first: str
    second: str
    shape: tuple[int, ...]
    value: float

    @property
    def size(self) -> str:
        """The shape as text."""
        return "x".join(map(str, self.shape))

    def __str__(self) -> str:
        """Return one line."""
        return f"{self.first} and {self.second} at {self.size}: {self.value:.1e}"


@dataclass(frozen=True, slots=True)
class Report:
    """What an export wrote and found."""

    folder: Path
    files: tuple[str, ...]
    differences: tuple[Difference, ...]
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Return what `nas export --json` prints."""
        return dataclasses.asdict(self) | {"folder": str(self.folder), "bound": BOUND}

    def __str__(self) -> str:
        """Return what `nas export` prints."""
        return "\n".join(
            [
                f"{self.folder}: {', '.join(self.files)} ({self.seconds:.1f} s)",
                *(f"{d}, bound {BOUND:g}" for d in self.differences),
            ]
        )


def export_trial(
    handle: "StudyHandle", number: int, folder: Path, formats: Sequence[str] = FORMATS
) -> Report:
    """Export the network of a finished trial, checked on validation images of two sizes.

    Args:
        handle: the study.
        number: of the trial.
        folder: new or empty.
        formats: of `FORMATS`.

    Raises:
        InvalidInput: the trial is not complete, the folder is in use or a format unknown.
        ParityError: two forms differ.
    """
    _check(folder, formats)
    trial = handle.trial(number)
    if trial.state not in ("complete", "reused") or trial.arch is None:
        raise InvalidInput(
            f"only a complete trial can be exported, trial {number} is {trial.state}"
        )
    return export_net(
        trial.arch,
        handle.net(number).state_dict(),
        real_inputs(handle.prepared, trial.arch.multiple),
        folder,
        formats,
        card=write_card(handle, trial, formats),
        preprocess=describe_preprocess(
            handle.prepared, trial.arch.multiple, handle.settings.invert_masks
        ),
    )


def export_net(
    arch: Arch,
    state: Mapping[str, Tensor],
    inputs: Sequence[Tensor],
    folder: Path,
    formats: Sequence[str] = FORMATS,
    *,
    card: str,
    preprocess: Mapping[str, Any],
) -> Report:
    """Write all files, compare all forms of the network, and only then let the folder appear.

    Args:
        arch: of the network.
        state: its state dict.
        inputs: normalised images (N, C, H, W) or volumes (N, C, D, H, W) to compare on.
        folder: new or empty.
        formats: of `FORMATS`.
        card: text of card.md; what the comparison found is added.
        preprocess: content of preprocess.json.

    Raises:
        InvalidInput: the folder is in use or a format unknown.
        ParityError: two forms differ by more than `BOUND`; nothing is left behind.
    """
    start = time.perf_counter()
    _check(folder, formats)
    net = build(arch)
    net.load_state_dict(dict(state))
    net.eval()
    with _appearing(folder) as work:
        forms: dict[str, Forward] = {_SEARCHED: net}
        if "module" in formats:
            forms["model.py"] = _write_module(arch, net, work)
        if "onnx" in formats:
            facts = {"arch_key": arch.key, **preprocess}
            write_onnx(net, arch, work / "model.onnx", facts)
            forms["model.onnx"] = run_onnx(work / "model.onnx")
        differences = compare(forms, inputs)
        (work / "preprocess.json").write_text(json.dumps(preprocess, indent=2) + "\n")
        (work / "card.md").write_text(f"{card}\n{_parity_section(differences)}")
        files = tuple(sorted(path.name for path in work.iterdir()))
    return Report(folder, files, differences, time.perf_counter() - start)


def compare(forms: Mapping[str, Forward], inputs: Sequence[Tensor]) -> tuple[Difference, ...]:
    """Return the differences of all pairs on all inputs.

    Raises:
        ParityError: one exceeds `BOUND` or is not a number.
    """
    found = []
    for x in inputs:
        with torch.inference_mode():
            logits = {name: forward(x) for name, forward in forms.items()}
        for first, second in combinations(forms, 2):
            value = (logits[first] - logits[second]).abs().max().item()
            found.append(Difference(first, second, tuple(x.shape), value))
            if not value <= BOUND:  # not a number fails too
                raise ParityError(
                    f"{first} and {second} must agree within {BOUND:g}, got a difference of "
                    f"{value:g} on an input of {found[-1].size}; nothing was written"
                )
    return tuple(found)


def real_inputs(prepared: Prepared, multiple: int) -> list[Tensor]:
    """Return normalised validation images: one at the study's size, two at the next legal size."""
    val, size = open_data(prepared, torch.device("cpu")).val, prepared.size
    pictures = [
        val.pixels(slice(i, i + 1))[0][:, *map(slice, val.sizes[i])] for i in (0, len(val) - 1)
    ]
    larger = torch.stack([_resize(picture, size + multiple) for picture in pictures])
    corner = (slice(size),) * prepared.ndim
    inputs = (val.pixels(slice(0, 1))[:, :, *corner], larger)
    return [normalise(x, prepared.mean, prepared.std) for x in inputs]


def _resize(picture: Tensor, size: int) -> Tensor:
    """Resize an image (C, H, W) or a volume (C, D, H, W) to equal sides."""
    if picture.ndim == 3:
        return resize_image(picture, size)
    return F.interpolate(picture[None], (size,) * 3, mode="trilinear")[0]


def _check(folder: Path, formats: Sequence[str]) -> None:
    for name in formats:
        if name not in FORMATS:
            known = ", ".join(FORMATS)
            raise InvalidInput(
                f"format must be one of {known}, got {name!r}{nearest(name, FORMATS)}"
            )
    if not formats:
        raise InvalidInput(f"format must be one or more of {', '.join(FORMATS)}, got none")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InvalidInput(
            f"an export needs a new or empty folder, got {folder}; name another --out"
        )


@contextmanager
def _appearing(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder that takes the place of `folder` at the end, or vanishes."""
    near = next(parent for parent in folder.absolute().parents if parent.exists())
    work = near / f".{folder.name}.{os.getpid()}"
    work.mkdir()
    try:
        yield work
        folder.parent.mkdir(parents=True, exist_ok=True)
        os.replace(work, folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _write_module(arch: Arch, net: nn.Module, folder: Path) -> nn.Module:
    """Write model.py and its weights; return the network that they give."""
    from safetensors.torch import save

    path, text = folder / "model.py", source(arch)
    path.write_text(text, encoding="utf-8")
    tensors = {name: value.cpu().contiguous() for name, value in net.state_dict().items()}
    (folder / "weights.safetensors").write_bytes(save(tensors))
    # An import would leave a __pycache__ in the export.
    names: dict[str, Any] = {"__name__": "model", "__file__": str(path)}
    exec(compile(text, path, "exec"), names)
    loaded: nn.Module = names["load"]()
    return loaded


def _parity_section(differences: Sequence[Difference]) -> str:
    rows = [f"| {d.first} | {d.second} | {d.size} | {d.value:.1e} |" for d in differences]
    lines = [
        "## Agreement of the files",
        "",
        f"Largest absolute difference of logits on real images; an export fails above {BOUND:g}.",
        "",
        "| between | and | input | difference |",
        "|---|---|---|---|",
    ]
    return "\n".join([*lines, *rows]) + "\n"
