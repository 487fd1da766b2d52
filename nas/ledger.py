"""How trials end: what is written of each, and how many have ended.

Every ending has a state of its own in Optuna's study: COMPLETE for the full budget alone, PRUNED
for "stopped", "inherited" and "infeasible", FAIL with a reason. Knows Optuna, not who proposes or
trains.
"""

import json
from collections.abc import Mapping, Sequence
from math import isfinite

import optuna
from optuna.trial import Trial as OpenTrial
from optuna.trial import TrialState

from nas.costs import Costs
from nas.evaluation import Evaluation, Latency
from nas.fidelity.early_stop import RESUMES
from nas.inheritance.lineage import lineage
from nas.objectives import Limit, Objective
from nas.sampler.history import INHERITED


class Ledger:
    """The endings of a study's trials.

    Args:
        study: to write to.
        objectives: of the study.
        limits: of the study.

    Attributes:
        counted: trials that count towards the total; infeasible proposals and repeats do not.
        lines: one for each trial that ended in this run, infeasible ones left out.
    """

    def __init__(
        self, study: optuna.Study, objectives: Sequence[Objective], limits: Sequence[Limit]
    ) -> None:
        self.study, self.objectives, self.limits = study, objectives, limits
        ended = [t for t in study.get_trials(deepcopy=False) if t.state.is_finished()]
        self.ended = len(ended)
        self.counted = sum(bool(t.user_attrs.get("counts")) for t in ended)
        self.lines: list[str] = []

    def trained(
        self,
        trial: OpenTrial,
        evaluation: Evaluation,
        state: str = "complete",
        *,
        counts: bool = True,
    ) -> None:
        """Tell what was measured; a trial is complete with its full budget and finite values alone.

        Args:
            trial: to end.
            evaluation: of its arch.
            state: "complete", or "reused" if another trial was trained.
            counts: whether it counts towards the total.
        """
        values = [o.read(evaluation) for o in self.objectives]
        numbers = [value for value in values if value is not None and isfinite(value)]
        if len(numbers) < len(values):
            self.failed(trial, f"an objective is not a number: {values}", counts=counts)
            return
        trial.set_user_attr("evaluation", json.dumps(evaluation.to_json()))
        self._set_constraints(trial, evaluation, evaluation.latency)
        if evaluation.full_budget:
            self._end(trial, TrialState.COMPLETE, state, counts=counts, values=numbers)
        elif evaluation.parent:
            told = {"values": numbers, "lineage": lineage(evaluation)}
            trial.set_user_attr(INHERITED, told)
            self._end(trial, TrialState.PRUNED, "inherited", self._begun(evaluation), counts=counts)
        else:
            reason = f"it ended after {evaluation.epochs} of {evaluation.full_epochs} epochs"
            self._end(trial, TrialState.PRUNED, "stopped", reason, counts=counts)

    def infeasible(self, trial: OpenTrial, costs: Costs, latency: Latency | None) -> None:
        """Tell how far beyond the limits a proposal is, so that the sampler learns."""
        self._set_constraints(trial, costs, latency)
        reason = broken_limit(self.limits, costs, latency)
        self._end(trial, TrialState.PRUNED, "infeasible", reason, counts=False)

    def stopped(
        self, trial: OpenTrial, costs: Costs, latency: Latency | None, reason: str, *, counts: bool
    ) -> None:
        """Tell that a training was ended before its budget."""
        self._set_constraints(trial, costs, latency)
        self._end(trial, TrialState.PRUNED, "stopped", reason, counts=counts)

    def failed(self, trial: OpenTrial, reason: str, *, counts: bool = True) -> None:
        """Tell why there is no measurement."""
        self._end(trial, TrialState.FAIL, "failed", reason, counts=counts)

    def _begun(self, evaluation: Evaluation) -> str:
        """Return what an inherited training began with and came to."""
        pairs = ((o.name, o.read(evaluation)) for o in self.objectives)
        values = ", ".join(f"{name} {value:.4g}" for name, value in pairs)
        parent = evaluation.parent.partition("-")[0]
        return f"{values} after {evaluation.epochs} epochs with the weights of arch {parent}"

    def _set_constraints(
        self, trial: OpenTrial, costs: Costs | Evaluation, latency: Latency | None
    ) -> None:
        """Hand the limits to the sampler; a latency that was not measured counts as just within."""
        known = trial.constraints  # not empty where a driver died before it told the rest
        excess: dict[str, float] = {}
        for limit in self.limits:
            value, name = _limited(limit, costs, latency), limit.objective.name
            above = 0.0 if value is None else limit.excess(value)
            excess[name] = max(above, excess.get(name, above))  # two limits may bound one cost
        for name in excess:
            if name not in known:
                trial.set_constraint(name, excess[name])

    def _end(
        self,
        trial: OpenTrial,
        told: TrialState,
        state: str,
        reason: str = "",
        *,
        counts: bool,
        values: Sequence[float] = (),
    ) -> None:
        counts = counts and RESUMES not in trial.user_attrs  # it counted when it was stopped
        attrs: Mapping[str, object] = {"state": state, "counts": counts, "reason": reason}
        for name, value in attrs.items():
            trial.set_user_attr(name, value)
        self.study.tell(trial, values or None, state=told)
        self.ended += 1
        self.counted += counts
        if state != "infeasible":
            scores = [f"{o.name} {v:.4g}" for o, v in zip(self.objectives, values, strict=False)]
            self.lines.append(f"trial {trial.number} {state}: {', '.join(scores) or reason}")


def broken_limit(limits: Sequence[Limit], costs: Costs, latency: Latency | None) -> str:
    """Return which limit is broken and how, or ""; a latency that was not measured breaks none."""
    for limit in limits:
        value = _limited(limit, costs, latency)
        if value is not None and limit.excess(value) > 0:
            name, unit = limit.objective.name, limit.objective.unit
            told = "predicted " if name == "latency" and latency and latency.predicted else ""
            return (
                f"{told}{name} is {value:.6g} {unit}".rstrip()
                + f", the limit {limit.bound:.6g} {unit}".rstrip()
            )
    return ""


def _limited(limit: Limit, costs: Costs | Evaluation, latency: Latency | None) -> float | None:
    if limit.objective.name == "latency":
        return latency.latency_ms if latency else None
    return limit.objective.read(costs)
