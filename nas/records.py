"""A trial of a study as everything outside the driver reads it."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from nas.evaluation import Evaluation
from search_spaces.core.arch import Arch

STATES = ("complete", "stopped", "inherited", "infeasible", "reused", "failed", "running")


@dataclass(frozen=True, slots=True)
class Trial:
    """One proposal of a study.

    Attributes:
        number: counted from 0.
        state: one of `STATES`. "reused" has the values of an equal arch trained before, here or in
            another study of the store; "stopped" ended before its budget; "inherited" began with
            the weights of another network, in a short plan; "infeasible" was never trained.
        reason: why it is infeasible, stopped or failed, and what it inherited; else "".
        baseline: name of the published network that the arch is, or None.
        arch: what was proposed; None if the driver died while proposing.
        costs: params, macs, memory_mib, known before training; empty without an arch.
        values: objective name -> value; empty unless complete or reused.
        evaluation: the measurement; None unless complete, reused, stopped or inherited.
    """

    number: int
    state: str
    reason: str
    baseline: str | None
    arch: Arch | None
    costs: Mapping[str, float]
    values: Mapping[str, float]
    evaluation: Evaluation | None

    @property
    def full_budget(self) -> bool:
        """Whether it was trained to the end of its budget, which a front demands."""
        return self.evaluation is not None and self.evaluation.full_budget

    def to_json(self) -> dict[str, Any]:
        """Return the row that `nas front --json` and `nas show --json` print."""
        e = self.evaluation
        latency = e.latency if e else None
        return {
            "trial": self.number,
            "arch_key": self.arch.key if self.arch else None,
            "baseline": self.baseline,
            "state": self.state,
            "reason": self.reason,
            "values": dict(self.values),
            "dice": e.dice if e else None,
            "iou": e.iou if e else None,
            "dice_per_class": list(e.dice_per_class) if e else None,
            "params": self.costs.get("params"),
            "macs": self.costs.get("macs"),
            "memory_mib": self.costs.get("memory_mib"),
            "latency_ms": latency.latency_ms if latency else None,
            "latency_interval_ms": [latency.low_ms, latency.high_ms] if latency else None,
            "latency_predicted": latency.predicted if latency else None,
            "epochs": e.epochs if e else 0,
            "best_epoch": e.best_epoch if e else None,
            "full_budget": self.full_budget,
            "seed": e.seed if e else None,
            "train_seconds": e.train_seconds if e else None,
        }


def count_states(trials: Iterable[Trial]) -> dict[str, int]:
    """Return how many trials are in each state."""
    found = Counter(trial.state for trial in trials)
    return {state: found[state] for state in STATES}
