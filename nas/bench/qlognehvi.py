"""BoTorch's qLogNEHVI as an opponent of ours, an Optuna sampler; a search does not offer it.

Its own recommended setting for spaces of integers and categories: a process per objective with a
kernel for categories, the noisy expected hypervolume improvement, optimised by turns over
continuous and discrete dimensions. All objectives are black boxes to it; limits are constraints of
the acquisition.

Source: Daulton, Balandat and Bakshy, NeurIPS 2021; Ament et al., NeurIPS 2023 (logarithm). Needs
botorch (0.18).
"""

import warnings
from typing import Any

import numpy as np
import torch
from numpy.random import Generator
from optuna.study import Study, StudyDirection

from nas.sampler.genes import Codes
from nas.sampler.history import History
from nas.sampler.point_sampler import PointSampler
from nas.sampler.pool import Pool
from nas.sampler.problem import Problem
from primitives.core.errors import InvalidInput

_START = 10  # random points, as Optuna's own process begins with
_SAMPLES = 64  # of the posterior
_RESTARTS, _RAW = 4, 128


class LogNehviSampler(PointSampler):
    """See the module.

    Args:
        problem: what is searched; of its costs it is told those of trained points alone.
        seed: with the trial's number it determines every draw.

    Raises:
        InvalidInput: botorch is not installed, or too old.
    """

    def __init__(self, problem: Problem, *, seed: int) -> None:
        try:
            import botorch.optim.optimize_mixed  # noqa: F401
        except ImportError:
            raise InvalidInput(
                "sampler 'qlognehvi' needs botorch: pip install nas-unet[bench]"
            ) from None
        super().__init__(problem, seed=seed)

    def propose(self, study: Study, history: History, rng: Generator) -> Codes:
        """Return the point with the largest acquisition."""
        from botorch.models.transforms import Standardize

        if len(history.complete.points) < _START:
            return np.asarray(Pool(self.genes.sizes, rng).random(1)[0])
        signs = [1.0 if d == StudyDirection.MAXIMIZE else -1.0 for d in study.directions]
        codes = self.genes.encode(history.complete.points)
        x = torch.tensor(codes, dtype=torch.double)
        y = torch.tensor(history.complete.values * signs, dtype=torch.double)
        torch.manual_seed(int(rng.integers(2**31)))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = _fitted(x, y, self._categories(), Standardize)
            found = self._optimised(model, x, y)
        return np.asarray(found.round(), dtype=np.intp)

    def _categories(self) -> list[int]:
        from nas.sampler.genes import is_ordered

        return [i for i, v in enumerate(self.genes.values.values()) if not is_ordered(v)]

    def _optimised(self, model: Any, x: Any, y: Any) -> Any:
        from botorch.acquisition.multi_objective.logei import (
            qLogNoisyExpectedHypervolumeImprovement,
        )
        from botorch.optim.optimize_mixed import optimize_acqf_mixed_alternating
        from botorch.sampling.normal import SobolQMCNormalSampler

        low, high = y.min(0).values, y.max(0).values
        bound = self.problem.limits.get("params")
        limits = [lambda values: -values[..., 1] - np.log(bound)] if bound else None
        acquisition = qLogNoisyExpectedHypervolumeImprovement(
            model=model,
            ref_point=(low - 0.1 * (high - low)).tolist(),
            X_baseline=x,
            sampler=SobolQMCNormalSampler(torch.Size([_SAMPLES])),
            constraints=limits,
            prune_baseline=True,
            cache_root=False,
        )
        sizes = self.genes.sizes
        grid = {i: list(map(float, range(size))) for i, size in enumerate(sizes)}
        categories = set(self._categories())
        found, _ = optimize_acqf_mixed_alternating(
            acq_function=acquisition,
            bounds=torch.tensor(np.array([np.zeros(len(sizes)), sizes - 1.0])),
            discrete_dims={i: v for i, v in grid.items() if i not in categories},
            cat_dims={i: v for i, v in grid.items() if i in categories},
            q=1,
            num_restarts=_RESTARTS,
            raw_samples=_RAW,
        )
        return found[0].numpy()


def _fitted(x: Any, y: Any, categories: list[int], standardize: Any) -> Any:
    """Return one process per objective; ordered genes are scaled to 0 to 1."""
    from botorch.fit import fit_gpytorch_mll
    from botorch.models import MixedSingleTaskGP, ModelListGP
    from botorch.models.transforms import Normalize
    from gpytorch.mlls import SumMarginalLogLikelihood

    ordered = [i for i in range(x.shape[1]) if i not in set(categories)]
    scale = Normalize(d=x.shape[1], indices=ordered)
    model = ModelListGP(*(
        MixedSingleTaskGP(
            x, column[:, None], cat_dims=categories, input_transform=scale,
            outcome_transform=standardize(m=1),
        )
        for column in y.T
    ))  # fmt: skip
    fit_gpytorch_mll(SumMarginalLogLikelihood(model.likelihood, model))
    return model
