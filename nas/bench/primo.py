"""PriMO of NePS as an opponent of ours; a search does not offer it.

It decides who is trained on as well as what is tried: multi-objective successive halving first,
then Bayesian optimisation with random weights of the objectives. It minimises the validation loss,
or 1 - Dice where a table tells Dice before the end, and log-parameters. It is given no priors: the
made-up problem has no published networks. It knows no limits.

Source: PriMO, arXiv 2511.08371; neural-pipeline-search (0.17), which pins an older BoTorch and so
needs an environment of its own.
"""

from collections.abc import Mapping
from math import log
from typing import Any

import numpy as np
import optuna
import torch
from optuna.distributions import IntDistribution
from optuna.trial import create_trial

from nas.bench.fidelity import EPOCHS, Trainings
from nas.bench.grounds import Ground
from nas.bench.tabular import Tabular
from primitives.core.errors import InvalidInput

_LEAST = EPOCHS // 9  # epochs of its first rung
_FIDELITY = "epochs"
_REFUSED = 10.0  # objective of what cannot be trained


def play_primo(ground: Ground, trials: int) -> Trainings:
    """Return what a search trained.

    Args:
        ground: that answers.
        trials: training equivalents.

    Raises:
        InvalidInput: NePS is not installed.
    """
    asks = _optimizer(ground)
    study = optuna.create_study(directions=["maximize", "minimize"])
    done = Trainings(study, ground, "none", ground.problem())
    numbers: dict[str, int] = {}
    while done.lasts(trials):
        with done.proposing():
            asked = asks.ask()
        point = {name: asked.config[name] for name in ground.space}
        root = str(asked.id).split("_")[0]
        number = numbers.setdefault(root, len(numbers))
        before = asked.metadata.previous_trial_id
        epochs = asked.config[_FIDELITY]
        if not ground.knows(point):
            done.refused += 1
            asks.tell(asked, {"objective_to_minimize": [_REFUSED, log(ground.costs(point)[0])]})
            continue
        paid = asks.trials[before].config[_FIDELITY] if before else 0
        done.pay(point, (epochs - paid) / EPOCHS)
        values = [_height(ground, point, number, epochs / EPOCHS), log(ground.costs(point)[0])]
        asks.tell(asked, {"objective_to_minimize": values})
        if epochs == EPOCHS:
            dice = ground.train(point, number)
            _keep(study, ground, point, [dice, values[1]])
            done.end(point)
    return done


def _optimizer(ground: Ground) -> Any:
    try:
        import neps
        from neps.optimizers import algorithms
        from neps.optimizers.ask_and_tell import AskAndTell
        from neps.space.neps_spaces.neps_space import convert_neps_to_classic_search_space
    except ImportError:
        raise InvalidInput(
            "sampler 'primo' needs NePS: pip install neural-pipeline-search, in an environment of "
            "its own"
        ) from None
    torch.manual_seed(ground.seed)
    np.random.seed(ground.seed)
    dimensions: Mapping[str, Any] = {
        name: neps.Integer(d.low, d.high)
        if isinstance(d, IntDistribution)
        else neps.Categorical(tuple(d.choices))  # type: ignore[attr-defined]
        for name, d in ground.space.items()
    }
    fidelity = {_FIDELITY: neps.IntegerFidelity(_LEAST, EPOCHS)}
    space = type("Space", (neps.PipelineSpace,), {**dimensions, **fidelity})()
    classic = convert_neps_to_classic_search_space(space)
    return AskAndTell(algorithms.primo(classic, prior_centers={}))


def _height(ground: Ground, point: Mapping[str, Any], number: int, share: float) -> float:
    """Return what the score's objective is after a share of a training."""
    if isinstance(ground, Tabular):
        if share == 1:
            return 1 - ground.train(point, number)
        return 1 - ground.early_dice(point, number, share)
    return ground.loss(point, number, share)


def _keep(
    study: optuna.Study, ground: Ground, point: Mapping[str, Any], values: list[float]
) -> None:
    trial = create_trial(params=dict(point), distributions=dict(ground.space), values=values)
    study.add_trial(trial)
