"""Who inherits from whom in a study, and who is trained in full afterwards; see `lineage`.

All of it is kept with the trials: a trial notes its parent before its training begins, so a killed
one begins the same again. Published networks are trained from scratch, and so is what shares less
than half of its parameters with every trained network.
"""

import json
from collections.abc import Sequence

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState
from optuna.trial import Trial as OpenTrial

from nas.evaluation import Evaluation
from nas.inheritance.lineage import Parent, short_epochs
from nas.inheritance.nearest import nearest
from nas.objectives import Objective
from nas.pareto import front_mask
from nas.settings import Study
from nas.store import Store
from search_spaces.core.arch import Arch

_PARENT = "parent"  # attribute of a trial: JSON of its parent, null where it has none
_IN_FULL = "in_full"  # attribute of a trial: key of the inherited arch that it trains from scratch
_LEAST = 0.5  # share of the parameters that a parent must have


class Ancestors:
    """The lineages of a study.

    Args:
        optuna_study: its trials.
        study: its settings.
        store: where weights are.
        objectives: of the study.
    """

    def __init__(
        self,
        optuna_study: optuna.Study,
        study: Study,
        store: Store,
        objectives: Sequence[Objective],
    ) -> None:
        self._trials, self._store, self._objectives = optuna_study, store, objectives
        self._wanted = study.inherit and short_epochs(study.epochs) < study.epochs
        self._read: dict[int, Parent] = {}  # trial -> what it could be to others

    def parent(self, trial: OpenTrial, arch: Arch) -> Parent | None:
        """Return whom a trial inherits from, None for a full training from scratch; keep it."""
        if not self._wanted:
            return None
        if _PARENT not in trial.user_attrs:
            scratch = {"baseline", _IN_FULL} & set(trial.user_attrs)
            chosen = None if scratch else self._choose(trial, arch)
            trial.set_user_attr(_PARENT, chosen.to_json() if chosen else None)
        found = trial.user_attrs[_PARENT]
        return Parent.from_json(found) if found else None

    def counts(self, trial: OpenTrial, evaluation: Evaluation) -> bool:
        """Whether an inherited trial is the last word on its arch, and so counts.

        Otherwise the trial that trains it from scratch, which waits in the study from now on, does.
        """
        again = [t for t in self._all() if t.user_attrs.get(_IN_FULL) == evaluation.arch_key]
        if not again and self._is_beaten(evaluation):
            return True
        if not again:
            attrs = {_IN_FULL: evaluation.arch_key}
            self._trials.enqueue_trial(dict(trial.params), user_attrs=attrs)
        return False

    def _choose(self, trial: OpenTrial, arch: Arch) -> Parent | None:
        trials = [t for t in self._all() if "evaluation" in t.user_attrs]
        for other in trials:  # the same arch, proposed before
            if _arch_key(other) == arch.key and other.user_attrs.get(_PARENT):
                return Parent.from_json(other.user_attrs[_PARENT])
        parents = {p.weights: p for p in map(self._as_parent, trials) if p.arch.key != arch.key}
        there = [p for p in parents.values() if self._store.path("weights", p.weights).exists()]
        if not there:
            return None
        best, share = nearest(arch, [p.arch for p in there])
        return there[best] if share >= _LEAST else None

    def _as_parent(self, trial: FrozenTrial) -> Parent:
        if trial.number not in self._read:
            evaluation = Evaluation.from_json(json.loads(trial.user_attrs["evaluation"]))
            arch = Arch.from_json(json.loads(trial.user_attrs["arch"]))
            self._read[trial.number] = Parent(arch, evaluation.weights, evaluation.lineage_steps)
        return self._read[trial.number]

    def _is_beaten(self, evaluation: Evaluation) -> bool:
        """Whether a fully trained network is at least as good in every objective."""
        full = [t.values for t in self._all() if t.state == TrialState.COMPLETE]
        own = [objective.read(evaluation) for objective in self._objectives]
        values = np.array([*full, own], dtype=float)
        directions = [objective.direction for objective in self._objectives]
        return not (np.isfinite(values[-1]).all() and front_mask(values, directions)[-1])

    def _all(self) -> list[FrozenTrial]:
        return self._trials.get_trials(deepcopy=False)


def _arch_key(trial: FrozenTrial) -> str:
    return str(json.loads(trial.user_attrs["evaluation"])["arch_key"])
