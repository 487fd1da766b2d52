"""A study, driven: propose candidates, record what became of them. Knows Optuna, not who trains.

A trial that was running when a driver died is taken up again under its number.
"""

import json
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial

from optuna.samplers import BaseSampler
from optuna.trial import Trial as OpenTrial
from optuna.trial import TrialState

import search_spaces
from nas.costs import Costs, measure_costs
from nas.data import Prepared
from nas.dimensions import suggest
from nas.earlier_results import earlier_results
from nas.evaluation import Evaluation, Latency
from nas.fidelity.ceiling import two_seeds
from nas.fidelity.curve_gain import CurveGain
from nas.fidelity.early_stop import EarlyStop, curve_reader
from nas.fidelity.rungs import rung_epochs
from nas.inheritance.ancestors import Ancestors
from nas.inheritance.lineage import Parent
from nas.latency.forecast import Forecast, is_timed
from nas.ledger import Ledger, broken_limit
from nas.objectives import find_objectives, parse_limit
from nas.opening import load_or_create
from nas.pretrained import Published
from nas.sampler.by_name import make_sampler
from nas.sampler.problem import Problem
from nas.settings import Study
from nas.store import Known, Store
from nas.study_problem import study_problem
from search_spaces.core.arch import Arch
from search_spaces.core.space import Baseline, Point, Space

PROPOSALS_PER_TRIAL = 50
_FIRST_SEEDS = 3


@dataclass(frozen=True, slots=True)
class Proposal:
    """A candidate that is worth training.

    Attributes:
        trial: where the study waits for the outcome.
        arch: what to train.
        costs: of the arch.
        latency: of the arch on this rig, if it was measured before.
        known: an earlier training of the same arch, recipe and seed, which lacks only the latency.
        parent: whose weights to begin with, in a short plan; None: from scratch, in full.
    """

    trial: OpenTrial
    arch: Arch
    costs: Costs
    latency: Latency | None
    known: Known | None
    parent: Parent | None = None

    @property
    def number(self) -> int:
        """Of the trial."""
        return self.trial.number


class StudyDriver:
    """The one writer of a study.

    Args:
        store: where the study is or will be.
        study: its settings.
        prepared: its data.
        rig: key of the machine that measures latency.
        trials: total number of trials that the study shall end with.
        revision: of the code, for the record.
        forecast: predicts latency, where the study has a calibration.

    Raises:
        StudyMismatch: the study exists with other settings.
        InvalidInput: the name belongs to a study that no search of ours made.
    """

    def __init__(
        self,
        store: Store,
        study: Study,
        prepared: Prepared,
        *,
        rig: str,
        trials: int,
        revision: str,
        forecast: Forecast | None = None,
    ) -> None:
        self.store, self.study, self.prepared = store, study, prepared
        self.rig, self.trials, self.forecast = rig, trials, forecast
        self.space: Space = search_spaces.load(study.space)
        objectives = find_objectives(study.objectives)
        self.limits = tuple(parse_limit(text) for text in study.constraints)
        self.timed = is_timed(study)
        self.recipe_key = study.recipe_key(prepared.fingerprint)
        self._published = Published()
        self._names = {
            self._of(baseline.point).key: name
            for name, baseline in reversed(list(self.space.baselines.items()))
        }
        self.optuna_study = load_or_create(store, study, prepared, revision)
        self._rungs = rung_epochs(study.fidelity, study.epochs)
        self.optuna_study.sampler = self._sampler()
        self.ledger = Ledger(self.optuna_study, objectives, self.limits)
        self.early_stop = EarlyStop(
            self.optuna_study,
            objectives,
            self._rungs,
            gains=CurveGain(self.optuna_study, self._problem)
            if study.fidelity == "model"
            else None,
            ceiling=partial(two_seeds, store, study.name),
            say=self.ledger.lines.append,
        )
        self.ancestors = Ancestors(self.optuna_study, study, store, objectives)
        self.proposals = self.ledger.ended
        # arch key -> its twins, which wait for its end
        self._in_training: dict[str, list[OpenTrial]] = {}
        self._orphans = deque(self.optuna_study.get_trials(states=[TrialState.RUNNING]))
        self._enqueue_baselines()

    @property
    def finished(self) -> bool:
        """Whether enough trials have ended or are in training, or proposing has become hopeless."""
        if self._orphans:
            return False
        enough = self.ledger.counted + len(self._in_training) >= self.trials
        return enough or self.exhausted

    @property
    def ended(self) -> bool:
        """Whether the study has its trials, or proposing has become hopeless."""
        return self.ledger.counted >= self.trials or self.exhausted

    @property
    def exhausted(self) -> bool:
        """Whether the limit of proposals is reached, 50 for each trial."""
        return self.proposals >= PROPOSALS_PER_TRIAL * self.trials

    def propose(self) -> Proposal | None:
        """Take the next point, those that a dead driver left first; return it if it needs training.

        What breaks a limit or is known already is told to the study instead, and None returned.
        """
        if self._orphans:
            trial = OpenTrial(self.optuna_study, self._orphans.popleft()._trial_id)
        else:
            trial = self.optuna_study.ask()
        self.proposals += 1
        return self._admit(trial, self._arch(trial))

    def record(self, proposal: Proposal, evaluation: Evaluation, work: Mapping[str, float]) -> None:
        """Keep a finished training and tell the study.

        Args:
            proposal: what was trained.
            evaluation: what was measured.
            work: process id of the worker and when it began and ended, seconds since the epoch.
        """
        if evaluation.latency and not evaluation.latency.predicted:
            self.store.add_latency(evaluation.arch_key, self.study.size, evaluation.latency)
        if proposal.known is None:
            key = proposal.parent.key(self.recipe_key) if proposal.parent else self.recipe_key
            self.store.add_evaluation(evaluation, key, self.study.name, proposal.number)
        proposal.trial.set_user_attr("work", dict(work))
        self._tell(proposal.trial, evaluation, proposal.known)
        for twin in self._in_training.pop(proposal.arch.key):
            self.ledger.trained(twin, evaluation, "reused", counts=False)

    def reject(self, proposal: Proposal, latency: Latency) -> None:
        """Tell the study that a candidate was measured to be too slow to be trained."""
        self.store.add_latency(proposal.arch.key, self.study.size, latency)
        for trial in (proposal.trial, *self._in_training.pop(proposal.arch.key)):
            self.ledger.infeasible(trial, proposal.costs, latency)

    def stop(self, proposal: Proposal, epoch: int) -> None:
        """Tell the study that a candidate was not among the better ones at a rung."""
        for trial in (proposal.trial, *self._in_training.pop(proposal.arch.key)):
            counts = trial is proposal.trial
            self._stop(trial, epoch, proposal.costs, proposal.latency, counts=counts)

    def _stop(
        self, trial: OpenTrial, epoch: int, costs: Costs, latency: Latency | None, *, counts: bool
    ) -> None:
        reason = f"not in the better half after {epoch} of {self.study.epochs} epochs"
        self.ledger.stopped(trial, costs, latency, reason, counts=counts)

    def fail(self, proposal: Proposal, reason: str) -> None:
        """Tell the study that a candidate could not be trained."""
        self.ledger.failed(proposal.trial, reason)
        for twin in self._in_training.pop(proposal.arch.key):
            self.ledger.failed(twin, reason, counts=False)

    def _sampler(self) -> BaseSampler:
        # A continued study must not repeat the random numbers that it began with.
        seed = self.study.seed + len(self.optuna_study.get_trials(deepcopy=False))
        return make_sampler(self.study.sampler, seed, lambda: self._problem)

    @cached_property
    def _problem(self) -> Problem:
        """What samplers and the rule "model" have to know."""
        objectives = find_objectives(self.study.objectives)
        return study_problem(
            self.space,
            self._of,
            lambda arch: self.store.costs(arch.key, self.study.size),
            self._costs,
            objectives,
            self.limits,
            self.study.size,
            earlier_results(self.study.warm_start, self.store, self.space, objectives, self._of),
            curve_reader(self._rungs),
            self.forecast,
            self.study.inherit,
        )

    def _enqueue_baselines(self) -> None:
        if not self.study.baselines:
            return
        present = {
            t.user_attrs.get("baseline") for t in self.optuna_study.get_trials(deepcopy=False)
        }
        for name, baseline in self._wanted_seeds():
            if name not in present:
                self.optuna_study.enqueue_trial(dict(baseline.point), user_attrs={"baseline": name})

    def _wanted_seeds(self) -> Iterator[tuple[str, Baseline]]:
        """Yield the first three seeds, and more where limits and a quarter of the trials allow."""
        for i, (name, baseline) in enumerate(self.space.seeds()):
            arch = self._of(baseline.point)
            fits = not broken_limit(self.limits, self._costs(arch), None)
            if i < _FIRST_SEEDS or (fits and i < self.trials // 4):
                yield name, baseline

    def _arch(self, trial: OpenTrial) -> Arch:
        arch = self._of(suggest(trial, self.space))
        if "costs" not in trial.user_attrs:
            if arch.key in self._names and "baseline" not in trial.user_attrs:
                trial.set_user_attr("baseline", self._names[arch.key])
            trial.set_user_attr("arch", json.dumps(arch.to_json()))
            trial.set_user_attr("costs", json.dumps(asdict(self._costs(arch))))
        return arch

    def _of(self, point: Point) -> Arch:
        """Return the arch of a point as it can be trained here."""
        arch = self.space.arch(point, self.prepared.in_channels, self.prepared.classes)
        return self._published.usable(arch)

    def _admit(self, trial: OpenTrial, arch: Arch) -> Proposal | None:
        """Decide without training where that is possible."""
        costs = self._costs(arch)
        stored = self.store.latency(arch.key, self.study.size, self.rig) if self.timed else None
        latency = self.forecast.latency(arch) if self.forecast and self.forecast.final else stored
        told = latency or (self.forecast.too_slow(arch, self.limits) if self.forecast else None)
        if broken_limit(self.limits, costs, told):
            self.ledger.infeasible(trial, costs, told)
            return None
        found, parent = self.store.evaluation(arch.key, self.recipe_key), None
        if not found and arch.key not in self._in_training:
            parent = self.ancestors.parent(trial, arch)
        if parent:
            found = self.store.evaluation(arch.key, parent.key(self.recipe_key))
        if found and (latency or not self.timed):
            self._tell(trial, replace(found.evaluation, latency=latency), found)
            return None
        if halted := self.early_stop.halted(trial):  # a driver died before it told so
            self._stop(trial, halted, costs, latency, counts=True)
            return None
        if arch.key in self._in_training:
            self._in_training[arch.key].append(trial)
            return None
        self._in_training[arch.key] = []
        return Proposal(trial, arch, costs, latency, found, parent)

    def _tell(self, trial: OpenTrial, evaluation: Evaluation, known: Known | None) -> None:
        """Tell an evaluation; the known one is the trial's own if a driver died before telling."""
        here = known is not None and known.study == self.study.name
        own = known is None or (here and known.trial == trial.number)
        counts = own or not here
        if evaluation.parent:
            counts = self.ancestors.counts(trial, evaluation) and counts
        self.ledger.trained(trial, evaluation, "complete" if own else "reused", counts=counts)

    def _costs(self, arch: Arch) -> Costs:
        costs = self.store.costs(arch.key, self.study.size)
        if costs is None:
            costs = measure_costs(arch, self.study.size)
            self.store.add_costs(arch.key, self.study.size, costs)
        return costs
