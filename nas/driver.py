"""The main job: prepare data, open the study, train proposals, hand back the study."""

import json
import subprocess
from importlib.metadata import version
from pathlib import Path

import optuna
import torch

from nas.data import DataSpec, Prepared, prepare
from nas.evaluate import Task
from nas.handle import StudyHandle, open_storage
from nas.latency import describe_rig, rig_key
from nas.plan import Plan
from nas.runner import Watcher, run_search
from nas.settings import Study, StudyMismatch
from nas.store import Store
from nas.study import StudyDriver


def drive(plan: Plan, watcher: Watcher) -> StudyHandle:
    """Run or continue a search and return the study.

    Raises:
        InvalidInput: the data, the store or the study's earlier settings do not allow it.
        KeyboardInterrupt: Ctrl-C; everything is stored.
    """
    study = plan.study
    folder = plan.store
    stored = _stored(folder, study)
    prepared = _prepare(study, folder, stored, watcher)
    store = Store(folder, create=True)
    with store.driving(study.name):
        rig = describe_rig(torch.device(study.device), study.latency_threads)
        store.add_rig(rig_key(rig), rig)
        driver = StudyDriver(
            store,
            study,
            prepared,
            rig=rig_key(rig),
            trials=plan.run.trials,
            revision=revision(),
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
    return StudyHandle(store, study.name)


def revision() -> str:
    """Return the git revision of this code, or the version of the installed package."""
    root = Path(__file__).parent.parent
    if (root / ".git").exists():
        command = ["git", "describe", "--always", "--dirty"]
        found = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
        if found.returncode == 0:
            return found.stdout.strip()
    return f"nas-unet {version('nas-unet')}"


def _stored(folder: Path, study: Study) -> Prepared | None:
    """Return the data of the study if it exists, after comparing its settings."""
    if not (folder / "nas.db").exists():
        return None
    store = Store(folder)
    storage = open_storage(store)
    if study.name not in optuna.get_all_study_names(storage=storage):
        return None
    attrs = optuna.load_study(study_name=study.name, storage=storage).user_attrs
    if "study" not in attrs:
        return None
    study.check_same(Study.from_json(json.loads(attrs["study"])))
    return Prepared.from_json(json.loads(attrs["prepared"]))


def _prepare(
    study: Study, folder: Path, stored: Prepared | None, watcher: Watcher
) -> Prepared:
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
