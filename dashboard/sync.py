"""Write into a store what Optuna Dashboard shows beside its own plots.

All of it goes into Optuna's study attributes, which may change after a trial has ended, and into
the store's `artifacts` folder. What is there already, or was edited by the user, is left alone.
"""

import hashlib
import io
import json
import uuid
import warnings
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from optuna.artifacts import FileSystemArtifactStore
from optuna.exceptions import ExperimentalWarning
from optuna.storages import BaseStorage
from optuna.trial import Trial as OpenTrial
from optuna.trial import TrialState
from optuna_dashboard import get_note, save_note, save_plotly_graph_object

from dashboard.arch_view import draw_arch
from dashboard.masks import Picture, draw_predictions, pick_pictures
from dashboard.notes import study_note, trial_note
from dashboard.plots import figures
from nas.evaluation import Evaluation
from nas.handle import StudyHandle
from nas.records import Trial

_DIGEST = "nas:dashboard:"  # study attributes: what we wrote last, as a hash
_ARTIFACT = "dashboard:artifacts:"  # read by the dashboard as trial number's internal id, then ours


def sync(handle: StudyHandle, lock: AbstractContextManager[object] | None = None) -> int:
    """Write the figures and the note of a study, and notes and pictures of its ended trials.

    Args:
        handle: the study.
        lock: held while a figure or a note is written, which takes several writes.

    Returns:
        how many trials got their note.
    """
    return Sync(handle, lock).run()


class Sync:
    """What `sync` does, for one study; remembers the validation images between runs.

    Args:
        handle: the study.
        lock: held while a figure or a note is written.
    """

    def __init__(
        self, handle: StudyHandle, lock: AbstractContextManager[object] | None = None
    ) -> None:
        self.handle, self.study = handle, handle.optuna_study
        self.lock = lock or nullcontext()
        self.artifacts = FileSystemArtifactStore(str(handle.store.folder / "artifacts"))
        self._pictures: list[Picture] | None = None

    @property
    def storage(self) -> BaseStorage:
        """Optuna's side of the store."""
        return self.study._storage

    def progress(self) -> tuple[tuple[int, TrialState, int], ...]:
        """Return number, state and trained epochs of every trial: what a search changes."""
        return tuple(
            (t.number, t.state, len(self.handle.store.epochs(self.handle.name, t.number)))
            for t in self.study.get_trials(deepcopy=False)
        )

    def run(self) -> int:
        """Write what is missing; return how many trials got their note."""
        self._write_study()
        trials = self.handle.trials()  # before the numbers: a search beside us adds trials
        ids = {t.number: t._trial_id for t in self.study.get_trials(deepcopy=False)}
        attrs = self.storage.get_study_system_attrs(self.study._study_id)
        new = [
            trial
            for trial in trials
            if trial.state != "running" and f"dashboard:{ids[trial.number]}:note_ver" not in attrs
        ]
        for trial in new:
            self._write_trial(trial, ids[trial.number])
        return len(new)

    def _write_study(self) -> None:
        if self.study.metric_names is None:  # a search may die before it names them
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ExperimentalWarning)
                self.study.set_metric_names([o.name for o in self.handle.objectives])
        for name, figure in figures(self.handle).items():
            text = figure.to_json()
            if self._digest(name) != _hash(text):
                with self.lock:
                    save_plotly_graph_object(self.study, figure, graph_object_id=name)
                self._remember(name, text)
        note, present = study_note(self.handle), get_note(self.study)
        ours = not present or self._digest("note") == _hash(present)
        if ours and present != note:
            with self.lock:
                save_note(self.study, note)
            self._remember("note", note)

    def _write_trial(self, trial: Trial, trial_id: int) -> None:
        """Store the pictures, then the note, which marks the trial as done."""
        pictures = {}
        if trial.arch:
            pictures["arch"] = self._upload(trial, trial_id, "arch", draw_arch(trial.arch))
        if trial.evaluation and self._can_predict(trial.evaluation):
            if self._pictures is None:
                self._pictures = pick_pictures(self.handle)
            sheet = draw_predictions(self.handle, trial.number, self._pictures)
            pictures["predictions"] = self._upload(trial, trial_id, "masks", sheet)
        with self.lock:
            save_note(OpenTrial(self.study, trial_id), trial_note(trial, pictures))

    def _can_predict(self, evaluation: Evaluation) -> bool:
        """Whether nobody tidied away the weights or the images."""
        weights = self.handle.store.path("weights", evaluation.weights)
        return weights.is_file() and Path(self.handle.prepared.cache).is_file()

    def _upload(self, trial: Trial, trial_id: int, kind: str, png: bytes) -> str:
        """Keep a picture as an artifact of a trial, and return its address.

        Optuna's own upload refuses trials that have ended.
        """
        study_id = self.study._study_id
        name = f"{self.handle.store.folder}:{study_id}:{trial_id}:{kind}"
        artifact = str(uuid.uuid5(uuid.NAMESPACE_URL, name))  # a second try replaces the first
        self.artifacts.write(artifact, io.BytesIO(png))
        meta = {
            "artifact_id": artifact,
            "filename": f"trial-{trial.number}-{kind}.png",
            "mimetype": "image/png",
            "encoding": None,
        }
        key = f"{_ARTIFACT}{trial_id}:{artifact}"
        self.storage.set_study_system_attr(study_id, key, json.dumps(meta))
        return f"/artifacts/{study_id}/{trial_id}/{artifact}"

    def _digest(self, name: str) -> str | None:
        attrs = self.storage.get_study_system_attrs(self.study._study_id)
        found = attrs.get(_DIGEST + name)
        return str(found) if found else None

    def _remember(self, name: str, text: str) -> None:
        self.storage.set_study_system_attr(self.study._study_id, _DIGEST + name, _hash(text))


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
