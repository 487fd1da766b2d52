"""A space's dimensions as Optuna sees them; dimensions are declared in the space alone."""

from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.trial import BaseTrial

from search_spaces.core.space import Int, Point, Space


def suggest(trial: BaseTrial, space: Space) -> Point:
    """Return the point of a trial; what it does not hold yet is asked of Optuna and stored."""
    for name, dimension in space.dimensions.items():
        if isinstance(dimension, Int):
            trial.suggest_int(name, dimension.low, dimension.high, step=dimension.step)
        else:
            trial.suggest_categorical(name, dimension.values)
    return trial.params


def distributions(space: Space) -> dict[str, BaseDistribution]:
    """Return what Optuna stores of each dimension that `suggest` asks for."""
    return {
        name: IntDistribution(dimension.low, dimension.high, step=dimension.step)
        if isinstance(dimension, Int)
        else CategoricalDistribution(dimension.values)
        for name, dimension in space.dimensions.items()
    }
