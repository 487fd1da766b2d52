"""A search and its results as text: the plan, the data, the front, one trial, the counts."""

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

import search_spaces
from nas.fidelity.rungs import rung_epochs
from nas.handle import StudyHandle
from nas.inheritance.lineage import short_epochs
from nas.latency.forecast import is_timed
from nas.latency.render import plan_text
from nas.objectives import Objective
from nas.plan import Plan
from nas.prepared import Prepared
from nas.recipes import find_recipe
from nas.records import STATES, Trial, count_states
from nas.settings import Study
from nas.study import PROPOSALS_PER_TRIAL
from nas.tables import count, latency_text, table

_COLUMNS = ("dice", "latency", "params", "macs")  # what every front shows
_BARS = "▁▂▃▄▅▆▇█"


def front_table(trials: Sequence[Trial], objectives: Sequence[Objective]) -> Table:
    """Return the front, best first by the first objective."""
    others = [o for o in objectives if o.name not in _COLUMNS]
    columns = (
        ">trial",
        "arch",
        "baseline",
        ">Dice",
        ">latency ms [95 %]",
        ">params",
        ">macs",
        *(f">{o.name}{f' {o.unit}' if o.unit else ''}" for o in others),
        ">epochs",
    )
    rows = (_front_row(t, others) for t in best_first(trials, objectives))
    names = ", ".join(f"{o.direction} {o.name}" for o in objectives)
    return table(f"Pareto front: {names}; scores on validation images", columns, rows)


def best_first(trials: Sequence[Trial], objectives: Sequence[Objective]) -> list[Trial]:
    """Return trials by their first objective."""
    first = objectives[0]
    sign = -1 if first.direction == "maximize" else 1
    return sorted(trials, key=lambda t: sign * t.values[first.name])


def plan_table(plan: Plan) -> Table:
    """Return everything that a search is about to do."""
    study, run = plan.study, plan.run
    recipe = find_recipe(study.recipe)
    loaded = f"batch {recipe.batch}, lr {recipe.lr:g}, {recipe.loss}"
    limits = [("search", run.seconds), ("trial", run.trial_timeout)]
    rows = {
        "study": f"{study.name} in {plan.store}",
        "space": study.space,
        "objectives": ", ".join(study.objectives),
        "constraints": _constraints(study, plan.bounded),
        "data": f"{study.data}, {study.fit} to {input_text(study)}",
        "recipe": f"{study.recipe}: {study.epochs} epochs, {loaded}",
        "trials": f"{run.trials} in all, {run.workers} at once",
        "first": _first(study),
        "device": study.device
        + (f", {run.gpus_per_trial:g} of a GPU each" if run.gpus_per_trial else ""),
        "time limits": ", ".join(f"{n} {s:g} s" for n, s in limits if s is not None) or "none",
        **({"latency": plan_text(study, plan.calibration)} if is_timed(study) else {}),
        "early stopping": _early_stopping(study),
        "inheritance": _inheritance(study),
        "sampler, seed": f"{study.sampler}{_warm(study)}, {study.seed}",
    }
    return table("Plan", ("setting", "value"), rows.items())


def _warm(study: Study) -> str:
    return f" that learns from {study.warm_start}" if study.warm_start else ""


def _early_stopping(study: Study) -> str:
    epochs = rung_epochs(study.fidelity, study.epochs)
    if not epochs:
        return "none"
    return f"{study.fidelity}: after epoch {' and '.join(map(str, epochs))} the better half goes on"


def _inheritance(study: Study) -> str:
    if not study.inherit:
        return "none"
    return (
        f"{short_epochs(study.epochs)} epochs with the weights of the nearest network, and in full "
        "what no full training beats"
    )


def data_lines(study: Study, prepared: Prepared) -> list[str]:
    """Return what was left out of the data, what they are, and the length of a full training."""
    parts = ", ".join(f"{len(prepared.split[part])} {part}" for part in ("train", "val", "test"))
    channels = "grey" if prepared.in_channels == 1 else "colour"
    kind = "images"
    if prepared.ndim == 3:
        kind, channels = "volumes", f"spacing {' x '.join(f'{s:.3g}' for s in prepared.spacing)} mm"
    steps = find_recipe(study.recipe).steps_per_epoch(len(prepared.split["train"]))
    lines = [f"left out {line}" for line in prepared.skipped]
    lines.append(
        f"{kind}: {parts} (test is not read), {channels}, {max(2, prepared.classes)} labels; "
        f"budget of a trial: {study.epochs} epochs x {steps} = {study.epochs * steps} steps"
    )
    return lines


def input_text(study: Study) -> str:
    """Return the network's input with its unit: "128 x 128 px"."""
    ndim = search_spaces.load(study.space).ndim
    return f"{' x '.join([str(study.size)] * ndim)} {'px' if ndim == 2 else 'voxels'}"


def after_search(handle: StudyHandle, plan: Plan) -> list[str]:
    """Return what happened, and the three commands that come next."""
    counts = count_states(handle.trials())
    said = ", ".join(f"{n} {state}" for state, n in counts.items() if n)
    lines = [f"\n{sum(counts.values())} proposals: {said}", _standing(handle, plan.run.trials)]
    lines += [f"early stopping {rung}" for rung in handle.rungs()]
    if front := best_first(handle.front(), handle.objectives):
        name, store = shlex.quote(handle.name), shlex.quote(str(plan.store))
        option, served = ("", "") if store == "nas-store" else (f" --store {store}", f" {store}")
        lines += [
            "next:",
            f"  nas show {name} {front[0].number}{option}",
            f"  nas export {name} --trial {front[0].number} --out exported{option}",
            f"  nas dashboard{served}",
        ]
    return lines


def trial_text(trial: Trial, curve: Sequence[Mapping[str, float]]) -> str:
    """Return one trial for reading: state, arch, costs, scores, learning curve."""
    head = f"trial {trial.number}: {trial.state}" + (f" ({trial.reason})" if trial.reason else "")
    lines = [head + (f", baseline {trial.baseline}" if trial.baseline else "")]
    if trial.arch:
        lines += [f"arch {trial.arch.key}", "", trial.arch.describe(), ""]
    if trial.costs:
        macs, memory = trial.costs["macs"], trial.costs["memory_mib"]
        lines.append(
            f"{trial.costs['params']:,} params, {count(macs)} macs "
            f"({count(2 * macs)} FLOPs = 2 x macs), {memory:.1f} MiB activations"
        )
    lines += _scores(trial)
    if curve:
        dice = [row["dice"] for row in curve]
        lines.append(f"validation Dice {_sparkline(dice)} {dice[-1]:.3f}")
    return "\n".join(lines)


def status_row(handle: StudyHandle) -> dict[str, Any]:
    """Return the counts of one study."""
    return {
        "study": handle.name,
        "space": handle.settings.space,
        "objectives": list(handle.settings.objectives),
        "data": handle.settings.data,
        **count_states(handle.trials()),
        "front": len(handle.front()),
        "searching": handle.store.is_driven(handle.name),
    }


def status_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Return the counts of all studies."""
    names = (*STATES, "front")
    columns = ("study", "space", *(f">{n}" for n in names), "searching")
    cells = (
        (r["study"], r["space"], *(str(r[n]) for n in names), "yes" if r["searching"] else "no")
        for r in rows
    )
    return table("Studies", columns, cells)


def _front_row(trial: Trial, others: Sequence[Objective]) -> list[str]:
    assert trial.arch is not None
    assert trial.evaluation is not None
    e = trial.evaluation
    return [
        str(trial.number),
        trial.arch.key,
        trial.baseline or "-",
        f"{e.dice:.4f}",
        latency_text(e.latency),
        count(e.params),
        count(e.macs),
        *(count(trial.values[o.name]) for o in others),
        str(e.epochs),
    ]


def _constraints(study: Study, bounded: bool) -> str:
    said = ", ".join(study.constraints) or "none"
    default = f" (default on {study.device}; --constraint none lifts it)"
    return said + (default if study.constraints and not bounded else "")


def _first(study: Study) -> str:
    if not study.baselines:
        return "no published networks (--no-baselines)"
    names = [name for name, _ in search_spaces.load(study.space).seeds()]
    first, rest = ", ".join(names[:3]), ", ".join(names[3:])
    return first + (f"; then {rest} where the constraints and trials allow" if rest else "")


def _standing(handle: StudyHandle, total: int) -> str:
    """Return how far the study is and what goes on from there."""
    if handle.counted >= total:
        return f"the study has its {total} trials (--trials is the total); raise --trials to go on"
    if len(handle.trials()) >= PROPOSALS_PER_TRIAL * total:
        return (
            f"{handle.counted} of {total} trials have ended; gave up after {PROPOSALS_PER_TRIAL} "
            "proposals for each: relax --constraint under another --study name, or raise --trials"
        )
    return f"{handle.counted} of {total} trials have ended; the same command continues"


def _scores(trial: Trial) -> list[str]:
    e = trial.evaluation
    if e is None:
        return []
    by_label = [f"label {k}: {dice:.4f}" for k, dice in enumerate(e.dice_per_class, 1)]
    lines = [
        f"Dice {e.dice:.4f}, IoU {e.iou:.4f} on validation images, best epoch {e.best_epoch}",
        *([f"Dice per class, mean of images: {', '.join(by_label)}"] if by_label else []),
        f"{e.epochs} of {e.full_epochs} epochs, {e.steps} steps, {e.train_seconds:.1f} s, "
        f"seed {e.seed}",
    ]
    if e.latency:
        passes = f"[95 %], {e.latency.repeats} passes"
        how = "[90 %] of predictions" if e.latency.predicted else passes
        lines.append(f"latency {latency_text(e.latency)} ms {how}, rig {e.latency.rig}")
    return lines


def _sparkline(values: Sequence[float]) -> str:
    return "".join(_BARS[min(len(_BARS) - 1, int(len(_BARS) * max(0.0, v)))] for v in values)
