"""The main job: prepare data, open the study, train proposals, hand back the study."""

import shutil
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from optuna.exceptions import StorageInternalError
from sqlalchemy.exc import DBAPIError

from nas.data import DataSpec, Prepared, prepare
from nas.files import is_disk_full
from nas.handle import StudyHandle, open_storage, read_settings
from nas.latency.forecast import make_forecast
from nas.latency.measure import describe_rig, rig_key
from nas.latency.timing import time_front
from nas.plan import Plan
from nas.runner import Watcher, run_search
from nas.settings import Study, StudyMismatch
from nas.store import Store, check_folder
from nas.study import StudyDriver
from nas.task import Task
from primitives.core.errors import InvalidInput


class DiskFull(InvalidInput):
    """There is no space left for what a search writes."""


def drive(plan: Plan, watcher: Watcher) -> StudyHandle:
    """Run or continue a search and return the study.

    Raises:
        DiskFull: weights, checkpoints or the database could not be written.
        InvalidInput: the data, the store or the study's earlier settings do not allow it.
        KeyboardInterrupt: Ctrl-C; everything is stored.
    """
    try:
        return _drive(plan, watcher)
    except (OSError, DBAPIError, StorageInternalError) as error:
        if not is_disk_full(error):
            raise
        raise DiskFull(
            f"no space left for {plan.store.absolute()}; free some and run the same command again, "
            "finished trials are kept"
        ) from error


def _drive(plan: Plan, watcher: Watcher) -> StudyHandle:
    study = plan.study
    folder = plan.store
    stored = _stored(folder, study)
    prepared = _prepare(study, folder, stored, watcher)
    store = Store(folder, create=True)
    with store.driving(study.name):
        rig = _rig(plan)
        store.add_rig(rig_key(rig), rig)
        if plan.calibration:
            plan.calibration.keep(store.folder)
        forecast = make_forecast(study, plan.calibration)
        driver = StudyDriver(
            store,
            study,
            prepared,
            rig=rig_key(rig),
            trials=plan.run.trials,
            revision=revision(),
            forecast=forecast,
        )
        if not driver.finished:
            task = Task(
                study,
                prepared,
                weights=str(store.folder / "weights"),
                checkpoints=str(store.folder / "checkpoints"),
                timed=driver.timed,
            )
            run_search(driver, task, plan.run, watcher)
        handle = StudyHandle(store, study.name)
        if forecast and not forecast.final:
            time_front(handle, watcher.preparing)
    return handle


def _rig(plan: Plan) -> dict[str, Any]:
    """Return the machine that latencies are of: this one, or that of a recording."""
    study = plan.study
    if plan.calibration and study.latency_from:
        return dict(plan.calibration.model.rig)
    return describe_rig(torch.device(study.device), study.latency_threads, study.latency_runtime)


def revision() -> str:
    """Return the git revision of this code, or the version of the installed package."""
    root, git = Path(__file__).parent.parent, shutil.which("git")
    if git and (root / ".git").exists():
        command = [git, "describe", "--always", "--dirty"]
        found = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
        if found.returncode == 0:
            return found.stdout.strip()
    try:
        return f"nas-unet {version('nas-unet')}"
    except PackageNotFoundError:  # neither installed nor a checkout
        return "unknown"


def _stored(folder: Path, study: Study) -> Prepared | None:
    """Return the data of the study if it exists, after comparing its settings."""
    if not (folder / "nas.db").exists():
        check_folder(folder)  # before anything is written to it
        return None
    stored = read_settings(open_storage(Store(folder)), study.name)
    if stored is None:
        return None
    study.check_same(stored[0])
    return stored[1]


def _prepare(study: Study, folder: Path, stored: Prepared | None, watcher: Watcher) -> Prepared:
    spec = DataSpec(study.data, study.size, study.fit, study.invert_masks, study.skip_bad)
    prepared = prepare(
        spec,
        (folder / "cache").absolute(),
        seed=study.seed,
        split=stored.split if stored else None,
        progress=watcher.preparing,
    )
    if stored and stored.fingerprint != prepared.fingerprint:
        raise StudyMismatch(
            f"study {study.name!r} was made with other images or masks in {study.data}; "
            "use another --study name"
        )
    return prepared
