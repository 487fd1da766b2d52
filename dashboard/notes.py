"""Notes in Markdown: one for a study, one for each of its trials."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from dashboard.text import show, spec_text, value_of
from nas.handle import StudyHandle
from nas.objectives import OBJECTIVES
from nas.records import Trial, count_states
from nas.tables import count, latency_text
from search_spaces.core.arch import Arch, Stage

_STAGE_HEAD = ("stage", "scale", "width", "depth", "block", "attention")
_APART = "\N{EM SPACE}"
_ROLES = ("stem", "down", "up", "skip", "head")


def study_note(handle: StudyHandle) -> str:
    """Return what a study is about, how far it is, and its front."""
    settings, trials = handle.settings, handle.trials()
    counts = ", ".join(f"{n} {state}" for state, n in count_states(trials).items() if n)
    sides = " x ".join([str(settings.size)] * handle.prepared.ndim)
    unit = "pixels" if handle.prepared.ndim == 2 else "voxels"
    facts = {
        "space": settings.space,
        "objectives": ", ".join(f"{o.direction} {o.name}" for o in handle.objectives),
        "limits": ", ".join(settings.constraints) or "none",
        "data": f"{settings.data}, {settings.fit} to {sides} {unit}",
        "training": f"recipe {settings.recipe}, {settings.epochs} epochs, seed {settings.seed}",
        "trials": counts or "none yet",
    }
    return "\n".join(
        [
            f"### Study {handle.name}",
            "",
            *_table(("setting", "value"), facts.items()),
            "",
            "### Front",
            "",
            *_front(handle),
        ]
    )


def trial_note(trial: Trial, pictures: Mapping[str, str]) -> str:
    """Return a trial's values and costs, its arch stage by stage, and its pictures.

    Args:
        trial: the proposal.
        pictures: "arch" and "predictions" -> address, where there is such a picture.
    """
    title = f"### Trial {trial.number}" + (f": {trial.baseline}" if trial.baseline else "")
    state = trial.state + (f": {trial.reason}" if trial.reason else "")
    lines = [title, "", state, "", *_table(*_values(trial))]
    for caption, address in pictures.items():
        lines += ["", f"![{caption}]({address})"]
    if trial.evaluation and "predictions" not in pictures:
        lines += ["", "No picture of predictions: its weights or the cached images are gone."]
    if trial.arch:
        lines += ["", f"### Arch {trial.arch.key}", "", *_stages(trial.arch)]
    return "\n".join(lines)


def _values(trial: Trial) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Return head and row of everything that was measured or computed."""
    e = trial.evaluation
    latency = latency_text(e.latency) if e and e.latency else "-"
    columns = {
        "Dice": f"{e.dice:.4f}" if e else "-",
        **(
            {f"Dice of label {k}": f"{v:.4f}" for k, v in enumerate(e.dice_per_class, 1)}
            if e
            else {}
        ),
        "IoU": f"{e.iou:.4f}" if e else "-",
        "parameters": count(trial.costs.get("params")),
        "multiply-adds": count(trial.costs.get("macs")),
        "peak activations": show(trial.costs.get("memory_mib"), OBJECTIVES["memory"]),
        "latency ms [95 %]": latency,
        "epochs": f"{e.epochs} of {e.full_epochs}, best {e.best_epoch}" if e else "-",
    }
    return tuple(columns), [tuple(columns.values())]


def _stages(arch: Arch) -> list[str]:
    stages = [
        (*row[:4], spec_text(stage.block), ", ".join(_besides(stage)) or "-")
        for row, stage in zip(arch.rows(), (*arch.encoder, *arch.decoder), strict=True)
    ]
    parts = [(role, spec_text(getattr(arch, role))) for role in _ROLES]
    shared = [("shared by all stages", spec_text(arch.shared))] if arch.shared else []
    ends = ("channels", f"{arch.in_channels} in, {arch.classes} out")
    return [
        *_table(_STAGE_HEAD, stages),
        "",
        "Knobs that are not named have their published default.",
        "",
        *_table(("part", "block"), [*parts, *shared, ends]),
    ]


def _besides(stage: Stage) -> Iterator[str]:
    yield from map(spec_text, stage.attention)
    yield from (f"{word} {spec_text(spec)}" for word, spec in stage.extras)


def _front(handle: StudyHandle) -> list[str]:
    first = handle.objectives[0]
    sign = -1 if first.direction == "maximize" else 1
    members = sorted(handle.front(), key=lambda t: sign * t.values[first.name])
    head = ("trial", "published", *(o.title for o in handle.objectives), "widths")
    rows = [
        (
            str(t.number),
            t.baseline or "-",
            *(show(value_of(t, o), o) for o in handle.objectives),
            "-".join(map(str, t.arch.widths)) if t.arch else "-",
        )
        for t in members
    ]
    return _table(head, rows) if rows else ["No trial has reached the full budget yet."]


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return lines of Markdown; em spaces keep columns apart, since the page pads no cells."""
    cells = [[cell + _APART for cell in row] for row in (head, *rows)]
    cells.insert(1, [":---"] * len(head))
    return ["| " + " | ".join(row) + " |" for row in cells]
