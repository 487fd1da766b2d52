"""A space's dimensions as Optuna sees them; dimensions are declared in the space alone."""

from collections.abc import Mapping

from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution

from search_spaces.core.space import Choice, Int, Space


def distributions(space: Space) -> Mapping[str, BaseDistribution]:
    """Return Optuna's distribution of each dimension."""
    return {name: _distribution(dimension) for name, dimension in space.dimensions.items()}


def _distribution(dimension: Choice | Int) -> BaseDistribution:
    if isinstance(dimension, Int):
        return IntDistribution(dimension.low, dimension.high, step=dimension.step)
    return CategoricalDistribution(dimension.values)
