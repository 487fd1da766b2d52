"""A made-up search problem with known truth, to compare samplers in seconds.

Twenty choices of a U-shaped network: width, block, depth of five stages, three kernels, the skip
and the decoder, 2 x 10^12 designs. Parameters and multiply-adds follow exactly from them; Dice is a
saturating map of main effects, 16 interactions of pairs and capacity, and each training adds noise.
Every seed draws another instance.

Before its end a training shows a validation loss, whose rank correlation with the final Dice is
about 0.1, 0.5 and 0.9 at 1/27, 1/9 and 1/3 of the plan. One half of what hides the final Dice is
how fast a design learns, by genes and size; the other is luck that a training keeps for a while.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import log

import numpy as np
from numpy.typing import NDArray

from nas.pareto import Floats, front_mask, hypervolume

Codes = NDArray[np.intp]  # one row per design, one index per gene

STAGES = 5
WIDTHS = (2, 4, 6, 8, 12, 16)  # times `_GROWTH`
DEPTHS = (1, 2, 3)
KERNELS = (3, 5, 7)
BLOCKS = ("plain", "separable", "inverted", "bottleneck", "shuffle")
SKIPS = ("add", "concat", "gate", "none")
DECODERS = ("plain", "separable", "linear")
_GROWTH = (1, 2, 4, 6, 8)
_PAIRS = 16
_WORST, _BEST = 0.5, 0.9  # of Dice
_GENERATIONS = 400  # of the search for the best
_SHARES = (1 / 27, 1 / 9, 1 / 3, 1.0)  # of a training's plan
_FORESIGHT = (0.1, 0.5, 0.9, 1.0)  # Spearman's correlation of the loss there and the final Dice

GENES: Mapping[str, tuple[int | str, ...]] = {
    **{f"width_{i}": WIDTHS for i in range(1, STAGES + 1)},
    **{f"block_{i}": BLOCKS for i in range(1, STAGES + 1)},
    **{f"depth_{i}": DEPTHS for i in range(1, STAGES + 1)},
    "kernel_top": KERNELS,
    "kernel_deep": KERNELS,
    "kernel_decoder": KERNELS,
    "skip": SKIPS,
    "decoder": DECODERS,
}
_SIZES = np.array([len(values) for values in GENES.values()])
_NAMES = list(GENES)
_ORDERED = [not isinstance(values[0], str) for values in GENES.values()]


def costs(codes: Codes) -> Floats:
    """Return parameters and multiply-adds (at 64 x 64 pixels) of designs.

    Shape: (n, 20) -> (n, 2)
    """
    genes = dict(zip(_NAMES, codes.T, strict=True))
    widths = [np.array(WIDTHS)[genes[f"width_{i + 1}"]] * _GROWTH[i] for i in range(STAGES)]
    side = {n: np.array(KERNELS)[genes[f"kernel_{n}"]] ** 2.0 for n in ("top", "deep", "decoder")}
    params = macs = np.zeros(len(codes))
    before = np.full(len(codes), 3.0)
    for i, width in enumerate(widths):
        kernel = side["top" if i < 2 else "deep"]
        one = np.stack([
            kernel * width**2,
            width * (kernel + width),
            2 * width * (kernel + 2 * width),
            width * (width + kernel * width / 4),
            width * (kernel + width / 2),
        ])  # fmt: skip
        depth = np.array(DEPTHS)[genes[f"depth_{i + 1}"]]
        stage = before * width + depth * one[genes[f"block_{i + 1}"], np.arange(len(codes))]
        params, macs = params + stage, macs + stage * 64**2 / 4**i
        before = width
    kernel = side["decoder"]
    for i in range(STAGES - 1):
        low, high = widths[i], widths[i + 1]
        joined = low * np.array([1, 2, 1.5, 1])[genes["skip"]]
        one = np.stack([kernel * joined * low, joined * (kernel + low), joined * low])
        stage = high * low + one[genes["decoder"], np.arange(len(codes))]
        params, macs = params + stage, macs + stage * 64**2 / 4**i
    return np.stack([params, macs], axis=1)


@dataclass(frozen=True)
class Instance:
    """One draw of the problem.

    Attributes:
        seed: of the draw.
        noise: standard deviation that a training's seed adds to Dice.
        tight: whether parameters are limited to the 5th percentile of the space.
        kin: an instance of which this one is a relative, as another data set is: its effects are
            0.8 times the other's and 0.6 times those of its own draw.
    """

    seed: int
    noise: float = 0.006
    tight: bool = False
    kin: "Instance | None" = None

    def dice(self, codes: Codes) -> Floats:
        """Return the true Dice of designs.

        Shape: (n, 20) -> (n,)
        """
        return _WORST + (_BEST - _WORST) / (1 + np.exp(-1.2 * self._merit(codes)))

    def train(self, codes: Codes, training: int) -> float:
        """Return the noisy Dice of one design; trainings of the same number share their luck."""
        luck = np.random.default_rng([self.seed, 1, training]).normal()
        return float(np.clip(self.dice(codes[None])[0] + self.noise * luck, 0, 1))

    def loss(self, codes: Codes, training: int, share: float) -> float:
        """Return the validation loss of one design after a share of a training.

        Args:
            codes: of the design.
            training: its number; see `train`.
            share: of the plan, from 1 / 27 to 1.

        Shape: (20,), scalar, scalar -> scalar
        """
        middle, spread = self._dice_scale
        final = (self.train(codes, training) - middle) / spread
        place = float(np.interp(log(share), np.log(_SHARES), _FORESIGHT))
        known = 2 * np.sin(np.pi / 6 * place)  # Pearson's correlation of normal values
        hidden = np.sqrt(0.5) * (self._speed(codes[None])[0] + self._fortune(training, share))
        shown = known * final + np.sqrt(1 - known**2) * hidden
        return float(0.3 + 0.5 * (1 - share) ** 2 - 0.04 * (2 - share) * shown)

    def _speed(self, codes: Codes) -> Floats:
        """Return how fast designs learn, about 0 +- 1 over the space; small ones learn faster."""
        _, _, middle, width = self._scales
        capacity = (np.log(costs(codes)[:, 0]) - middle) / width
        alone = sum(effect[codes[:, i]] for i, effect in enumerate(self._speeds))
        return np.asarray(np.sqrt(0.7) * alone - np.sqrt(0.3) * capacity)

    @cached_property
    def _speeds(self) -> list[Floats]:
        """Draw what each gene adds to the speed, 0 +- 1 in all."""
        rng = np.random.default_rng([self.seed, 4])
        effects = [rng.normal(size=size) for size in _SIZES]
        total = np.sqrt(sum(effect.var() for effect in effects))
        return [(effect - effect.mean()) / total for effect in effects]

    def _fortune(self, training: int, share: float) -> float:
        """Return a training's luck at a moment, of variance 1; it fades with log(share)."""
        steps = np.random.default_rng([self.seed, 5, training]).normal(size=len(_SHARES))
        walk, kept = [steps[0]], np.exp(-0.5)
        for step in steps[1:]:
            walk.append(kept * walk[-1] + np.sqrt(1 - kept**2) * step)
        return float(np.interp(log(share), np.log(_SHARES), walk))

    @cached_property
    def _dice_scale(self) -> tuple[float, float]:
        dice = self.dice(self._crowd[0])
        return float(dice.mean()), float(dice.std())

    @cached_property
    def limit(self) -> float | None:
        """Most parameters that a design may have; None: any number."""
        return float(np.quantile(self._crowd[1][:, 0], 0.05)) if self.tight else None

    @cached_property
    def best(self) -> float:
        """Hypervolume of a noise-free evolution."""
        rng = np.random.default_rng([self.seed, 2])
        front = self._crowd[0]
        for _ in range(_GENERATIONS):
            front = front[self._on_front(front)]
            mothers, fathers = front[rng.integers(len(front), size=(2, 200))]
            children = np.where(rng.random(mothers.shape) < 0.3, fathers, mothers)
            moved = rng.random(children.shape) < rng.choice([1, 2, 4], (200, 1)) / len(_SIZES)
            children = np.where(moved, rng.integers(_SIZES, size=children.shape), children)
            front = np.unique(np.vstack([front, children]), axis=0)
        return self.volume(front)

    def volume(self, codes: Codes) -> float:
        """Return the true hypervolume of designs; those beyond the limit add nothing."""
        return hypervolume(self.losses(codes), np.zeros(2))

    def losses(self, codes: Codes) -> Floats:
        """Return loss columns whose worst value is 0: missing Dice and log-parameters.

        Shape: (n, 20) -> (n, 2)
        """
        top = self.limit or float(self._crowd[1][:, 0].max())
        return np.stack([_WORST - self.dice(codes), np.log(costs(codes)[:, 0]) - log(top)], axis=1)

    @cached_property
    def _crowd(self) -> tuple[Codes, Floats]:
        rng = np.random.default_rng([self.seed, 3])
        codes = rng.integers(_SIZES, size=(20_000, len(_SIZES)))
        return codes, costs(codes)

    def _on_front(self, codes: Codes) -> NDArray[np.bool_]:
        losses = self.losses(codes)
        front = front_mask(losses, ["minimize", "minimize"])
        within = (losses < 0).all(1)
        return front & within if (front & within).any() else front

    @cached_property
    def _effects(self) -> tuple[list[Floats], list[tuple[int, int, Floats]]]:
        """Draw main effects, each of mean 0, and interactions."""
        rng = np.random.default_rng([self.seed, 0])
        strength = rng.gamma(1.0, size=len(_SIZES))
        main = []
        for size, ordered, scale in zip(_SIZES, _ORDERED, strength, strict=True):
            effect = rng.normal(size=size)
            if ordered:  # more is better, with a bend
                place = np.linspace(-1, 1, size)
                effect = place * rng.normal(0.7, 0.7) + 0.7 * rng.normal() * place**2
            main.append(scale * (effect - effect.mean()))
        pairs = []
        for _ in range(_PAIRS):
            i, j = rng.choice(len(_SIZES), 2, replace=False)
            table = rng.normal(size=(_SIZES[i], _SIZES[j]))
            pairs.append((int(i), int(j), table - table.mean(0) - table.mean(1, keepdims=True)))
        return main, pairs

    def _raw(self, codes: Codes) -> tuple[Floats, Floats]:
        main, pairs = self._effects
        alone = np.asarray(sum(effect[codes[:, i]] for i, effect in enumerate(main)))
        joint = np.asarray(sum(table[codes[:, i], codes[:, j]] for i, j, table in pairs))
        if self.kin is None:
            return alone, joint
        others = self.kin._raw(codes)
        return 0.8 * others[0] + 0.6 * alone, 0.8 * others[1] + 0.6 * joint

    @cached_property
    def _scales(self) -> Floats:
        codes, cost = self._crowd
        alone, joint = self._raw(codes)
        capacity = np.log(cost[:, 0])
        return np.array([alone.std(), joint.std(), capacity.mean(), capacity.std()])

    def _merit(self, codes: Codes) -> Floats:
        alone, joint = self._raw(codes)
        main_sd, pair_sd, middle, width = self._scales
        capacity = np.tanh((np.log(costs(codes)[:, 0]) - middle) / width / 2) * 2
        return np.asarray(alone / main_sd + 0.6 * joint / pair_sd + 0.6 * capacity - 0.5)
