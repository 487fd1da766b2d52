"""From a recording of times to a model that predicts them; see `model`."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from statistics import mode

import numpy as np
from scipy.optimize import nnls

from nas.latency.model import LEAST_MS, Accuracy, Kind, LatencyModel, Process, to_logs, to_terms
from nas.latency.operators import GROUPS, Operator, operator_table
from nas.latency.record import Recording
from nas.pareto import Floats

_ENOUGH = 12  # different calls of an operator, or networks, before a process is fitted


def fit_model(recording: Recording) -> LatencyModel:
    """Return the model of a recording; its accuracy is told on the networks kept for that."""
    timed = recording.operators
    model = LatencyModel(
        recording.rig,
        recording.size,
        {operator.key: ms for operator, ms in timed.items()},
        *(_fit_operators(timed) if timed else ({}, _fit_totals(recording))),
    )
    fitted = [probe for probe in recording.probes if probe.fitted]
    found = [model.facts(probe.arch) for probe in fitted]
    if len(found) >= _ENOUGH:
        left = [math.log(p.ms / total) for p, (_, total) in zip(fitted, found, strict=True)]
        rows = np.array([facts for facts, _ in found])
        model = replace(model, residual=Process.of(rows, np.array(left)))
    return replace(model, accuracy=tuple(_accuracies(model, recording)))


def _accuracies(model: LatencyModel, recording: Recording) -> Iterable[Accuracy]:
    kept = [probe for probe in recording.probes if not probe.fitted]
    measured = np.array([probe.ms for probe in kept])
    predicted = np.array([model.predict(probe.arch) for probe in kept])
    spaces = dict.fromkeys(probe.space for probe in kept)
    for space in ("", *spaces):
        rows = np.array([space in ("", probe.space) for probe in kept])
        if rows.sum() > 1:
            yield Accuracy.of(space, predicted[rows], measured[rows])


def _fit_operators(timed: Mapping[Operator, float]) -> tuple[dict[str, Kind], dict[str, Kind]]:
    """Return the time of each name, and of each group of them."""
    by_group = _split(timed, lambda operator: operator.group)
    groups = {group: _weigh(by_group.get(group, timed)) for group in GROUPS}
    by_name = _split(timed, lambda operator: operator.name)
    kinds = {
        name: _kind(found) if len(found) >= _ENOUGH else _scaled(found, groups)
        for name, found in by_name.items()
    }
    return kinds, groups


def _split(
    timed: Mapping[Operator, float], by: Callable[[Operator], str]
) -> dict[str, dict[Operator, float]]:
    parts: dict[str, dict[Operator, float]] = {}
    for operator, ms in timed.items():
        parts.setdefault(by(operator), {})[operator] = ms
    return parts


def _kind(timed: Mapping[Operator, float]) -> Kind:
    """Fit a process to what weights leave."""
    plain, operators = _weigh(timed), list(timed)
    left = np.log(_times(timed) / plain.predict(operators))
    return replace(plain, process=Process.of(to_logs(operators), left))


def _scaled(timed: Mapping[Operator, float], groups: Mapping[str, Kind]) -> Kind:
    """Return the weights of the commonest group, scaled to the few calls of a name."""
    plain = groups[mode(operator.group for operator in timed)]
    ratio = float(np.exp(np.log(_times(timed) / plain.predict(list(timed))).mean()))
    return Kind(tuple(ratio * weight for weight in plain.weights))


def _weigh(timed: Mapping[Operator, float]) -> Kind:
    """Return the weights of the least relative errors."""
    times = _times(timed)
    weights, _ = nnls(to_terms(list(timed)) / times[:, None], np.ones(len(times)))
    return Kind(tuple(map(float, weights)))


def _times(timed: Mapping[Operator, float]) -> Floats:
    return np.maximum(list(timed.values()), LEAST_MS)


def _fit_totals(recording: Recording) -> dict[str, Kind]:
    """Return the time of each group, from whole networks alone."""
    table, rows = operator_table(recording.size), []
    fitted = [probe for probe in recording.probes if probe.fitted]
    for probe in fitted:
        operators = table.operators(probe.arch)
        parts = [[o for o in operators if o.group == group] for group in GROUPS]
        rows.append(np.concatenate([to_terms(part).sum(0) for part in parts]))
    times = np.array([probe.ms for probe in fitted])
    weights, _ = nnls(np.array(rows) / times[:, None], np.ones(len(times)))
    each = weights.reshape(len(GROUPS), -1)
    return {group: Kind(tuple(map(float, w))) for group, w in zip(GROUPS, each, strict=True)}
