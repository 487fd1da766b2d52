"""What is known of trainings before their end, and what it promises, in a study by hand."""

import json

import numpy as np
import optuna
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from nas.fidelity.curve_gain import CurveGain
from nas.fidelity.early_stop import RUNGS, curve_reader
from nas.sampler.history import read_history
from nas.sampler.problem import Goal, Point, Problem

SPACE: dict[str, BaseDistribution] = {
    "width": IntDistribution(1, 8),
    "block": CategoricalDistribution(["a", "b", "c"]),
}
READ = curve_reader([3, 9])


def cost(points: list[Point]) -> dict[str, np.ndarray]:
    widths = np.array([float(point["width"]) for point in points])
    return {"params": 100 * widths, "macs": 10 * widths}


def trial(width: int, block: str, losses: dict[str, float], dice: float | None) -> FrozenTrial:
    return create_trial(
        params={"width": width, "block": block},
        distributions=SPACE,
        user_attrs={RUNGS: {epoch: [loss, "on"] for epoch, loss in losses.items()}},
        state=TrialState.PRUNED if dice is None else TrialState.COMPLETE,
        values=None if dice is None else [dice, float(np.log(100 * width))],
    )


def dice(width: int, block: str) -> float:
    return 0.6 + 0.02 * width + {"a": 0.0, "b": 0.05, "c": 0.08}[block]


@pytest.fixture
def study() -> optuna.Study:
    made = optuna.create_study(directions=["maximize", "minimize"])
    for width in range(1, 8, 2):
        for block in "abc":
            final = dice(width, block)
            losses = {"3": 1.5 - 0.5 * final, "9": 1.2 - final}
            made.add_trial(trial(width, block, losses, final))
    return made


def test_results_come_first_and_then_what_only_reached_a_rung(study: optuna.Study) -> None:
    study.add_trial(trial(8, "a", {"3": 0.5}, None))
    study.add_trial(trial(2, "b", {}, None))
    study.add_trial(trial(8, "b", {}, 0.7))
    found = read_history(study, lambda p: json.dumps(dict(p)), list(SPACE), -1, READ)
    assert found.curves is not None
    assert found.curves.points[:13] == found.complete.points
    assert found.curves.points[13:] == [{"width": 8, "block": "a"}]
    assert found.curves.losses[13] == pytest.approx([0.5, np.nan], nan_ok=True)
    assert np.isnan(found.curves.losses[12]).all()
    assert not np.isnan(found.curves.losses[:12]).any()


def test_a_lower_loss_of_the_same_design_promises_more(study: optuna.Study) -> None:
    problem = Problem(space=SPACE, goals=[Goal(), Goal("params")], cost=cost, curve=READ)
    gains = {}
    for name, loss in {"good": 0.35, "bad": 0.55}.items():
        other = optuna.create_study(directions=["maximize", "minimize"])
        other.add_trials(study.trials)
        other.add_trial(trial(4, "b", {"3": 1.15, "9": loss}, None))
        gains[name] = CurveGain(other, problem)(other.trials[-1:])[0]
    assert gains["good"] > 3 * gains["bad"] > 0


def test_what_is_dear_and_foretold_to_be_bad_promises_next_to_nothing(study: optuna.Study) -> None:
    problem = Problem(space=SPACE, goals=[Goal(), Goal("params")], cost=cost, curve=READ)
    study.add_trial(trial(8, "a", {"3": 1.2, "9": 0.6}, None))
    study.add_trial(trial(2, "c", {"3": 1.1, "9": 0.3}, None))
    poor, rich = CurveGain(study, problem)(study.trials[-2:])
    assert poor < 0.01 * rich
