"""The contract of every rule of early stopping, on searches of the synthetic problem."""

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState

from nas.bench.fidelity import EPOCHS, RULES, Trainings
from nas.bench.grounds import Synthetic
from nas.bench.judge import judge
from nas.bench.search import _play
from nas.bench.synthetic import Instance
from nas.fidelity.early_stop import RESUMES, RUNGS
from nas.fidelity.rungs import ENOUGH, quota
from nas.pareto import hypervolume
from tests.commands import run_json

BUDGET = 14
GROUND = Synthetic(Instance(7))


@pytest.fixture(params=["mo-asha", "known-cost+mo-asha", "known-cost+model"], scope="module")
def played(request: pytest.FixtureRequest) -> tuple[optuna.Study, Trainings, str]:
    done = _play(request.param, GROUND, BUDGET)
    return done.study, done, RULES[request.param][1]


def test_trials_that_are_stopped_are_pruned_with_their_losses(
    played: tuple[optuna.Study, Trainings, str],
) -> None:
    for trial in played[0].trials:
        verdicts = [verdict for _, verdict in trial.user_attrs.get(RUNGS, {}).values()]
        if trial.state == TrialState.PRUNED:
            assert verdicts[-1] == "stopped"
            assert set(verdicts[:-1]) <= {"on", "free"}
        elif trial.state == TrialState.COMPLETE:
            assert len(verdicts) == 2
            assert set(verdicts) <= {"on", "free"}


def test_one_in_two_goes_on_at_each_rung(played: tuple[optuna.Study, Trainings, str]) -> None:
    study, _, rule = played
    resumed = {trial.user_attrs.get(RESUMES) for trial in study.trials}
    for rung in ("3", "9"):
        here = [t for t in study.trials if rung in t.user_attrs.get(RUNGS, {})]
        verdicts = [t.user_attrs[RUNGS][rung][1] for t in here if t.number not in resumed]
        compared = [verdict for verdict in verdicts if verdict != "free"]
        assert compared.count("on") >= quota(len(compared)) - 1
        assert compared.count("stopped") > 0
        # Later ones are better than half of the past, so "mo-asha" lets more go on; at first it
        # decides for "model" as well, which then makes up for it.
        if rule == "model":
            assert compared.count("on") <= quota(len(compared)) + ENOUGH / 2


def test_the_clock_counts_every_epoch_once(played: tuple[optuna.Study, Trainings, str]) -> None:
    study, done, _ = played
    resumed = {trial.user_attrs.get(RESUMES) for trial in study.trials}
    epochs = 0
    for trial in study.trials:
        if trial.number not in resumed and trial.state != TrialState.WAITING:
            complete = trial.state == TrialState.COMPLETE
            epochs += EPOCHS if complete else max(map(int, trial.user_attrs[RUNGS]))
    waiting = [t for t in study.trials if t.state == TrialState.WAITING]
    epochs += sum(max(map(int, t.user_attrs[RUNGS])) for t in waiting)
    assert done.clock == pytest.approx(epochs / EPOCHS)
    assert BUDGET - 1e-9 <= done.clock < BUDGET + 1


def test_shares_are_of_full_trainings_within_the_clock(
    played: tuple[optuna.Study, Trainings, str],
) -> None:
    study, done, _ = played
    complete = [t for t in study.trials if t.state == TrialState.COMPLETE]
    assert len(complete) == len(done.ended)
    (found,) = judge([done], BUDGET)
    assert len(found.shares) == BUDGET
    assert (np.diff(found.shares) >= 0).all()
    early = [one.point for one in done.ended if one.clock <= 10]
    volume = hypervolume(GROUND.losses(early), np.zeros(2))
    assert found.shares[9] == pytest.approx(volume / GROUND.best)
    assert done.seconds == pytest.approx(60 * done.clock + done.thought)


@pytest.mark.slow
def test_a_resumed_training_has_the_luck_and_the_curve_that_it_began_with() -> None:
    trials = _play("known-cost+model", GROUND, 20).study.trials
    resumed = [t for t in trials if RESUMES in t.user_attrs and t.state == TrialState.COMPLETE]
    assert resumed
    for trial in resumed:
        first = trial
        while RESUMES in first.user_attrs:
            first = trials[first.user_attrs[RESUMES]]
        assert first.params == trial.params
        assert trial.values[0] == GROUND.train(trial.params, first.number)
        assert trial.user_attrs[RUNGS]["9"][0] == GROUND.loss(trial.params, first.number, 1 / 3)


@pytest.mark.slow
def test_without_a_rule_every_training_costs_one() -> None:
    ground = Synthetic(Instance(3))
    done = _play("random", ground, 12)
    (found,) = judge([done], 12)
    assert [one.clock for one in done.ended] == pytest.approx(list(range(1, 13)))
    assert (found.shares == done.volumes() / ground.best).all()


def test_rules_are_compared_by_name_beside_samplers() -> None:
    found = run_json(
        "bench search --samplers known-cost,mo-asha --first-seed 3 --seeds 1 --trials 10"
    )
    assert set(found["samplers"]) == {"known-cost", "mo-asha"}
    assert {"mo-asha", "known-cost+model", "known-cost+mo-asha"} <= set(RULES)
