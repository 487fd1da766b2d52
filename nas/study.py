"""A study, driven: propose candidates, record what became of them. Knows Optuna, not who trains.

Every ending goes into Optuna's study with a state of its own: COMPLETE for the full budget alone, PRUNED for
"stopped" and "infeasible", FAIL with a reason. A trial that was running when a driver died is taken up again
under its number.
"""

import json
from collections import defaultdict, deque
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from math import isfinite

import optuna
from optuna.trial import FrozenTrial, TrialState
from optuna.trial import Trial as OpenTrial

import search_spaces
from nas.costs import Costs, measure_costs
from nas.data import Prepared
from nas.dimensions import distributions
from nas.evaluation import Evaluation, Latency
from nas.handle import load_optuna_study, open_storage
from nas.objectives import find_objectives, parse_limit
from nas.sampling import make_sampler
from nas.settings import Study
from nas.store import Store
from search_spaces.core.arch import Arch
from search_spaces.core.space import Baseline, Space

_PROPOSALS_PER_TRIAL = 50
_FIRST_SEEDS = 3


@dataclass(frozen=True, slots=True)
class Proposal:
    """A candidate that is worth training.

    Attributes:
        number: of the trial.
        arch: what to train.
        costs: of the arch.
        latency: of the arch on this rig, if it was measured before.
        known: an earlier training of the same arch, recipe and seed, which lacks only the latency.
    """

    number: int
    arch: Arch
    costs: Costs
    latency: Latency | None
    known: Evaluation | None


class StudyDriver:
    """The one writer of a study.

    Args:
        store: where the study is or will be.
        study: its settings.
        prepared: its data.
        rig: key of the machine that measures latency.
        trials: total number of trials that the study shall end with.
        revision: of the code, for the record.

    Raises:
        StudyMismatch: the study exists with other settings.
    """

    def __init__(
        self, store: Store, study: Study, prepared: Prepared, *, rig: str, trials: int, revision: str
    ) -> None:
        self.store, self.study, self.prepared, self.rig, self.trials = store, study, prepared, rig, trials
        self.space: Space = search_spaces.load(study.space)
        self.objectives = find_objectives(study.objectives)
        self.limits = tuple(parse_limit(text) for text in study.constraints)
        self.timed = "latency" in {*study.objectives, *(limit.objective.name for limit in self.limits)}
        self.recipe_key = study.recipe_key(prepared.fingerprint)
        self.distributions = distributions(self.space)
        self.optuna_study = self._open(revision)
        self._open_trials: dict[int, OpenTrial] = {}
        self._in_training: dict[str, int] = {}  # arch key -> trial
        self._twins: dict[str, list[int]] = defaultdict(list)
        self._orphans = deque(self.optuna_study.get_trials(states=[TrialState.RUNNING]))
        self.proposals = len(self.optuna_study.get_trials(deepcopy=False, states=_TOLD))
        self.counted = self._count()
        self.endings: list[str] = []  # one line for each trial that ended in this run, infeasible ones left out
        self._enqueue_baselines()

    @property
    def finished(self) -> bool:
        """Whether enough trials have ended or are in training, or proposing has become hopeless."""
        if self._orphans:
            return False
        enough = self.counted + len(self._in_training) >= self.trials
        return enough or self.exhausted

    @property
    def ended(self) -> bool:
        """Whether the study has its trials, or proposing has become hopeless."""
        return self.counted >= self.trials or self.exhausted

    @property
    def exhausted(self) -> bool:
        """Whether the limit of proposals is reached, 50 for each trial."""
        return self.proposals >= _PROPOSALS_PER_TRIAL * self.trials

    def propose(self) -> Proposal | None:
        """Take the next point; return it if it needs training.

        What breaks a limit or is known already is told to the study instead, and None returned.
        """
        if self._orphans:
            return self._adopt(self._orphans.popleft())
        trial = self.optuna_study.ask(fixed_distributions=dict(self.distributions))
        self._open_trials[trial.number] = trial
        self.proposals += 1
        return self._admit(trial.number, self._arch(trial))

    def record(self, proposal: Proposal, evaluation: Evaluation, work: Mapping[str, float]) -> None:
        """Keep a finished training and tell the study.

        Args:
            proposal: what was trained.
            evaluation: what was measured.
            work: process id of the worker and when it began and ended, seconds since the epoch.
        """
        if evaluation.latency:
            size = self.study.size
            self.store.add_latency(evaluation.arch_key, size, evaluation.latency)
        self.store.add_evaluation(evaluation, self.recipe_key, self.study.name, proposal.number)
        self._in_training.pop(proposal.arch.key, None)
        self._open_trials[proposal.number].set_user_attr("work", dict(work))
        self._tell(proposal.number, "complete", evaluation)
        for twin in self._twins.pop(proposal.arch.key, []):
            self._tell(twin, "reused", evaluation, counts=False)

    def reject(self, proposal: Proposal, latency: Latency) -> bool:
        """Tell the study that a measured latency breaks a limit; False if it does not."""
        self.store.add_latency(proposal.arch.key, self.study.size, latency)
        reason = self._broken_limit(proposal.costs, latency)
        if reason:
            self._in_training.pop(proposal.arch.key, None)
            for number in (proposal.number, *self._twins.pop(proposal.arch.key, [])):
                self._tell_infeasible(number, proposal.costs, latency, reason)
        return bool(reason)

    def fail(self, proposal: Proposal, reason: str) -> None:
        """Tell the study that a candidate could not be trained."""
        self._in_training.pop(proposal.arch.key, None)
        self._end(proposal.number, TrialState.FAIL, "failed", reason)
        for twin in self._twins.pop(proposal.arch.key, []):
            self._end(twin, TrialState.FAIL, "failed", reason, counts=False)

    def _open(self, revision: str) -> optuna.Study:
        name = self.study.name
        storage = open_storage(self.store)
        exists = name in optuna.get_all_study_names(storage=storage)
        if not exists:
            created = optuna.create_study(
                study_name=name, storage=storage, directions=[o.direction for o in self.objectives]
            )
            created.set_metric_names([o.name for o in self.objectives])
        found = load_optuna_study(self.store, name)
        if "study" in found.user_attrs:
            self.study.check_same(Study.from_json(json.loads(found.user_attrs["study"])))
        else:
            found.set_user_attr("revision", revision)
            found.set_user_attr("prepared", json.dumps(self.prepared.to_json()))
            found.set_user_attr("study", json.dumps(self.study.to_json()))
        # A continued study must not repeat the random numbers that it began with.
        seed = self.study.seed + len(found.get_trials(deepcopy=False))
        return load_optuna_study(self.store, name, make_sampler(self.study.sampler, seed))

    def _enqueue_baselines(self) -> None:
        if not self.study.baselines:
            return
        present = {t.user_attrs.get("baseline") for t in self.optuna_study.get_trials(deepcopy=False)}
        for name, baseline in self._wanted_seeds():
            if name not in present:
                self.optuna_study.enqueue_trial(dict(baseline.point), user_attrs={"baseline": name})

    def _wanted_seeds(self) -> Iterator[tuple[str, Baseline]]:
        """Yield the first three seeds, and more where limits and a quarter of the trials allow."""
        for i, (name, baseline) in enumerate(self.space.seeds()):
            arch = self.space.arch(baseline.point, self.prepared.in_channels, self.prepared.classes)
            fits = not self._broken_limit(self._costs(arch), None)
            if i < _FIRST_SEEDS or (fits and i < self.trials // 4):
                yield name, baseline

    def _adopt(self, orphan: FrozenTrial) -> Proposal | None:
        """Take up a trial that was running when a driver died."""
        trial = OpenTrial(self.optuna_study, orphan._trial_id)
        self._open_trials[orphan.number] = trial
        self.proposals += 1
        missing = [name for name in self.distributions if name not in orphan.params]
        if missing:
            if "baseline" in orphan.user_attrs:
                self._reenqueue(orphan.user_attrs["baseline"])
            reason = "the driver died while proposing it"
            self._end(orphan.number, TrialState.FAIL, "failed", reason, counts=False)
            return None
        return self._admit(orphan.number, self._arch(trial))

    def _reenqueue(self, baseline: str) -> None:
        point = dict(self.space.baseline(baseline).point)
        self.optuna_study.enqueue_trial(point, user_attrs={"baseline": baseline})

    def _arch(self, trial: OpenTrial) -> Arch:
        arch = self.space.arch(trial.params, self.prepared.in_channels, self.prepared.classes)
        if "arch" not in trial.user_attrs:
            trial.set_user_attr("arch", json.dumps(arch.to_json()))
            trial.set_user_attr("costs", json.dumps(asdict(self._costs(arch))))
        return arch

    def _admit(self, number: int, arch: Arch) -> Proposal | None:
        """Decide without training where that is possible."""
        costs = self._costs(arch)
        latency = self.store.latency(arch.key, self.study.size, self.rig) if self.timed else None
        reason = self._broken_limit(costs, latency)
        if reason:
            self._tell_infeasible(number, costs, latency, reason)
            return None
        found = self.store.evaluation(arch.key, self.recipe_key)
        known = replace(found.evaluation, latency=latency) if found else None
        if found and known and (latency or not self.timed):
            mine = (found.study, found.trial) == (self.study.name, number)
            repeat = found.study == self.study.name and not mine
            self._tell(number, "complete" if mine else "reused", known, counts=not repeat)
            return None
        if arch.key in self._in_training:
            self._twins[arch.key].append(number)
            return None
        self._in_training[arch.key] = number
        return Proposal(number, arch, costs, latency, known)

    def _costs(self, arch: Arch) -> Costs:
        costs = self.store.costs(arch.key, self.study.size)
        if costs is None:
            costs = measure_costs(arch, self.study.size)
            self.store.add_costs(arch.key, self.study.size, costs)
        return costs

    def _broken_limit(self, costs: Costs, latency: Latency | None) -> str:
        for limit in self.limits:
            timed = limit.objective.name == "latency"
            value = (latency.latency_ms if latency else None) if timed else limit.objective.read(costs)
            if value is not None and limit.excess(value) > 0:
                unit = f" {limit.objective.unit}" if limit.objective.unit else ""
                return f"{limit.objective.name} is {value:.6g}{unit}, the limit {limit.bound:.6g}{unit}"
        return ""

    def _tell(self, number: int, state: str, evaluation: Evaluation, *, counts: bool = True) -> None:
        """Tell what was measured; only the full budget completes a trial."""
        values = [o.read(evaluation) for o in self.objectives]
        numbers = [value for value in values if value is not None and isfinite(value)]
        if len(numbers) < len(values):
            reason = f"an objective is not a number: {values}"
            self._end(number, TrialState.FAIL, "failed", reason, counts=counts)
            return
        self._open_trials[number].set_user_attr("evaluation", json.dumps(evaluation.to_json()))
        self._set_constraints(number, evaluation, evaluation.latency)
        if evaluation.full_budget:
            self._end(number, TrialState.COMPLETE, state, values=numbers, counts=counts)
        else:
            reason = f"it ended after {evaluation.epochs} of {evaluation.full_epochs} epochs"
            self._end(number, TrialState.PRUNED, "stopped", reason, counts=counts)

    def _tell_infeasible(self, number: int, costs: Costs, latency: Latency | None, reason: str) -> None:
        self._set_constraints(number, costs, latency)
        self._end(number, TrialState.PRUNED, "infeasible", reason, counts=False)

    def _set_constraints(self, number: int, costs: Costs | Evaluation, latency: Latency | None) -> None:
        """Hand the limits to the sampler; a latency that was not measured counts as just within."""
        trial = self._open_trials[number]
        for limit in self.limits:
            name = limit.objective.name
            if name == "latency":
                excess = limit.excess(latency.latency_ms) if latency else 0.0
            else:
                excess = limit.excess(limit.objective.read(costs) or 0.0)
            trial.set_constraint(name, excess)

    def _end(
        self,
        number: int,
        told: TrialState,
        state: str,
        reason: str = "",
        *,
        values: list[float] | None = None,
        counts: bool = True,
    ) -> None:
        """End a trial; one that does not count towards the total is a repeat or was never trained."""
        trial = self._open_trials.pop(number)
        trial.set_user_attr("state", state)
        trial.set_user_attr("counts", counts)
        if reason:
            trial.set_user_attr("reason", reason)
        self.optuna_study.tell(trial, values, state=told)
        self.counted += counts
        if state != "infeasible":
            scores = ", ".join(f"{o.name} {v:.4g}" for o, v in zip(self.objectives, values or [], strict=False))
            self.endings.append(f"trial {number} {state}: {scores or reason}")

    def _count(self) -> int:
        ended = self.optuna_study.get_trials(deepcopy=False, states=_TOLD)
        return sum(bool(t.user_attrs.get("counts")) for t in ended)


_TOLD = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
