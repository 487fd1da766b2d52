"""From what a user chose to a complete plan: the study, the run, the store. Writes no study."""

import dataclasses
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

import search_spaces
from nas import phantom, volumes
from nas.checks import check_plan, stored_study
from nas.costs import measure_costs
from nas.fitting import check_kind, check_size, patch_size
from nas.latency.calibration import Calibration
from nas.latency.forecast import choose_calibration
from nas.pace import seconds_per_step
from nas.recipes import find_recipe
from nas.settings import Run, Study, check_fields
from nas.splits import SHARES
from primitives.core.errors import InvalidInput
from search_spaces.core.space import Space

_PHANTOM_SECONDS = 240.0  # of training, so that a first search takes less than five minutes
_VOLUME_SECONDS = 1800.0  # of training a default search on volumes, if that many epochs fit


@dataclass(frozen=True, slots=True)
class Defaults:
    """What is chosen for a device where the user says nothing.

    Attributes:
        trials: of the search.
        epochs: of each trial; of several, embedded images and volumes take the most that end in
            time.
        size: of the input for a folder of images, pixels.
        phantom_size: of the input for the embedded images.
        patch: largest side of the input for volumes, voxels.
        gpus_per_trial: share of a GPU.
        cost_factor: candidates may cost this many times the multiply-adds of the costliest of the
            first three baselines; None: any.
    """

    trials: int
    epochs: tuple[int, ...]
    size: int
    phantom_size: int
    patch: int
    gpus_per_trial: float
    cost_factor: float | None


DEFAULTS: Mapping[str, Defaults] = {
    "cpu": Defaults(6, (10, 12, 16), 128, 64, 64, 0.0, 1.2),
    "cuda": Defaults(64, (60,), 256, 128, 128, 0.25, None),
    "mps": Defaults(24, (40,), 256, 128, 64, 0.0, None),
}


# What a study of images or volumes has where the user says nothing.
_KINDS: Mapping[int, Mapping[str, str]] = {2: {}, 3: {"fit": "crop", "recipe": "fast3d"}}


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything a search needs to know before it starts.

    Attributes:
        study: its settings.
        run: how far and wide.
        store: folder.
        bounded: the constraints are the user's, not a default of the device.
        calibration: what latency is predicted from; None: it is measured alone.
    """

    study: Study
    run: Run
    store: Path
    bounded: bool
    calibration: Calibration | None = None

    def to_json(self) -> dict[str, Any]:
        """Return plain data for printing."""
        return {**self.study.to_json(), **dataclasses.asdict(self.run), "store": str(self.store)}


def make_plan(options: Mapping[str, Any]) -> Plan:
    """Check a user's choices and fill in the defaults of the device.

    Args:
        options: fields of `Study` and `Run` and "store", as typed; absent or None where the user
            said nothing: a study that exists keeps its own. "constraints" may be ("none",) for no
            constraint at all, "device" may be "auto", "latency_from" names a file.

    Raises:
        InvalidInput: a choice is unknown, out of range or does not fit another.
    """
    chosen = {key: value for key, value in options.items() if value is not None}
    check_fields(chosen)
    store = Path(chosen.pop("store", "nas-store"))
    file = chosen.pop("latency_from", None)
    chosen = _made_before(store, chosen) | chosen
    new = "latency_model" not in chosen
    for required in ("space", "objectives"):
        if required not in chosen:
            option = required.removesuffix("s")
            raise InvalidInput(f"a search needs --{option}; see `nas search --help`")
    space = _space(chosen["space"])
    device = find_device(chosen.pop("device", "auto"))
    defaults = DEFAULTS[device]
    data = _data(chosen.pop("data", "phantom"))
    check_kind(space, data)
    size = chosen.pop("size") if "size" in chosen else _size(space, data, defaults)
    check_size(size, space)
    run = _run(chosen, device, defaults)
    study = Study.from_json({
        "name": _default_name(space.name, data),
        "epochs": defaults.epochs[-1],
        **_KINDS[space.ndim],
        **chosen,
        "warm_start": _start(chosen.get("warm_start", ""), store),
        "data": data,
        "size": size,
        "device": device,
        "constraints": _constraints(tuple(chosen.get("constraints", ())), space, size, defaults),
    })  # fmt: skip
    check_plan(study, run, store)
    if space.ndim == 3 and study.fit != "crop":
        raise InvalidInput(f"fit must be 'crop' for volumes, got {study.fit!r}; drop --fit")
    if "epochs" not in chosen and (data == "phantom" or space.ndim == 3):
        study = replace(study, epochs=_epochs_in_time(study, run, space, defaults.epochs))
    study, found = choose_calibration(study, store, Path(file) if file else None, new=new)
    return Plan(study, run, store, "constraints" in chosen, found)


def _space(name: str) -> Space:
    space = search_spaces.load(name)
    if space.task != "segmentation":
        raise InvalidInput(
            f"a search trains segmentation, space {name!r} is for {space.task}; "
            "`nas spaces` lists the others"
        )
    return space


def _run(chosen: dict[str, Any], device: str, defaults: Defaults) -> Run:
    """Take the fields of a run out of what was chosen."""
    return Run(
        trials=chosen.pop("trials", defaults.trials),
        seconds=chosen.pop("seconds", None),
        workers=chosen.pop("workers", _workers(device, defaults)),
        gpus_per_trial=chosen.pop("gpus_per_trial", defaults.gpus_per_trial),
        trial_timeout=chosen.pop("trial_timeout", None),
    )


def _start(text: str, store: Path) -> str:
    """Return the name of a study to learn from, or the absolute path of a table."""
    path = Path(text).expanduser()
    return str(path.resolve()) if path.is_file() and not stored_study(store, text) else text


def _made_before(store: Path, chosen: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of the study that is to be continued, {} if it is new."""
    name = chosen.get("name")
    if name is None and "space" in chosen:
        name = _default_name(chosen["space"], _data(chosen.get("data", "phantom")))
    stored = stored_study(store, name) if name else None
    if stored is None:
        return {}
    return stored.to_json() | {"constraints": stored.constraints or ("none",)}


def _default_name(space: str, data: str) -> str:
    return f"{space}-{Path(data).name}"


def _epochs_in_time(study: Study, run: Run, space: Space, ladder: tuple[int, ...]) -> int:
    """Return the most epochs that this device finishes in time, at least the fewest."""
    if len(ladder) == 1:
        return ladder[0]
    recipe = find_recipe(study.recipe)
    images, seconds = phantom.TRAIN, _PHANTOM_SECONDS
    if study.data != "phantom":
        images, seconds = round(SHARES[0] * volumes.count(Path(study.data))), _VOLUME_SECONDS
    *_, dearest = [space.arch(baseline.point, 1) for _, baseline in space.seeds()][:3]
    step = seconds_per_step(dearest, recipe, study.size)
    epoch = step * recipe.steps_per_epoch(images) * run.trials / run.workers
    return max((n for n in ladder if n * epoch <= seconds), default=ladder[0])


def read_file(path: Path) -> dict[str, Any]:
    """Read a study file: the fields of `Study` and `Run`, and "store".

    Raises:
        InvalidInput: it cannot be read, or a field is unknown or of another type.
    """
    try:
        options = tomllib.loads(path.read_text())
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {str(error.strerror).lower()}") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InvalidInput(f"{path} must be a study file in TOML, got {error}") from None
    check_fields(options)
    return options


def find_device(name: str) -> str:
    """Return "cpu", "cuda" or "mps"; "auto" takes the fastest there is.

    Raises:
        InvalidInput: the device is unknown or not there.
    """
    there = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if name == "auto":
        return next(device for device, usable in there.items() if usable)
    if name not in there:
        raise InvalidInput(f"device must be one of auto, {', '.join(there)}, got {name!r}")
    if not there[name]:
        raise InvalidInput(f"device {name!r} is not there; use --device auto")
    return name


def _data(text: str) -> str:
    if text == "phantom":
        return text
    folder = Path(text).expanduser()
    if not folder.is_dir():
        raise InvalidInput(
            f"data must be 'phantom' or a folder with images/ and masks/, got {text!r}"
        )
    return str(folder.resolve())


def _size(space: Space, data: str, defaults: Defaults) -> int:
    if data == "phantom":
        return defaults.phantom_size
    if space.ndim == 2:
        return defaults.size
    return patch_size(space, Path(data), defaults.patch)


def _workers(device: str, defaults: Defaults) -> int:
    if device == "cuda":
        return max(1, int(torch.cuda.device_count() / defaults.gpus_per_trial))
    return (os.cpu_count() or 1) if device == "cpu" else 1


def _constraints(
    given: tuple[str, ...], space: Space, size: int, defaults: Defaults
) -> tuple[str, ...]:
    """Return the user's constraints, or a bound that keeps trials affordable on a slow device."""
    if given == ("none",):
        return ()
    if given or defaults.cost_factor is None:
        return given
    first = [baseline.point for _, baseline in space.seeds()][:3]
    macs = max(measure_costs(space.arch(point), size).macs for point in first)
    return (f"macs<={defaults.cost_factor * macs / 1e6:.3g}M",)
