"""A study's settings: what makes two runs the same search. Immutable, JSON-able values."""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from nas.recipes import find_recipe
from primitives.core.errors import InvalidInput, nearest


class StudyMismatch(InvalidInput):
    """A study is to be continued with other settings than it was made with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """Everything that a result of the search depends on.

    Attributes:
        name: of the study in its store.
        space: a search space.
        objectives: one to four names of `nas.objectives`.
        constraints: e.g. "params<=0.5M"; what breaks one is never trained.
        data: "phantom" or the absolute path of a folder.
        size: side of the network's input in pixels or voxels.
        fit: "resize" whole images to `size`, or "crop" patches of it; of volumes "crop" alone.
        invert_masks: the class of interest is stored as 0.
        skip_bad: leave bad files out instead of refusing the folder.
        recipe: a training recipe of `nas.recipes`.
        epochs: the full budget of a trial.
        seed: every other seed derives from it and the arch key.
        device: "cpu", "cuda" or "mps".
        sampler: who proposes; a key of `nas.sampler.by_name`.
        warm_start: what the sampler learns from: an earlier study of the store, of the same space,
            or the absolute path of a file of `nas bench table`; "": nothing.
        fidelity: who is stopped before the end of the budget; one of
            `nas.fidelity.rungs.FIDELITIES`.
        inherit: whether candidates begin with the weights of the nearest one, in a short plan, and
            only those that then look like the front are trained in full; see
            `nas.inheritance.lineage`.
        baselines: whether the published networks are the first trials.
        latency_threads: threads of a latency measurement on a CPU.
        latency_runtime: what runs the networks that are timed: "torch" on `device`, or
            "onnxruntime" on the CPU.
        latency_from: key of another device's recording, whose predictions are the latency; "":
            latency is measured.
        latency_model: key of this machine's calibration, which the sampler predicts latency from;
            "": there was none when the study began.
    """

    name: str
    space: str
    objectives: tuple[str, ...]
    constraints: tuple[str, ...] = ()
    data: str = "phantom"
    size: int
    fit: str = "resize"
    invert_masks: bool = False
    skip_bad: bool = False
    recipe: str = "fast"
    epochs: int
    seed: int = 0
    device: str = "cpu"
    sampler: str = "known-cost"
    warm_start: str = ""
    fidelity: str = "none"
    inherit: bool = False
    baselines: bool = True
    latency_threads: int = 1
    latency_runtime: str = "torch"
    latency_from: str = ""
    latency_model: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return plain data that `from_json` reads back."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read the JSON form.

        Raises:
            InvalidInput: it holds an unknown key.
        """
        known = {f.name for f in dataclasses.fields(cls)}
        for key in data:
            if key not in known:
                raise InvalidInput(f"a study has no setting {key!r}{nearest(key, known)}")
        lists = {k: tuple(v) for k, v in data.items() if isinstance(v, list | tuple)}
        return cls(**{**data, **lists})

    def check_same(self, stored: "Study") -> None:
        """Compare with the settings that the study of this name was made with.

        Raises:
            StudyMismatch: they differ; the message lists how.
        """
        mine, theirs = self.to_json(), stored.to_json()
        changed = [f"{k}={theirs[k]!r}, got {k}={mine[k]!r}" for k in mine if mine[k] != theirs[k]]
        if changed:
            raise StudyMismatch(
                f"study {self.name!r} was made with {'; '.join(changed)}; use another --study name"
            )

    def seed_of(self, arch_key: str) -> int:
        """Return the training seed of an arch: it depends on nothing else than this and `seed`."""
        return training_seed(self.seed, arch_key)

    def recipe_key(self, fingerprint: str) -> str:
        """Return the key under which evaluations can be reused: data, recipe, budget, seed, device.

        Args:
            fingerprint: of the prepared data.
        """
        recipe = [self.recipe, find_recipe(self.recipe).version]
        facts = [fingerprint, recipe, self.epochs, self.seed, self.size, self.device]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:12]


def training_seed(seed: int, arch_key: str) -> int:
    """Return the seed of an arch's training, where `seed` is that of all trainings."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{arch_key}".encode()).digest()[:4])


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """How far and how wide to run now; may change each time a study is continued.

    Attributes:
        trials: total number of trials that the study shall end with.
        seconds: wall time after which no trial is started or continued; None: no limit.
        workers: trials in training at once.
        gpus_per_trial: share of a GPU that Ray reserves for each.
        trial_timeout: seconds after which a trial counts as hung; None: no limit.
    """

    trials: int
    seconds: float | None = None
    workers: int = 1
    gpus_per_trial: float = 0.0
    trial_timeout: float | None = None


def check_fields(options: Mapping[str, Any]) -> None:
    """Check that options are fields of `Study` and `Run`, or "store", and of the right types.

    Raises:
        InvalidInput: a name is unknown, or a value is of another type.
    """
    kinds = {f.name: f.type for f in (*dataclasses.fields(Study), *dataclasses.fields(Run))}
    kinds["store"] = str
    for name, value in options.items():
        if name not in kinds:
            raise InvalidInput(f"a search has no setting {name!r}{nearest(name, kinds)}")
        rule, fits = _KINDS[kinds[name]]
        if not fits(value):
            raise InvalidInput(f"{name} must be {rule}, got {value!r}")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_list(value: object) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(item, str) for item in value)


# Type of a field -> how a message calls it, and whether a value is one.
_KINDS: Mapping[Any, tuple[str, Callable[[object], bool]]] = {
    str: ("text", lambda value: isinstance(value, str)),
    bool: ("true or false", lambda value: isinstance(value, bool)),
    int: ("a whole number", lambda value: _is_number(value) and isinstance(value, int)),
    float: ("a number", _is_number),
    float | None: ("a number", _is_number),
    tuple[str, ...]: ("a list of texts", _is_list),
}
