"""Neural architecture search for lightweight medical segmentation U-nets.

    import nas

    study = nas.search("ultralight", "dice,latency", data="FOLDER", constraint="params<=0.5M")
    for trial in study.front():
        print(trial.number, trial.values)
    study.export(study.front()[0].number, "exported")

Functions import what they need when they are called, so that importing `nas` is quick.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

    from nas.handle import StudyHandle
    from search_spaces.core.arch import Arch
    from search_spaces.core.space import Space


def spaces() -> tuple[str, ...]:
    """Return the names of all search spaces."""
    import search_spaces

    return search_spaces.names()


def space(name: str) -> "Space":
    """Return a search space.

    Raises:
        InvalidInput: there is none of that name.
    """
    import search_spaces

    return search_spaces.load(name)


def baseline(name: str, in_channels: int = 3, classes: int = 1) -> "Arch":
    """Return the arch of a published network, e.g. "ultralight-base".

    Args:
        name: of a baseline of any space.
        in_channels: channels of the images.
        classes: channels of the logits: 1 for one foreground class, else background included.

    Raises:
        InvalidInput: there is none of that name.
    """
    from primitives.core.errors import InvalidInput, nearest

    known = {b: s for s in map(space, spaces()) if not s.homes for b in s.baselines}
    if name not in known:
        raise InvalidInput(
            f"baseline must be one of {', '.join(known)}, got {name!r}{nearest(name, known)}"
        )
    return known[name].arch(known[name].baselines[name].point, in_channels, classes)


def build(arch: "Arch") -> "nn.Module":
    """Return the network of an arch: (N, in_channels, H, W) -> logits (N, classes, H, W)."""
    from search_spaces.core.network import build as build_network

    return build_network(arch)


def search(
    space: str,
    objective: str | Sequence[str],
    *,
    constraint: str | Sequence[str] | None = None,
    store: str | Path = "nas-store",
    study: str | None = None,
    **options: Any,
) -> "StudyHandle":
    """Run or continue a search, as `nas search` does, and return the study.

    Args:
        space: a name of `spaces()`.
        objective: one to four names, as a list or joined by commas.
        constraint: e.g. "params<=0.5M", or several of them; "none" for no bound at all.
        store: folder of the store.
        study: name of the study; by default made of space and data.
        options: fields of `nas.settings.Study` and `nas.settings.Run`: data, size, trials, epochs,
            seed, device, workers, recipe, fit, ...

    Raises:
        InvalidInput: a choice, the data or the store does not allow it.
    """
    from nas.driver import drive
    from nas.plan import make_plan
    from nas.runner import Watcher

    chosen = {
        "space": space,
        "objectives": objective.split(",") if isinstance(objective, str) else list(objective),
        "constraints": [constraint] if isinstance(constraint, str) else constraint,
        "store": str(store),
        "name": study,
        **options,
    }
    return drive(make_plan(chosen), Watcher())


def open_study(store: str | Path, name: str) -> "StudyHandle":
    """Open a study of a store for reading.

    Raises:
        InvalidInput: there is no such store or study.
    """
    from nas.handle import open_study as open_handle

    return open_handle(store, name)
