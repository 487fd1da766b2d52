"""Numbers and names as plots, notes and pictures print them."""

from nas.costs import Costs
from nas.objectives import OBJECTIVES, Objective
from nas.records import Trial
from nas.tables import count
from primitives.core.contract import find_block
from search_spaces.core.arch import BlockSpec

_ALWAYS_SHOWN = ("kernels", "expansion")
_BEFORE_TRAINING = ("params", "macs", "flops", "memory")


def show(value: float | None, objective: Objective) -> str:
    """Return a value of an objective with its unit, "-" where it is unknown."""
    if value is None:
        return "-"
    if not objective.units:
        return f"{value:.4f}"
    return f"{value:.3g} {objective.unit}" if objective.unit else count(value)


def value_of(trial: Trial, objective: Objective) -> float | None:
    """Return what is known: told, measured before it stopped, or computed before training."""
    if objective.name in trial.values:
        return trial.values[objective.name]
    if trial.evaluation:
        return objective.read(trial.evaluation)
    if trial.costs and objective.name in _BEFORE_TRAINING:
        return objective.read(Costs(**trial.costs))  # type: ignore[arg-type]
    return None


def short_name(baseline: str, space: str) -> str:
    """Return a baseline's name without the name of its space."""
    return baseline.removeprefix(f"{space}-")


def facts(trial: Trial) -> list[str]:
    """Return lines on a trial: name, arch, widths, costs, scores; those that are known."""
    lines = [f"trial {trial.number}" + (f", {trial.baseline}" if trial.baseline else "")]
    if trial.arch:
        lines += [f"arch {trial.arch.key}", f"widths {'-'.join(map(str, trial.arch.widths))}"]
    if trial.costs:
        costs = (f"{count(trial.costs[name])} {name}" for name in ("params", "macs"))
        lines.append(", ".join(costs))
    if trial.evaluation:
        e = trial.evaluation
        lines.append(f"Dice {e.dice:.4f}, IoU {e.iou:.4f}")
        if e.latency:
            lines.append(f"latency {show(e.latency.latency_ms, OBJECTIVES['latency'])}")
        lines.append(f"{e.epochs} of {e.full_epochs} epochs")
    if trial.reason:
        lines.append(f"{trial.state}: {trial.reason}")
    return lines


def spec_text(spec: BlockSpec) -> str:
    """Return a block's name with the knobs that readers look for, or that are not the default."""
    defaults = {knob: values[0] for knob, values in find_block(spec.name).knobs.items()}
    shown = [
        f"{knob} {value}"
        for knob, value in spec.knobs
        if knob in _ALWAYS_SHOWN or value != defaults[knob]
    ]
    return ", ".join([spec.name, *shown])
