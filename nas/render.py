"""Tables and texts for the terminal and the README."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from math import log10
from typing import Any

from rich.console import Console, RenderableType
from rich.table import Table

from nas.costs import measure_costs
from nas.evaluation import Latency
from nas.handle import StudyHandle
from nas.objectives import Objective
from nas.plan import Plan
from nas.recipes import find_recipe
from nas.records import Trial, count_states
from search_spaces.core.space import Choice, Space

_PAPER_SIZE = 256  # side of the input that published cost figures refer to, pixels


def show(*parts: RenderableType, stderr: bool = False) -> None:
    """Print tables; a pipe gets as many columns as the table needs."""
    console = Console(stderr=stderr, highlight=False)
    if not console.is_terminal:
        console = Console(file=sys.stderr if stderr else sys.stdout, highlight=False, width=200)
    for part in parts:
        console.print(part)


def table(title: str, columns: Iterable[str], rows: Iterable[Iterable[str]]) -> Table:
    """Return a table; columns whose name starts with '>' are right-aligned."""
    made = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for column in columns:
        name = column.removeprefix(">")
        made.add_column(name, justify="right" if column != name else "left", no_wrap=len(name) < 14)
    for row in rows:
        made.add_row(*row)
    return made


def count(value: float | None) -> str:
    """Return a plain count with a suffix, e.g. 315.5k."""
    if value is None:
        return "-"
    for factor, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= factor:
            return f"{value / factor:.4g}{suffix}"
    return f"{value:.4g}"


def latency_text(latency: Latency | None) -> str:
    """Return the median with its 95 % interval."""
    if latency is None:
        return "-"
    return f"{latency.latency_ms:.3g} [{latency.low_ms:.3g}, {latency.high_ms:.3g}]"


def front_table(trials: Sequence[Trial], objectives: Sequence[Objective]) -> Table:
    """Return the front, best first by the first objective."""
    first = objectives[0]
    sign = -1 if first.direction == "maximize" else 1
    ordered = sorted(trials, key=lambda t: sign * t.values[first.name])
    columns = (">trial", "arch", "baseline", ">Dice", ">latency ms [95 %]", ">params", ">macs", ">MiB", ">epochs")
    rows = (
        (
            str(t.number),
            t.arch.key if t.arch else "-",
            t.baseline or "-",
            f"{t.evaluation.dice:.4f}",
            latency_text(t.evaluation.latency),
            count(t.evaluation.params),
            count(t.evaluation.macs),
            f"{t.evaluation.memory_mib:.1f}",
            str(t.evaluation.epochs),
        )
        for t in ordered
        if t.evaluation
    )
    names = ", ".join(f"{o.direction} {o.name}" for o in objectives)
    return table(f"Pareto front ({names}; validation images)", columns, rows)


def plan_table(plan: Plan) -> Table:
    """Return everything that a search is about to do."""
    study, run = plan.study, plan.run
    recipe = find_recipe(study.recipe)
    rows = {
        "study": f"{study.name} in {plan.store}",
        "space": study.space,
        "objectives": ", ".join(study.objectives),
        "constraints": ", ".join(study.constraints) or "none",
        "data": f"{study.data}, {study.fit} to {study.size} x {study.size} px",
        "recipe": f"{study.recipe}: {study.epochs} epochs, batch {recipe.batch}, lr {recipe.lr:g}, {recipe.loss}",
        "trials": f"{run.trials}, {run.workers} at once, published networks first: {'yes' if study.baselines else 'no'}",
        "device": study.device + (f", {run.gpus_per_trial:g} GPU a trial" if run.gpus_per_trial else ""),
        "limits": f"time {_seconds(run.seconds)}, trial {_seconds(run.trial_timeout)}",
        "sampler, seed": f"{study.sampler}, {study.seed}",
    }
    return table("Plan", ("setting", "value"), rows.items())


def after_search(handle: StudyHandle, plan: Plan) -> list[str]:
    """Return what happened, and the three commands that come next."""
    counts = count_states(handle.trials())
    total = sum(counts.values())
    said = ", ".join(f"{n} {state}" for state, n in counts.items() if n)
    done = counts["complete"] + counts["stopped"] + counts["failed"] + counts["reused"]
    lines = [f"\n{total} proposals: {said}"]
    if done >= plan.run.trials:
        lines.append(
            f"the study has its {plan.run.trials} trials (--trials is the total); raise --trials to go on"
        )
    else:
        lines.append(f"{done} of {plan.run.trials} trials have ended; the same command continues")
    if front := handle.front():
        store = f" --store {plan.store}" if str(plan.store) != "nas-store" else ""
        best = front[0].number
        served = f" {plan.store}" if store else ""
        lines += [
            "next:",
            f"  nas show {handle.name} {best}{store}",
            f"  nas export {handle.name} --trial {best} --out exported{store}",
            f"  nas dashboard{served}",
        ]
    return lines


def trial_text(trial: Trial, curve: Sequence[Mapping[str, float]]) -> str:
    """Return one trial for reading: state, arch, costs, scores, learning curve."""
    head = f"trial {trial.number}: {trial.state}" + (f" ({trial.reason})" if trial.reason else "")
    lines = [head + (f", baseline {trial.baseline}" if trial.baseline else "")]
    if trial.arch:
        lines += [f"arch {trial.arch.key}", "", trial.arch.describe(), ""]
        lines.append(
            f"{count(trial.costs['params'])} params, {count(trial.costs['macs'])} macs "
            f"({count(2 * trial.costs['macs'])} FLOPs = 2 x macs), {trial.costs['memory_mib']:.1f} MiB activations"
        )
    if e := trial.evaluation:
        lines.append(f"Dice {e.dice:.4f}, IoU {e.iou:.4f} on validation images, best epoch {e.best_epoch}")
        lines.append(f"{e.epochs} of {e.full_epochs} epochs, {e.steps} steps, {e.train_seconds:.1f} s, seed {e.seed}")
        if e.latency:
            lines.append(f"latency {latency_text(e.latency)} ms, {e.latency.repeats} passes, rig {e.latency.rig}")
    if curve:
        lines.append(f"validation Dice {_sparkline([row['dice'] for row in curve])} {curve[-1]['dice']:.3f}")
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
    names = ("complete", "stopped", "infeasible", "reused", "failed", "running", "front")
    columns = ("study", "space", *(f">{n}" for n in names), "searching")
    cells = (
        (r["study"], r["space"], *(str(r[n]) for n in names), "yes" if r["searching"] else "no")
        for r in rows
    )
    return table("Studies", columns, cells)


def space_json(space: Space) -> dict[str, Any]:
    """Return a space as plain data."""
    return {
        "name": space.name,
        "source": space.source,
        "size": space.size,
        "multiple": space.multiple,
        "dimensions": {
            name: {"kind": type(d).__name__.lower(), "values": list(d.values)}
            for name, d in space.dimensions.items()
        },
        "baselines": {name: dict(b.point) for name, b in space.baselines.items()},
    }


def space_table(spaces: Sequence[Space]) -> Table:
    """Return all spaces."""
    rows = (
        (s.name, str(len(s.dimensions)), size_text(s), str(len(s.baselines)), s.source) for s in spaces
    )
    return table("Spaces", ("space", ">dimensions", ">points", ">baselines", "source"), rows)


def dimension_table(space: Space) -> Table:
    """Return the dimensions of a space."""
    rows = (
        (name, "choice" if isinstance(d, Choice) else "int", str(d)) for name, d in space.dimensions.items()
    )
    title = f"{space.name}: {size_text(space)} points, sides are multiples of {space.multiple} px"
    return table(title, ("dimension", "kind", "values of the dimension"), rows)


def baseline_names(space: Space) -> str:
    """Return the names of a space's published networks."""
    return f"\nbaselines: {', '.join(space.baselines)}"


def size_text(space: Space) -> str:
    """Return the number of points, an upper bound on the number of networks."""
    return str(space.size) if space.size < 1e6 else f"10^{log10(space.size):.1f}"


def spaces_markdown(spaces: Sequence[Space]) -> str:
    """Return the README's table of spaces."""
    lines = ["| space | dimensions | points | baselines | source |", "|---|---:|---:|---:|---|"]
    lines += [
        f"| `{s.name}` | {len(s.dimensions)} | {size_text(s)} | {len(s.baselines)} | {s.source} |"
        for s in spaces
    ]
    return "\n".join(lines)


def blocks_markdown() -> str:
    """Return the README's table of blocks."""
    from primitives.core.contract import load_blocks

    lines = ["| block | role | knobs (first value: published default) |", "|---|---|---|"]
    for name, block in sorted(load_blocks().items(), key=lambda item: (item[1].role, item[0])):
        knobs = "; ".join(f"{k}: {_few(values)}" for k, values in block.knobs.items()) or "-"
        lines.append(f"| `{name}` | {block.role} | {knobs} |")
    return "\n".join(lines)


def baseline_rows(space: Space) -> list[dict[str, Any]]:
    """Return our figures and the paper's for each published network of a space."""
    rows = []
    for name, baseline in space.baselines.items():
        costs = measure_costs(space.arch(baseline.point), _PAPER_SIZE)
        rows.append({
            "baseline": name,
            "space": space.name,
            "params": costs.params,
            "discarded_params": baseline.discarded_params,
            "program_params": costs.params + baseline.discarded_params,
            "paper_params": baseline.params,
            "macs": costs.macs,
            "size": _PAPER_SIZE,
            "paper_cost": baseline.cost,
            "paper_rule": baseline.rule,
            "source": baseline.source,
        })  # fmt: skip
    return rows


def baseline_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Return published networks beside their papers."""
    columns = ("baseline", ">params", ">+ discarded", ">paper", ">macs 256²", ">paper's cost", "source")
    cells = (
        (
            r["baseline"],
            f"{r['params']:,}",
            f"{r['program_params']:,}",
            r["paper_params"],
            count(r["macs"]),
            r["paper_cost"],
            r["source"],
        )
        for r in rows
    )
    return table("Published networks, 3 channels in, 1 class out", columns, cells)


def baseline_rules(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return how the figures were counted."""
    rules = sorted({r["paper_rule"] for r in rows})
    return [
        "\nparams: live ones; + discarded: with the heads whose output the published program throws away",
        "macs: multiply-adds of convolutions and matrix products alone",
        *(f"paper's cost: {rule}" for rule in rules),
    ]


def bench_table(rows: Sequence[Mapping[str, Any]], size: int) -> Table:
    """Return measured baselines."""
    columns = ("baseline", ">params", ">macs", ">MiB", ">latency ms [95 %]", ">passes")
    cells = (
        (
            r["baseline"],
            f"{r['params']:,}",
            count(r["macs"]),
            f"{r['memory_mib']:.1f}",
            latency_text(Latency.from_json(r["latency"])),
            str(r["latency"]["repeats"]),
        )
        for r in rows
    )
    return table(f"Baselines at {size} x {size} px, batch 1", columns, cells)


def rig_text(rig: Mapping[str, Any]) -> str:
    """Return a machine in one line."""
    return "\nrig: " + ", ".join(f"{k} {v}" for k, v in rig.items() if v is not None)


def export_text(report: Any) -> str:
    """Return what an export wrote and how close the copies are."""
    return str(report)


def _few(values: Sequence[Any]) -> str:
    shown = ", ".join(map(str, values[:6]))
    return shown if len(values) <= 6 else f"{shown}, ... ({len(values)})"


def _seconds(value: float | None) -> str:
    return "no limit" if value is None else f"{value:g} s"


def _sparkline(values: Sequence[float]) -> str:
    return "".join("▁▂▃▄▅▆▇█"[min(7, int(8 * max(0.0, v)))] for v in values)
