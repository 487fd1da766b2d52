"""Sampler "known-cost": models what must be measured and computes what need not be.

Parameters, multiply-adds and memory follow exactly from a point, so only scores (and latency) are
modelled, by a Gaussian process on genes and log-costs (`surrogate`) under a map that undoes how
scores level off (`warp`). A candidate's worth is the
expected hypervolume that it adds, in closed form (`gain`); what breaks a limit on an exact cost
is never proposed. Running trials count as if they had met their prediction; the front's levels are
posterior means, since the best of many noisy values flatters. The first points are spread evenly
over what the first cost of random points is, by rank: evenly over its logarithm most would be at
the ends, where a space has few networks to learn from.

Scores that are modelled together, such as Dice and IoU, count as independent given the genes: where
they go together, the gain of improving both is understated.

Source: known costs in the acquisition: Elsken, Metzen and Hutter, LEMONADE, ICLR 2019 (as density);
expected hypervolume improvement: see `gain`. State is the study's trials alone: a continued
study goes on as if it had never stopped.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import islice

import numpy as np
from numpy.random import Generator
from optuna.study import Study, StudyDirection

from nas.pareto import Floats
from nas.sampler.cost_book import CostBook
from nas.sampler.curve_model import CurveFits
from nas.sampler.earlier import Earlier
from nas.sampler.genes import Codes
from nas.sampler.history import History
from nas.sampler.learned import Memory
from nas.sampler.point_sampler import PointSampler
from nas.sampler.pool import Pool
from nas.sampler.problem import Problem
from nas.sampler.similarity import Inputs
from nas.sampler.worth import Worth, to_inputs

START = 5  # results before the first model
_FEW = 4  # results before the first model where an earlier search has one
_SPREAD = 1000  # random points that the first proposals are chosen from
_ENOUGH = 50  # of them within the limits
_ENDS = 0.05, 0.95  # quantiles of their costs that the first proposals lie between
_SHORTLIST = 12  # candidates that are scored again with exact costs where these are dear
_WORSE = 2.0  # times smaller than the best: an estimated gain that is not scored again
_CHECKED = 60  # the most whose exact costs are measured for one proposal there
_IN_VAIN = 20  # of them beyond a limit, none within: candidates are searched again
_ROUNDS = 15  # of search at most


class KnownCostSampler(PointSampler):
    """See the module.

    Args:
        problem: what is searched.
        seed: with the trial's number it determines every draw.
        start: distinct results before the first model, fewer after an earlier search.

    Raises:
        InvalidInput: a dimension has no list of values.
    """

    def __init__(self, problem: Problem, *, seed: int, start: int = START) -> None:
        super().__init__(problem, seed=seed)
        self._start = start
        self._book = CostBook(problem.cost, self.genes, dear=problem.dear)
        self._memory = Memory()
        self._earlier: Earlier | None = None
        self._curves = CurveFits(self.genes.similarity)

    def propose(self, study: Study, history: History, rng: Generator) -> Codes:
        """Return the candidate with the largest expected gain; at first an even spread of costs."""
        informed = self.problem.earlier is not None
        seen = len(history.told.points)
        if history.curves is not None and seen >= _FEW:
            seen = len(history.curves.points)
        if seen < (min(self._start, _FEW) if informed else self._start):
            return self._spread(history, rng)
        return self._best(study, history, rng)

    def _spread(self, history: History, rng: Generator) -> Codes:
        """Return a point whose first cost is in the widest gap that ranks seen so far leave."""
        pool = Pool(self.genes.sizes, rng)

        def candidates() -> tuple[Codes, Floats]:
            codes = pool.random(_SPREAD)
            excess = self._excess(self._book.estimate(codes))
            if (excess <= 0).sum() < _ENOUGH:
                codes, _ = pool.search(codes[:0], lambda c: -self._excess(self._book.estimate(c)))
            cost = self._book.estimate(codes)
            within = self._excess(cost) <= 0
            if within.any():
                codes, cost = codes[within], cost[within]
            seen = self._book.exact(self.genes.encode([*history.told.points, *history.pending]))
            places, taken = (self._places(c[:, 0], cost[:, 0]) for c in (cost, seen))
            return codes, -np.abs(places - _gap(taken))

        return self._first_legal(candidates, history, None)

    def _places(self, cost: Floats, among: Floats) -> Floats:
        """Return where costs are among others, 0 for the lowest and 1 for the highest: by rank."""
        return np.asarray(np.searchsorted(np.sort(among), cost) / len(among))

    def _excess(self, cost: Floats) -> Floats:
        """Return by how much log-costs exceed the limits at most, 0 or less where all are kept."""
        worst = np.full(len(cost), -np.inf)
        for name, bound in self.problem.limits.items():
            worst = np.maximum(worst, cost[:, self._book.names.index(name)] - np.log(bound))
        return worst

    def _best(self, study: Study, history: History, rng: Generator) -> Codes:
        """Return the candidate with the largest expected gain."""
        signs = [-1.0 if d == StudyDirection.MAXIMIZE else 1.0 for d in study.directions]
        earlier = self._learn(tuple(signs))
        worth = Worth(
            self.problem,
            self.genes,
            self._book,
            history,
            signs,
            self._memory,
            earlier,
            self._curves,
        )
        pool = Pool(self.genes.sizes, rng)

        def score(codes: Codes) -> Floats:
            cost = self._book.estimate(codes)
            excess = self._excess(cost)
            within = excess <= 0
            scores = -1 - excess
            scores[within] = worth.gain(codes[within], cost[within])
            return scores

        return self._first_legal(lambda: pool.search(worth.front, score), history, worth)

    def _learn(self, signs: Sequence[float]) -> Earlier:
        """Return what an earlier search foretells; learned once."""
        if self._earlier is None:

            def inputs(points: Sequence[Mapping[str, object]]) -> Inputs:
                codes = self.genes.encode(points)
                return to_inputs(self.genes, codes, self._book.exact(codes))

            self._earlier = Earlier(self.problem, self.genes, inputs, signs)
        return self._earlier

    def _first_legal(
        self,
        candidates: Callable[[], tuple[Codes, Floats]],
        history: History,
        worth: Worth | None,
    ) -> Codes:
        """Return the best of the candidates and their scores that keeps the limits.

        While estimates let none through, the exact costs that refused them teach the next search.
        If none of any search does, the best of the last is returned, for the study to refuse.
        """
        for _ in range(_ROUNDS if self.problem.dear else 1):
            codes, scores = candidates()
            found = self._first_new(codes, scores, history, worth)
            if found is not None:
                return found
        best: Codes = codes[int(np.argmax(scores))]
        return best

    def _first_new(
        self, codes: Codes, scores: Floats, history: History, worth: Worth | None
    ) -> Codes | None:
        """Return the best candidate that is neither known nor beyond a limit, by exact costs.

        Where costs were estimated, up to `_SHORTLIST` candidates are scored anew with exact ones,
        fewer if none of the rest is within `_WORSE` of the best by estimates. None: there is none,
        or the first `_IN_VAIN` are all beyond a limit.
        """
        order = np.argsort(-scores, kind="stable")
        dear, best, best_score, within = self.problem.dear, None, -np.inf, 0
        least = _WORSE if dear else 1.0
        new = (row for row in order if self.key(self.genes.decode(codes[row])) not in history.known)
        for checked, row in enumerate(islice(new, _CHECKED if dear else None)):
            if best is None and dear and checked >= _IN_VAIN:
                break
            if best is not None and (within >= _SHORTLIST or best_score >= least * scores[row]):
                break
            one = codes[row : row + 1]
            cost = self._book.exact(one)
            if self._excess(cost)[0] > 0:
                continue
            within += 1
            exact = worth.gain(one, cost)[0] if worth and dear else scores[row]
            if best is None or exact > best_score:
                best, best_score = codes[row], exact
        return best


def _gap(taken: Floats) -> float:
    """Return where between the lowest and the highest quantile the least has been taken."""
    if not len(taken):
        return 0.5
    low, high = _ENDS
    marks = np.sort(np.clip(taken, low, high))
    middles = [low, *(0.5 * (marks[1:] + marks[:-1])), high]
    gaps = [2 * (marks[0] - low), *np.diff(marks), 2 * (high - marks[-1])]
    return float(middles[int(np.argmax(gaps))])
