"""A study, read: its settings, its trials, its front. Safe beside a running search."""

import json
from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import optuna
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import event

from nas.data import Prepared
from nas.evaluation import Evaluation, Latency
from nas.fidelity.early_stop import EarlyStop, Rung
from nas.fidelity.rungs import rung_epochs
from nas.objectives import Limit, Objective, find_objectives, parse_limit
from nas.pareto import front_mask
from nas.records import Trial
from nas.settings import Study
from nas.store import Store, set_pragmas
from primitives.core.errors import InvalidInput, nearest
from search_spaces.core.arch import Arch

if TYPE_CHECKING:
    from torch import nn

    from nas.export import Report

_TIMED_AGAIN = "front_latency"  # of a study: arch key -> latency


class StudyHandle:
    """A study of a store.

    Args:
        store: where it is.
        name: of the study.

    Raises:
        InvalidInput: the store has no study of that name.
    """

    def __init__(self, store: Store, name: str) -> None:
        self.store, self.name = store, name
        storage = open_storage(store)
        stored = read_settings(storage, name)
        if stored is None:
            names = study_names(store)
            raise InvalidInput(
                f"study must be one of those in {store.folder} ({', '.join(names) or 'none yet'}), "
                f"got {name!r}{nearest(name, names)}"
            )
        self.settings, self.prepared = stored
        self.optuna_study = optuna.load_study(study_name=name, storage=storage)
        self.revision = str(self.optuna_study.user_attrs.get("revision", ""))

    @cached_property
    def objectives(self) -> tuple[Objective, ...]:
        """What is optimised."""
        return find_objectives(self.settings.objectives)

    @cached_property
    def limits(self) -> tuple[Limit, ...]:
        """What no trained candidate exceeds."""
        return tuple(parse_limit(text) for text in self.settings.constraints)

    def trials(self) -> list[Trial]:
        """Return all proposals so far, by number."""
        frozen = self.optuna_study.get_trials(deepcopy=False)
        return [to_trial(t, self.objectives) for t in frozen if t.state != TrialState.WAITING]

    @property
    def counted(self) -> int:
        """Trials that count towards the total; infeasible proposals and repeats do not."""
        frozen = self.optuna_study.get_trials(deepcopy=False)
        return sum(bool(t.user_attrs.get("counts")) for t in frozen)

    def trial(self, number: int) -> Trial:
        """Return one proposal.

        Raises:
            InvalidInput: there is none of that number.
        """
        trials = {t.number: t for t in self.trials()}
        if number not in trials:
            raise InvalidInput(f"study {self.name!r} has {len(trials)} trials, got trial {number}")
        return trials[number]

    def rungs(self) -> list[Rung]:
        """Return what early stopping did at each rung; nothing where everybody trains in full."""
        from nas.fidelity.ceiling import two_seeds

        epochs = rung_epochs(self.settings.fidelity, self.settings.epochs)
        top = partial(two_seeds, self.store, self.name)
        return EarlyStop(self.optuna_study, self.objectives, epochs, ceiling=top).rungs()

    def front(self, under: Sequence[Limit] = ()) -> list[Trial]:
        """Return the best compromises: trained in full, within the limits, none beaten by another.

        Args:
            under: further limits; a trial without the value does not meet one.
        """
        candidates = [t for t in self._distinct() if all(_within(t, limit) for limit in under)]
        if not candidates:
            return []
        values = np.array([[t.values[o.name] for o in self.objectives] for t in candidates])
        mask = front_mask(values, [o.direction for o in self.objectives])
        return [t for t, on_front in zip(candidates, mask, strict=True) if on_front]

    def timed_again(self) -> dict[str, Latency]:
        """Return the latencies that the front's archs had at the end of the search, by arch key."""
        kept = json.loads(self.optuna_study.user_attrs.get(_TIMED_AGAIN, "{}"))
        return {key: Latency.from_json(value) for key, value in kept.items()}

    def keep_timed_again(self, latencies: Mapping[str, Latency]) -> None:
        """Replace what `timed_again` returns."""
        kept = {key: latency.to_json() for key, latency in latencies.items()}
        self.optuna_study.set_user_attr(_TIMED_AGAIN, json.dumps(kept))

    def net(self, number: int) -> "nn.Module":
        """Return a trial's network with its best weights, in eval mode on the CPU.

        Raises:
            InvalidInput: the trial has no weights, or those of another version of this program.
        """
        from safetensors.torch import load_file

        from search_spaces.core.network import build

        trial = self.trial(number)
        if trial.arch is None or trial.evaluation is None:
            raise InvalidInput(f"only a trained trial has weights, trial {number} is {trial.state}")
        path = self.store.path("weights", trial.evaluation.weights)
        if not path.exists():
            raise InvalidInput(f"weights of trial {number} are gone: {path}")
        net, weights = build(trial.arch), load_file(path)
        if set(weights) != set(net.state_dict()):
            raise InvalidInput(
                f"weights of trial {number} are of another version of this program "
                f"(revision {self.revision}), {path}; export with that one or search again"
            )
        net.load_state_dict(weights)
        return net.eval()

    def export(
        self, trial: int, folder: Path | str, formats: Sequence[str] = ("module", "onnx")
    ) -> "Report":
        """Write a trial's network as files that need nothing of this project; see `nas.export`."""
        from nas.export import export_trial

        return export_trial(self, trial, Path(folder), tuple(formats))

    def _distinct(self) -> list[Trial]:
        """Return one trial per arch among those that may enter a front."""
        found: dict[str, Trial] = {}
        for t in self.trials():
            if t.state in ("complete", "reused") and t.full_budget and t.arch is not None:
                found.setdefault(t.arch.key, t)
        return list(found.values())


def open_study(store: Path | str, name: str) -> StudyHandle:
    """Open a study for reading.

    Args:
        store: folder of the store.
        name: of the study.

    Raises:
        InvalidInput: there is no such store or study.
    """
    return StudyHandle(Store(Path(store)), name)


def open_storage(store: Store) -> RDBStorage:
    """Open Optuna's side of a store's database, able to be read while it is written."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    storage = RDBStorage(store.url, engine_kwargs={"connect_args": {"timeout": 60}})
    event.listen(storage.engine, "connect", set_pragmas)
    storage.engine.dispose()  # the constructor opened a connection without the pragmas
    return storage


def study_names(store: Store) -> list[str]:
    """Return the names of all studies of a store that searches made."""
    found = optuna.get_all_study_summaries(open_storage(store), include_best_trial=False)
    return sorted(s.study_name for s in found if "study" in s.user_attrs)


def read_settings(storage: RDBStorage, name: str) -> tuple[Study, Prepared] | None:
    """Return what a study was made with; None if there is none that a search made."""
    if name not in optuna.get_all_study_names(storage=storage):
        return None
    attrs = optuna.load_study(study_name=name, storage=storage).user_attrs
    if "study" not in attrs:
        return None
    prepared = Prepared.from_json(json.loads(attrs["prepared"]))
    return Study.from_json(json.loads(attrs["study"])), prepared


def to_trial(frozen: FrozenTrial, objectives: Sequence[Objective]) -> Trial:
    """Read a trial of ours from Optuna's record."""
    attrs = frozen.user_attrs
    arch = Arch.from_json(json.loads(attrs["arch"])) if "arch" in attrs else None
    evaluation = (
        Evaluation.from_json(json.loads(attrs["evaluation"])) if "evaluation" in attrs else None
    )
    told = frozen.state == TrialState.COMPLETE
    return Trial(
        number=frozen.number,
        state="running"
        if frozen.state == TrialState.RUNNING
        else str(attrs.get("state", "failed")),
        reason=str(attrs.get("reason", "")),
        baseline=attrs.get("baseline"),
        arch=arch,
        costs=json.loads(attrs.get("costs", "{}")),
        values=dict(zip((o.name for o in objectives), frozen.values, strict=True)) if told else {},
        evaluation=evaluation,
    )


def _within(trial: Trial, limit: Limit) -> bool:
    value = limit.objective.read(trial.evaluation) if trial.evaluation else None
    return value is not None and limit.excess(value) <= 0
