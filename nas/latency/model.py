"""Predicted time of a network that was never built, from the times of others on the same rig.

    time = exp(residual(network)) * sum over operators of the operator's time

An operator's time is looked up where the same call was timed inside another network; else it is
1, macs, numbers read and written with non-negative weights for its name, times the exponential of a
Gaussian process on the logarithms of its sizes. The residual is a process on five facts of the
network: what the sum leaves out, such as calls of Python and what is left in the caches.

Where a runtime tells totals alone (ONNX Runtime merges operators), the weights are fitted to whole
networks, one set for each group of operators.

Processes are those of `nas.sampler.surrogate`: scikit-learn, which has others, is no dependency of
a search. Source: sums over operators with a correction for the network: Zhang et al., nn-Meter,
MobiSys 2021, section 4 (there fused kernels and random forests); that sums of layers alone are
imprecise: Dudziak et al., BRP-NAS, NeurIPS 2020, section 3.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Self

import numpy as np

from nas.latency.operators import GROUPS, Operator, operator_table
from nas.pareto import Floats
from nas.sampler.similarity import Inputs, Similarity
from nas.sampler.surrogate import Parameters, Surrogate, fit
from search_spaces.core.arch import Arch

_MOST = 800  # calls that a process is built on
LEAST_MS = 1e-4  # of one operator: below what a clock tells
_SIMILARITY = Similarity((np.ones((1, 1)),))  # no genes: one that is always the same


@dataclass(frozen=True, slots=True)
class Accuracy:
    """What predictions were worth on random networks that were not fitted.

    Attributes:
        space: of the networks; "" for all of them.
        count: networks.
        median: of the relative error |predicted / measured - 1|.
        ninety: its 90th percentile.
        spearman: rank correlation of predicted and measured times.
    """

    space: str
    count: int
    median: float
    ninety: float
    spearman: float

    @classmethod
    def of(cls, space: str, predicted: Floats, measured: Floats) -> Self:
        """Compare two networks or more."""
        from scipy.stats import spearmanr  # takes a second, and most commands do without

        errors = np.abs(predicted / measured - 1)
        varied = np.ptp(predicted) > 0 and np.ptp(measured) > 0  # else there are no ranks
        found = float(spearmanr(predicted, measured).statistic) if varied else 0.0
        low, high = np.quantile(errors, [0.5, 0.9])
        return cls(space, len(errors), float(low), float(high), found)

    def __str__(self) -> str:
        """Return one line."""
        return (
            f"median error {self.median:.1%}, 90 % within {self.ninety:.1%}, "
            f"Spearman {self.spearman:.3f} on {self.count} networks that were not fitted"
        )


@dataclass(frozen=True)
class Process:
    """A Gaussian process on plain numbers.

    Attributes:
        surrogate: holds the numbers as costs.
    """

    surrogate: Surrogate

    @classmethod
    def of(cls, rows: Floats, values: Floats) -> Self:
        """Fit to at most `_MOST` rows, evenly over the order of their values.

        Shape: (n, facts), (n,)
        """
        if len(rows) > _MOST:
            chosen = np.argsort(values)[np.linspace(0, len(rows) - 1, _MOST).round().astype(int)]
            rows, values = rows[chosen], values[chosen]
        order = np.random.default_rng(0).permutation(len(rows))
        inputs, values = _inputs(rows[order]), values[order]
        ones = np.ones(len(values))
        parameters = fit(_SIMILARITY, inputs, values, ones)
        return cls(Surrogate(_SIMILARITY, parameters, inputs, values, ones))

    def predict(self, rows: Floats) -> Floats:
        """Return the mean at points.

        Shape: (n, facts) -> (n,)
        """
        return self.surrogate.predict(_inputs(rows))[0]

    def to_json(self) -> dict[str, Any]:
        """Return plain data that `from_json` reads back."""
        found = self.surrogate
        parameters = asdict(found.parameters) | {"relevance": list(found.parameters.relevance)}
        rows = found.inputs.costs.tolist()
        return {"parameters": parameters, "rows": rows, "values": found.values.tolist()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read the JSON form."""
        relevance = np.array(data["parameters"]["relevance"])
        parameters = Parameters(**{**data["parameters"], "relevance": relevance})
        values = np.array(data["values"])
        inputs = _inputs(np.array(data["rows"]))
        return cls(Surrogate(_SIMILARITY, parameters, inputs, values, np.ones(len(values))))


def _inputs(rows: Floats) -> Inputs:
    return Inputs(np.zeros((len(rows), 1), dtype=np.intp), rows)


@dataclass(frozen=True, slots=True)
class Kind:
    """The time of operators of one name, or of one group.

    Attributes:
        weights: of `Operator.terms`, ms.
        process: of the logarithm of what they leave to explain; None: too few were seen.
    """

    weights: tuple[float, ...]
    process: Process | None = None

    def predict(self, operators: Sequence[Operator]) -> Floats:
        """Return the milliseconds of each operator."""
        times = np.maximum(to_terms(operators) @ np.array(self.weights), LEAST_MS)
        if self.process is not None:
            times = times * np.exp(self.process.predict(to_logs(operators)))
        return np.asarray(times)

    def to_json(self) -> dict[str, Any]:
        """Return plain data that `from_json` reads back."""
        process = self.process.to_json() if self.process else None
        return {"weights": list(self.weights), "process": process}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read the JSON form."""
        process = Process.from_json(data["process"]) if data["process"] else None
        return cls(tuple(data["weights"]), process)


@dataclass(frozen=True)
class LatencyModel:
    """Times of operators on one rig, and what they become in a network.

    Attributes:
        rig: the machine, as `measure.describe_rig` says it.
        size: side of the input, pixels.
        table: key of each operator that was timed -> ms.
        kinds: name of an operator -> its time where the call was not timed.
        groups: the same for operators of names that were never timed.
        residual: of networks; None: too few were timed.
        accuracy: on networks that were not fitted: first over all, then of each space.
    """

    rig: Mapping[str, Any]
    size: int
    table: Mapping[str, float]
    kinds: Mapping[str, Kind]
    groups: Mapping[str, Kind]
    residual: Process | None = None
    accuracy: tuple[Accuracy, ...] = ()
    _times: dict[Operator, float] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_times", {})

    def predict(self, arch: Arch) -> float:
        """Return the milliseconds of one forward pass of one image.

        Raises:
            InvalidInput: a block refuses its channels.
        """
        facts, total = self.facts(arch)
        if self.residual is None:
            return total
        return total * math.exp(float(self.residual.predict(facts[None])[0]))

    def facts(self, arch: Arch) -> tuple[Floats, float]:
        """Return what the residual depends on, and the sum over operators, ms."""
        operators = operator_table(self.size).operators(arch)
        self._learn(operators)
        by_group = dict.fromkeys(GROUPS, 0.0)
        for operator in operators:
            by_group[operator.group] += self._times[operator]
        total = sum(by_group.values())
        small, large = by_group["view"] + by_group["map"], by_group["dense"] + by_group["pointwise"]
        shares = [2 * part / total for part in (small, large, by_group["depthwise"])]
        return np.array([math.log(total) / 2, math.log(len(operators)) / 2, *shares]), total

    def _learn(self, operators: Iterable[Operator]) -> None:
        """Look up or predict the times of operators that were not asked for before."""
        new: dict[str, list[Operator]] = {}
        for operator in dict.fromkeys(operators):
            if operator in self._times:
                continue
            if operator.key in self.table:
                self._times[operator] = self.table[operator.key]
            else:
                new.setdefault(operator.name, []).append(operator)
        for name, found in new.items():
            for group in {o.group for o in found}:
                same = [o for o in found if o.group == group]
                kind = self.kinds.get(name) or self.groups[group]
                self._times.update(zip(same, map(float, kind.predict(same)), strict=True))

    def to_json(self) -> dict[str, Any]:
        """Return plain data that `from_json` reads back."""
        return {
            "rig": dict(self.rig),
            "size": self.size,
            "table": dict(self.table),
            "kinds": {name: kind.to_json() for name, kind in self.kinds.items()},
            "groups": {name: kind.to_json() for name, kind in self.groups.items()},
            "residual": self.residual.to_json() if self.residual else None,
            "accuracy": [asdict(found) for found in self.accuracy],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read the JSON form."""
        kinds, groups = (
            {name: Kind.from_json(kind) for name, kind in data[part].items()}
            for part in ("kinds", "groups")
        )
        residual = Process.from_json(data["residual"]) if data["residual"] else None
        accuracy = tuple(Accuracy(**found) for found in data["accuracy"])
        return cls(data["rig"], data["size"], data["table"], kinds, groups, residual, accuracy)


def to_terms(operators: Sequence[Operator]) -> Floats:
    """Return the terms of each operator's time, one row per operator."""
    return np.array([operator.terms for operator in operators]).reshape(len(operators), 4)


def to_logs(operators: Sequence[Operator]) -> Floats:
    """Return the logarithms of each operator's sizes, one row per operator."""
    return np.array([operator.logs for operator in operators])
