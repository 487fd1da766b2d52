"""Whether a search can be carried out as it was planned."""

import re
from pathlib import Path

import torch

from nas.earlier_results import is_table
from nas.fidelity.rungs import check_fidelity
from nas.handle import open_storage, read_settings
from nas.latency.measure import RUNTIMES
from nas.objectives import find_objectives, parse_limit
from nas.recipes import find_recipe
from nas.sampler.by_name import check_sampler
from nas.settings import Run, Study
from nas.store import Store
from nas.trained_table import read_table
from primitives.core.errors import InvalidInput

_LAST_SEED = 2**31 - 1


def check_plan(study: Study, run: Run, store: Path) -> None:
    """Check what can be known before anything is read or written.

    Raises:
        InvalidInput: a setting is unknown, out of range or does not fit another.
    """
    find_objectives(study.objectives)
    for text in study.constraints:
        parse_limit(text)
    find_recipe(study.recipe)
    check_sampler(study.sampler)
    check_fidelity(study.fidelity)
    if study.fidelity == "model" and not {"dice", "iou"} & set(study.objectives):
        raise InvalidInput(
            "fidelity model foretells a score, so dice or iou must be an objective, got "
            f"{','.join(study.objectives)!r}; use mo-asha or none"
        )
    if study.inherit and study.fidelity != "none":
        raise InvalidInput(
            f"inherit needs fidelity none, which leaves out no candidate, got {study.fidelity!r}"
        )
    if study.fit not in ("resize", "crop"):
        raise InvalidInput(f"fit must be 'resize' or 'crop', got {study.fit!r}")
    if study.latency_runtime not in RUNTIMES:
        raise InvalidInput(
            f"latency_runtime must be one of {', '.join(RUNTIMES)}, got {study.latency_runtime!r}"
        )
    counts = {
        "trials": run.trials,
        "epochs": study.epochs,
        "workers": run.workers,
        "latency_threads": study.latency_threads,
    }
    for name, value in counts.items():
        if value < 1:
            raise InvalidInput(f"{name} must be 1 or more, got {value}")
    if not 0 <= study.seed <= _LAST_SEED:
        raise InvalidInput(f"seed must be from 0 to {_LAST_SEED}, got {study.seed}")
    if not re.fullmatch(r"\w[^/\0]{0,99}", study.name):
        raise InvalidInput(
            "study must start with a letter or digit, have no '/' and at most 100 signs, "
            f"got {study.name!r}"
        )
    there = torch.cuda.device_count() if study.device == "cuda" else 0
    if not 0 <= run.gpus_per_trial <= there:
        raise InvalidInput(
            f"gpus_per_trial must be from 0 to {there}, the GPUs of device {study.device!r}, "
            f"got {run.gpus_per_trial:g}"
        )
    for name, seconds in {"time": run.seconds, "trial_timeout": run.trial_timeout}.items():
        if seconds is not None and seconds <= 0:
            raise InvalidInput(f"{name} must be positive, got {seconds}")
    _check_warm_start(study, store)


def stored_study(store: Path, name: str) -> Study | None:
    """Return the settings of a study, None if there is none of the name."""
    if not (store / "nas.db").exists():
        return None
    found = read_settings(open_storage(Store(store)), name)
    return found[0] if found else None


def _check_warm_start(study: Study, store: Path) -> None:
    """Check that there is an earlier study to learn from, and a sampler that does."""
    start = study.warm_start
    if not start:
        return
    earlier = read_table(Path(start))[0] if is_table(start) else stored_study(store, start)
    if earlier is None or start == study.name:
        raise InvalidInput(
            f"warm_start must be another study of {store} or a file of `nas bench table`, got "
            f"{start!r}; `nas status {store}` lists the studies"
        )
    if earlier.space != study.space or study.sampler != "known-cost":
        raise InvalidInput(
            f"warm_start needs sampler known-cost and trainings of space {study.space!r}, got "
            f"sampler {study.sampler} and {start!r} of space {earlier.space!r}"
        )
