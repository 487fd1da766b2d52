"""What Optuna knows of a space."""

import random

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, IntDistribution
from optuna.samplers import RandomSampler

import search_spaces
from nas.dimensions import suggest
from search_spaces.core.space import Int, Space

SPACES = [search_spaces.load(name) for name in search_spaces.names()]
every_space = pytest.mark.parametrize("space", SPACES, ids=lambda s: s.name)


def new_study() -> optuna.Study:
    return optuna.create_study(sampler=RandomSampler(seed=0))


@every_space
def test_optuna_holds_exactly_the_values_of_the_space(space: Space) -> None:
    trial = new_study().ask()
    suggest(trial, space)
    assert list(trial.distributions) == list(space.dimensions)
    for name, dimension in space.dimensions.items():
        held = trial.distributions[name]
        if isinstance(dimension, Int):
            assert isinstance(held, IntDistribution)
            assert (held.low, held.high, held.step) == (
                dimension.low,
                dimension.high,
                dimension.step,
            )
        else:
            assert isinstance(held, CategoricalDistribution)
            assert [(type(v), v) for v in held.choices] == [(type(v), v) for v in dimension.values]


@every_space
def test_every_baseline_survives_enqueue_and_ask(space: Space) -> None:
    study = new_study()
    for baseline in space.baselines.values():
        study.enqueue_trial(dict(baseline.point))
    for name, baseline in space.baselines.items():
        point = suggest(study.ask(), space)
        assert point == baseline.point, name
        assert space.arch(point) == space.arch(baseline.point)


@every_space
def test_what_a_sampler_proposes_is_a_point_of_the_space(space: Space) -> None:
    study = new_study()
    for _ in range(5):
        point = suggest(study.ask(), space)
        assert point.keys() == space.dimensions.keys()
        assert all(point[name] in d.values for name, d in space.dimensions.items())


@every_space
def test_what_a_trial_holds_already_is_kept(space: Space) -> None:
    study = new_study()
    point = space.sample(random.Random(3))
    study.enqueue_trial(dict(point))
    trial = study.ask()
    assert suggest(trial, space) == suggest(trial, space) == point
