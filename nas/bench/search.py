"""Samplers compared without training: share of the best hypervolume over trainings.

Each method proposes in an Optuna study of its own, one point at a time, on the same grounds and
seeds; ordered genes are integers for all of them. The score is noise-free. A limit is a constraint
of Optuna's for the opponents, which train what breaks it; such trainings count and add nothing.
What a table of trained networks cannot answer is told to be infeasible and counts as no training.
"""

import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from statistics import median
from typing import Any

import numpy as np
import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, NSGAIISampler, TPESampler
from optuna.trial import TrialState

from nas.bench.ablations import RandomStart, costs_no_inputs, costs_unknown
from nas.bench.fidelity import EPOCHS, RULES, Trainings
from nas.bench.grounds import Ground, Synthetic
from nas.bench.morea import MoReaSampler
from nas.bench.primo import play_primo
from nas.bench.qlognehvi import LogNehviSampler
from nas.bench.ray_asha import PARTLY, NaiveTrainings
from nas.bench.synthetic import Instance
from nas.bench.tabular import Tabular
from nas.fidelity.early_stop import RESUMES, curve_reader
from nas.fidelity.rungs import rung_epochs
from nas.folder import Progress
from nas.pareto import Floats, front_mask
from nas.sampler.by_name import SAMPLERS
from nas.sampler.history import Results, read_history
from nas.sampler.known_cost import KnownCostSampler
from nas.sampler.problem import Problem
from primitives.core.errors import InvalidInput, nearest

OURS = "known-cost"
PRIMO = "primo"  # proposes and stops by itself
NAIVE = "ray-asha"  # what people have
WARM = "warm-start"  # known-cost after an earlier search
_KIN = 10_000  # seeds of relatives
MARKS = (10, 20, 40, 60, 100, 150, 200)  # trainings that shares are reported at


def _named(
    make: Callable[[int, Callable[[], Problem]], BaseSampler], seed: int, problem: Problem
) -> BaseSampler:
    return make(seed, lambda: problem)


METHODS: Mapping[str, Callable[[int, Problem], BaseSampler]] = {
    **{name: partial(_named, make) for name, make in SAMPLERS.items()},
    WARM: lambda seed, problem: KnownCostSampler(problem, seed=seed),
    "nsga2-50": lambda seed, _: NSGAIISampler(population_size=50, seed=seed),
    "random-start": lambda seed, problem: RandomStart(problem, seed=seed),
    "costs-unknown": lambda seed, problem: KnownCostSampler(costs_unknown(problem), seed=seed),
    "costs-no-inputs": lambda seed, problem: KnownCostSampler(costs_no_inputs(problem), seed=seed),
    NAIVE: lambda seed, _: TPESampler(seed=seed),
    "qlognehvi": lambda seed, problem: LogNehviSampler(problem, seed=seed),
    "syne-morea": lambda seed, problem: MoReaSampler(problem, seed=seed),
    "stratified": lambda seed, problem: KnownCostSampler(problem, seed=seed, start=sys.maxsize),
}


Played = tuple[optuna.Study, Trainings, float]  # study, trainings, seconds that proposals took


@dataclass(frozen=True, slots=True)
class Replay:
    """One run of a method.

    Attributes:
        shares: of the best known hypervolume, after each training.
        seconds: that the method took to propose, all together.
        infeasible: trainings beyond the limit.
        repeats: trainings of a design that was trained before.
        refused: proposals beyond the limit that could not be trained, and cost nothing.
        optimism: what the front claims beyond the truth: mean over its members of told minus true
            Dice.
        partly: share of the front's members that were not trained to their end.
    """

    shares: Floats
    seconds: float
    infeasible: int
    repeats: int
    refused: int = 0
    optimism: float = 0.0
    partly: float = 0.0


def synthetic_grounds(
    seeds: Sequence[int], *, noise: float, tight: bool, earlier: int
) -> Iterator[tuple[Ground, Results | None]]:
    """Yield a made-up problem for each seed, and what an earlier search on a relative found.

    Args:
        seeds: of instances; the method's own seed is the same.
        noise: standard deviation that a training adds to Dice.
        tight: whether parameters are limited to the 5th percentile of the space.
        earlier: trainings of the earlier search; 0: none.
    """
    for seed in seeds:
        kin = Instance(_KIN + seed, noise) if earlier else None
        before = _results(_play(OURS, Synthetic(kin), earlier)[0]) if kin else None
        yield Synthetic(Instance(seed, noise, tight, kin)), before


def bench_samplers(
    names: Sequence[str],
    seeds: Sequence[int],
    trials: int,
    grounds: Iterable[tuple[Ground, Results | None]],
    task: Mapping[str, Any],
    *,
    progress: Progress,
) -> dict[str, Any]:
    """Run methods and return medians over seeds, as plain data.

    Args:
        names: keys of `METHODS` or `fidelity.RULES`.
        seeds: of the grounds.
        trials: trainings of each run.
        grounds: one for each seed, with results of an earlier search that "warm-start" begins with.
        task: what to say of the grounds.
        progress: called after each run.

    Raises:
        InvalidInput: "warm-start" has no earlier search.
    """
    played: dict[str, list[Played]] = {name: [] for name in names}
    for ground, before in grounds:
        if WARM in names and before is None:
            raise InvalidInput(
                f"sampler {WARM!r} needs the trainings of an earlier search: "
                "--task synthetic --earlier N"
            )
        for name in names:
            known = before if name == WARM else None
            played[name].append(_play(name, ground, trials, known))
            progress("runs", sum(map(len, played.values())), len(names) * len(seeds))
    runs = _judged(played, trials)
    return {
        "task": {**task, "trials": trials},
        "seeds": list(seeds),
        "samplers": {name: _summary(found) for name, found in runs.items()},
        "to_match": {
            name: _to_match(runs[OURS], found)
            for name, found in runs.items()
            if name != OURS and OURS in runs
        },
    }


def check_methods(names: Sequence[str]) -> None:
    """Check that all are known.

    Raises:
        InvalidInput: one is not.
    """
    for name in names:
        if name not in (known := [*METHODS, *RULES, PRIMO]):
            raise InvalidInput(
                f"samplers must be some of {', '.join(known)}, got {name!r}{nearest(name, known)}"
            )


def _judged(played: Mapping[str, Sequence[Played]], trials: int) -> dict[str, list[Replay]]:
    """Return what all runs were worth; the best that is known may come from any of them."""
    found = {name: [_replay(one, trials) for one in plays] for name, plays in played.items()}
    return {
        name: [
            replace(run, shares=run.shares / done.ground.best)
            for run, (_, done, _) in zip(runs, played[name], strict=True)
        ]
        for name, runs in found.items()
    }


def _replay(played: Played, trials: int) -> Replay:
    """Return what a run was worth, with volumes for shares."""
    study, done, seconds = played
    ground = done.ground
    trained = [t.params for t in study.trials if RESUMES not in t.user_attrs]
    trained = [point for point in trained if ground.knows(point)]
    params = np.array([ground.costs(point)[0] for point in trained])
    return Replay(
        done.volumes(trials),
        seconds / len(trained) * trials,
        int((params > ground.limit * (1 + 1e-12)).sum()) if ground.limit else 0,
        len(trained) - len({ground.key(point) for point in trained}),
        done.refused,
        *_claims(study, ground),
    )


def _claims(study: optuna.Study, ground: Ground) -> tuple[float, float]:
    """Return `Replay.optimism` and `Replay.partly` of the front that a study shows."""
    complete = [t for t in study.trials if t.state == TrialState.COMPLETE]
    told = np.array([trial.values for trial in complete])
    front = np.flatnonzero(front_mask(told, ["maximize", "minimize"]))
    above = [told[i, 0] - ground.dice(complete[i].params) for i in front]
    partly = [PARTLY in complete[i].user_attrs for i in front]
    return float(np.mean(above)), float(np.mean(partly))


def _play(name: str, ground: Ground, trials: int, earlier: Results | None = None) -> Played:
    """Return the study of a search, its trainings, and the seconds that proposals took."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    if name == PRIMO:
        return play_primo(ground, trials)
    proposes, rule, sees = RULES.get(name, (name, "none", False))
    curve = curve_reader(rung_epochs(rule, EPOCHS))
    problem = replace(ground.problem(), earlier=earlier, curve=curve)
    seen = problem if sees else replace(problem, curve=None)
    sampler = METHODS[proposes](ground.seed, seen)
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=sampler)
    for point in ground.first:
        study.enqueue_trial(dict(point))
    seconds, done = 0.0, Trainings(study, ground, rule, problem)
    if name == NAIVE:
        if not isinstance(ground, Tabular):
            raise InvalidInput(
                f"sampler {NAIVE!r} needs Dice before the end: --task tabular or live"
            )
        done = NaiveTrainings(study, ground, problem)
    while done.clock < trials - 1e-9:
        began = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            trial = study.ask(dict(ground.space))
        seconds += time.perf_counter() - began
        done.train(trial)
    return study, done, seconds


def _results(study: optuna.Study) -> Results:
    names = list(study.trials[0].params)
    return read_history(study, lambda p: tuple(p.values()), names, -1).complete


def _summary(runs: Sequence[Replay]) -> dict[str, Any]:
    shares = np.stack([run.shares for run in runs])
    marks = [mark for mark in MARKS if mark <= shares.shape[1]]
    quartiles = np.quantile(shares, [0.25, 0.5, 0.75], axis=0)
    return {
        "share": {mark: round(float(quartiles[1, mark - 1]), 4) for mark in marks},
        "quartiles": {mark: quartiles[::2, mark - 1].round(4).tolist() for mark in marks},
        "curve": quartiles.round(4).tolist(),
        "mean": {mark: round(float(shares[:, mark - 1].mean()), 4) for mark in marks},
        "seconds_per_proposal": median(run.seconds for run in runs) / shares.shape[1],
        "infeasible": sum(run.infeasible for run in runs),
        "repeats": sum(run.repeats for run in runs),
        "refused": sum(run.refused for run in runs),
        "optimism": round(median(run.optimism for run in runs), 4),
        "partly": round(median(run.partly for run in runs), 3),
    }


def _to_match(ours: Sequence[Replay], theirs: Sequence[Replay]) -> dict[str, Any]:
    """Return after how many trainings ours had what theirs ended with; null: never."""
    needed = [
        next((i for i, share in enumerate(a.shares, 1) if share >= b.shares[-1]), None)
        for a, b in zip(ours, theirs, strict=True)
    ]
    ranked = sorted(needed, key=lambda n: n if n is not None else np.inf)
    middle = ranked[(len(ranked) - 1) // 2 : len(ranked) // 2 + 1]
    return {
        "median": None if None in middle else median(n for n in middle if n is not None),
        "worst": ranked[-1],
        "each": needed,
    }
