"""A study in its store, opened by the one who drives it: loaded, or made."""

import json
import warnings

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.study import StudyDirection

from nas.data import Prepared
from nas.handle import open_storage, read_settings
from nas.objectives import find_objectives
from nas.settings import Study
from nas.store import Store
from primitives.core.errors import InvalidInput


def load_or_create(store: Store, study: Study, prepared: Prepared, revision: str) -> optuna.Study:
    """Load a study to go on with it, or make it.

    Args:
        store: where it is or will be.
        study: its settings.
        prepared: its data.
        revision: of the code, for the record.

    Raises:
        StudyMismatch: it exists with other settings.
        InvalidInput: the name belongs to a study that no search of ours made.
    """
    storage = open_storage(store)
    stored = read_settings(storage, study.name)
    if stored is None:
        found = _create(storage, study, prepared, revision)
    else:
        study.check_same(stored[0])
        found = optuna.load_study(study_name=study.name, storage=storage)
    return found


def _create(
    storage: optuna.storages.BaseStorage, study: Study, prepared: Prepared, revision: str
) -> optuna.Study:
    if study.name in optuna.get_all_study_names(storage=storage):
        if optuna.load_study(study_name=study.name, storage=storage).trials:
            raise InvalidInput(
                f"study {study.name!r} was not made by `nas search`; use another --study name"
            )
        optuna.delete_study(study_name=study.name, storage=storage)  # a driver died while making it
    objectives = find_objectives(study.objectives)
    created = optuna.create_study(
        study_name=study.name,
        storage=storage,
        directions=[StudyDirection[o.direction.upper()] for o in objectives],
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        created.set_metric_names([o.name for o in objectives])
    created.set_user_attr("revision", revision)
    created.set_user_attr("prepared", json.dumps(prepared.to_json()))
    created.set_user_attr("study", json.dumps(study.to_json()))  # last: says that the rest is there
    return created
