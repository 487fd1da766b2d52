"""Who proposes points: Optuna samplers by name."""

import warnings
from collections.abc import Callable, Mapping
from typing import Any

from optuna.exceptions import ExperimentalWarning
from optuna.samplers import (
    BaseSampler,
    GPSampler,
    NSGAIIISampler,
    NSGAIISampler,
    RandomSampler,
    TPESampler,
)

from nas.sampler.front_mutation import FrontMutationSampler
from nas.sampler.known_cost import KnownCostSampler
from nas.sampler.problem import Problem
from primitives.core.errors import InvalidInput, nearest

_POPULATION = 20  # Optuna's 50 is more than most searches train


def _quiet(make: Callable[..., BaseSampler], **options: Any) -> BaseSampler:
    """Make a sampler that Optuna calls experimental, in part or as a whole."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        return make(**options)


def _tpe(seed: int) -> BaseSampler:
    """Multivariate tree-structured Parzen estimator.

    Source: Bergstra et al., NeurIPS 2011; Falkner et al., ICML 2018.
    Running trials count as bad ones, so that parallel proposals spread.
    """
    return _quiet(TPESampler, multivariate=True, group=True, constant_liar=True, seed=seed)


SAMPLERS: Mapping[str, Callable[[int, Callable[[], Problem]], BaseSampler]] = {
    "known-cost": lambda seed, problem: KnownCostSampler(problem(), seed=seed),
    "tpe": lambda seed, _: _tpe(seed),
    "nsga2": lambda seed, _: NSGAIISampler(population_size=_POPULATION, seed=seed),
    "nsga3": lambda seed, _: _quiet(NSGAIIISampler, population_size=_POPULATION, seed=seed),
    "gp": lambda seed, _: _quiet(GPSampler, seed=seed),  # seconds a proposal from 100 trials on
    "random": lambda seed, _: RandomSampler(seed=seed),
    "local": lambda seed, problem: FrontMutationSampler(problem(), seed=seed),
}


def check_sampler(name: str) -> None:
    """Check that there is a sampler of that name.

    Raises:
        InvalidInput: there is none.
    """
    if name not in SAMPLERS:
        known = ", ".join(SAMPLERS)
        raise InvalidInput(f"sampler must be one of {known}, got {name!r}{nearest(name, SAMPLERS)}")


def make_sampler(name: str, seed: int, problem: Callable[[], Problem]) -> BaseSampler:
    """Return a fresh sampler.

    Args:
        name: a key of `SAMPLERS`.
        seed: of everything that it draws.
        problem: says what is searched; called only for samplers that want to know.

    Raises:
        InvalidInput: the name is unknown.
    """
    check_sampler(name)
    return SAMPLERS[name](seed, problem)
