"""Who proposes points: Optuna samplers by name."""

import warnings
from collections.abc import Callable, Mapping

from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, NSGAIISampler, RandomSampler, TPESampler

from primitives.core.errors import InvalidInput, nearest


def _tpe(seed: int) -> BaseSampler:
    """Multivariate tree-structured Parzen estimator.

    Source: Bergstra et al., NeurIPS 2011; Falkner et al., ICML 2018.
    Running trials count as bad ones, so that parallel proposals spread.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)  # multivariate, group, constant_liar
        return TPESampler(multivariate=True, group=True, constant_liar=True, seed=seed)


SAMPLERS: Mapping[str, Callable[[int], BaseSampler]] = {
    "tpe": _tpe,
    "nsga2": lambda seed: NSGAIISampler(population_size=20, seed=seed),
    "random": lambda seed: RandomSampler(seed=seed),
}


def make_sampler(name: str, seed: int) -> BaseSampler:
    """Return a fresh sampler.

    Raises:
        InvalidInput: the name is unknown.
    """
    if name not in SAMPLERS:
        known = ", ".join(SAMPLERS)
        raise InvalidInput(f"sampler must be one of {known}, got {name!r}{nearest(name, SAMPLERS)}")
    return SAMPLERS[name](seed)
