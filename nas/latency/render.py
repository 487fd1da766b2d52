"""Calibrations and predicted latencies as text."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from nas.catalog import rig_text
from nas.handle import StudyHandle
from nas.latency.calibration import Calibration, kept_calibration
from nas.objectives import Limit
from nas.records import Trial
from nas.settings import Study
from nas.tables import latency_text, table

_GOAL = "goal on an idle machine: median error 5 %, 90 % within 10 %, Spearman 0.98"


def accuracy_table(found: Calibration) -> Table:
    """Return what predictions were worth on networks that were not fitted."""
    columns = ("space", ">networks", ">median error", ">90 % within", ">Spearman")
    rows = (
        (a.space or "all", str(a.count), f"{a.median:.1%}", f"{a.ninety:.1%}", f"{a.spearman:.3f}")
        for a in found.model.accuracy[: 1 if len(found.model.accuracy) == 2 else None]
    )
    size = found.model.size
    return table(f"Predicted latency at {size} x {size} px", columns, rows)


def calibration_lines(found: Calibration, path: Path) -> list[str]:
    """Return the rig, what was timed under which load, and where it is kept."""
    recording = found.recording
    fitted = sum(probe["fitted"] for probe in recording["probes"])
    load = " to ".join(f"{value:.1f}" for value in recording["load"]) or "unknown"
    return [
        f"random networks that were not fitted; {_GOAL}",
        rig_text(found.model.rig),
        f"timed: {fitted} networks that were fitted with {len(recording['operators'])} different "
        f"operators, {len(recording['probes']) - fitted} others; {recording['seconds']:.0f} s, "
        f"load average {load}",
        f"kept: {path}",
    ]


def calibration_json(found: Calibration, path: Path) -> dict[str, Any]:
    """Return the same as plain data."""
    recording = found.recording
    return {
        "key": found.key,
        "rig": dict(found.model.rig),
        "size": found.model.size,
        "accuracy": found.model.to_json()["accuracy"],
        "networks": sum(probe["fitted"] for probe in recording["probes"]),
        "operators": len(recording["operators"]),
        "load": recording["load"],
        "seconds": recording["seconds"],
        "file": str(path),
    }


def plan_text(study: Study, found: Calibration | None) -> str:
    """Return where a study's latencies come from."""
    threads = "" if study.latency_threads == 1 else f", {study.latency_threads} threads"
    measured = f"measured in {study.latency_runtime}{threads}"
    if found is None:
        return measured
    accuracy = found.accuracy(study.space)
    if study.latency_from:
        return f"predicted, nothing is timed here: {_device(found)}; {accuracy}"
    return f"{measured}; predicted before: {accuracy}"


def _device(found: Calibration) -> str:
    rig = found.model.rig
    name = rig["gpu"] or rig["processor"]
    return f"{name}, {rig['device']}, {rig['threads']} thread(s), {rig['runtime']}"


def front_rows(handle: StudyHandle, trials: Sequence[Trial]) -> list[dict[str, Any]]:
    """Return trials as plain data, with what was timed again at the end of the search."""
    again = handle.timed_again()
    rows = []
    for trial in trials:
        found = again.get(trial.arch.key) if trial.arch else None
        rows.append({**trial.to_json(), "latency_again_ms": found.latency_ms if found else None})
    return rows


def front_notes(handle: StudyHandle, trials: Sequence[Trial]) -> list[str]:
    """Return what has to be said of a front's latencies, one line each."""
    if handle.settings.latency_from:
        kept = kept_calibration(handle.store.folder, handle.settings.latency_from)
        return [f"~ latency is predicted, [90 %] of predictions, for {_device(kept)}"]
    again = handle.timed_again()
    lines = []
    for trial in trials:
        found = again.get(trial.arch.key) if trial.arch else None
        if found is not None and trial.evaluation is not None:
            before = trial.evaluation.latency
            change = f", {found.latency_ms / before.latency_ms - 1:+.1%}" if before else ""
            over = _over(found.latency_ms, handle.limits)
            lines.append(f"  trial {trial.number}: {latency_text(found)} ms{change}{over}")
    return ["latency of the front timed again, end to end [95 %]:", *lines] if lines else []


def _over(ms: float, limits: Sequence[Limit]) -> str:
    bounds = [limit.bound for limit in limits if limit.objective.name == "latency"]
    return f", beyond the limit of {min(bounds):g} ms" if bounds and ms > min(bounds) else ""
