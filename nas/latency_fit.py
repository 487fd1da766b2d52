"""From a recording of times to a model that predicts them; see `nas.latency_model`."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np
from scipy.optimize import nnls

from nas.latency_model import LEAST_MS, Accuracy, Kind, LatencyModel, Process, to_logs, to_terms
from nas.latency_record import Recording
from nas.operators import GROUPS, Operator, OperatorTable

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
    for space in ("", *spaces) if len(spaces) > 1 else ("",):
        rows = np.array([space in ("", probe.space) for probe in kept])
        if rows.sum() > 1:
            yield Accuracy.of(space, predicted[rows], measured[rows])


def _fit_operators(timed: Mapping[Operator, float]) -> tuple[dict[str, Kind], dict[str, Kind]]:
    """Return the time of each name, and of each group of them."""
    names, groups = {o.name for o in timed}, {o.group for o in timed}
    kinds = {name: _kind({o: t for o, t in timed.items() if o.name == name}) for name in names}
    by_group = {
        group: _kind({o: t for o, t in timed.items() if o.group == group}) for group in groups
    }
    anything = _kind(timed)
    return kinds, {group: by_group.get(group, anything) for group in GROUPS}


def _kind(timed: Mapping[Operator, float]) -> Kind:
    """Fit weights to relative errors, then a process to what they leave."""
    operators, times = list(timed), np.maximum(list(timed.values()), LEAST_MS)
    weights, _ = nnls(to_terms(operators) / times[:, None], np.ones(len(times)))
    plain = Kind(tuple(map(float, weights)))
    if len(times) < _ENOUGH:
        return plain
    left = np.log(times / plain.predict(operators))
    return replace(plain, process=Process.of(to_logs(operators), left))


def _fit_totals(recording: Recording) -> dict[str, Kind]:
    """Return the time of each group, from whole networks alone."""
    table, rows = OperatorTable(recording.size), []
    fitted = [probe for probe in recording.probes if probe.fitted]
    for probe in fitted:
        operators = table.operators(probe.arch)
        parts = [[o for o in operators if o.group == group] for group in GROUPS]
        rows.append(np.concatenate([to_terms(part).sum(0) for part in parts]))
    times = np.array([probe.ms for probe in fitted])
    weights, _ = nnls(np.array(rows) / times[:, None], np.ones(len(times)))
    each = weights.reshape(len(GROUPS), -1)
    return {group: Kind(tuple(map(float, w))) for group, w in zip(GROUPS, each, strict=True)}
