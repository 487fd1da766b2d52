"""Predicted latencies in a study: of the machine that measures, or of another one.

On the machine that measures, a prediction spares candidates that are clearly too slow, and the
sampler takes it for exact: it errs by a few per cent, where the latencies of a space differ by
factors. What is trained is measured all the same. The latency of another device cannot be measured
here; there the prediction is the latency.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from nas.evaluation import Latency
from nas.latency.calibration import (
    Calibration,
    find_calibration,
    kept_calibration,
    read_calibration,
)
from nas.latency.measure import describe_rig, rig_key
from nas.latency.model import LatencyModel
from nas.objectives import Limit, parse_limit
from nas.settings import Study
from primitives.core.errors import InvalidInput
from search_spaces.core.arch import Arch

_MOST = 0.9  # error that an interval is drawn for; beyond it there is no upper end


@dataclass(frozen=True)
class Forecast:
    """What a study predicts latency with.

    Attributes:
        model: of the rig.
        error: that 90 % of the predictions for the study's space are within, relative.
        final: the rig is another device: nothing is measured.
    """

    model: LatencyModel
    error: float
    final: bool

    def ms(self, arch: Arch) -> float:
        """Return the predicted milliseconds."""
        return self.model.predict(arch)

    def latency(self, arch: Arch) -> Latency:
        """Return the prediction with the interval that 90 % of the measured times lie in."""
        ms, error = self.ms(arch), min(self.error, _MOST)
        return Latency(ms, ms / (1 + error), ms / (1 - error), 0, rig_key(self.model.rig))

    def too_slow(self, arch: Arch, limits: Sequence[Limit]) -> Latency | None:
        """Return the prediction if it breaks a limit by more than its error, else None."""
        bounds = [limit.bound for limit in limits if limit.objective.name == "latency"]
        found = self.latency(arch) if bounds else None
        return found if found and found.low_ms > min(bounds) else None

    def bound(self, limit: float) -> float:
        """Return the predicted latency from which on a limit, ms, is broken beyond the error."""
        return limit if self.final else limit * (1 + min(self.error, _MOST))


def is_timed(study: Study) -> bool:
    """Whether latency is an objective of a study, or limited."""
    limited = {parse_limit(text).objective.name for text in study.constraints}
    return "latency" in {*study.objectives, *limited}


def study_rig(study: Study) -> str:
    """Return the key of the rig that a study's latencies are measured on."""
    device = torch.device(study.device)
    return rig_key(describe_rig(device, study.latency_threads, study.latency_runtime))


def choose_calibration(
    study: Study, store: Path, file: Path | None, *, new: bool
) -> tuple[Study, Calibration | None]:
    """Return the study with the calibration that it predicts latency from, None without one.

    Args:
        study: as planned.
        store: where calibrations are kept.
        file: a recording of another device that the user names.
        new: whether the study begins; one that exists keeps what it began with.

    Raises:
        InvalidInput: the file does not fit the study, or a calibration is gone.
    """
    if file is not None:
        found = read_calibration(file)
        _check_file(found, study, file)
        return replace(study, latency_from=found.key, latency_model=""), found
    key = study.latency_from or study.latency_model
    if key:
        return study, kept_calibration(store, key)
    if not new or not is_timed(study):
        return study, None
    mine = find_calibration(store, study_rig(study), study.size, study.space)
    return (replace(study, latency_model=mine.key), mine) if mine else (study, None)


def make_forecast(study: Study, calibration: Calibration | None) -> Forecast | None:
    """Return what a study predicts with, None without a calibration."""
    if calibration is None:
        return None
    accuracy = calibration.accuracy(study.space)
    assert accuracy is not None, "it was chosen for the space"
    return Forecast(calibration.model, accuracy.ninety, final=bool(study.latency_from))


def _check_file(found: Calibration, study: Study, file: Path) -> None:
    if not is_timed(study):
        raise InvalidInput(
            f"latency_from needs latency among objectives or constraints, got "
            f"{', '.join(study.objectives)}"
        )
    if found.model.size != study.size:
        raise InvalidInput(
            f"{file} was recorded at size {found.model.size}, the study has size {study.size}; "
            f"use --size {found.model.size} or record at {study.size}"
        )
    if found.accuracy(study.space) is None:
        raise InvalidInput(
            f"{file} has no networks of space {study.space!r}; record with --space {study.space}"
        )
