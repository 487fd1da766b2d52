"""Samplers compared without training: share of the best hypervolume over trainings.

Each method proposes in an Optuna study of its own, one point at a time, on the same grounds and
seeds; ordered genes are integers for all of them. The score is noise-free. A limit is a constraint
of Optuna's for the opponents, which train what breaks it; such trainings count and add nothing.
What a table of trained networks cannot answer is told to be infeasible and counts as no training.
"""

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, NSGAIISampler, TPESampler

from nas.bench.ablations import RandomStart, Stratified, costs_no_inputs, costs_unknown
from nas.bench.fidelity import EPOCHS, RULES, Trainings
from nas.bench.grounds import Ground, Synthetic
from nas.bench.judge import OURS, Replay, compared, judge
from nas.bench.kept_runs import KeptRuns
from nas.bench.morea import MoReaSampler
from nas.bench.primo import play_primo
from nas.bench.qlognehvi import LogNehviSampler
from nas.bench.ray_asha import NaiveTrainings
from nas.bench.synthetic import Instance
from nas.bench.tabular import Tabular
from nas.fidelity.early_stop import curve_reader
from nas.fidelity.rungs import rung_epochs
from nas.folder import Progress
from nas.sampler.by_name import SAMPLERS
from nas.sampler.history import Results, read_history
from nas.sampler.known_cost import KnownCostSampler
from nas.sampler.problem import Problem
from primitives.core.errors import InvalidInput, nearest

PRIMO = "primo"  # proposes and stops by itself
NAIVE = "ray-asha"  # what people have
WARM = "warm-start"  # known-cost after an earlier search
BARE = "no-baselines"  # known-cost that does not begin with the published networks
_KIN = 10_000  # seeds of relatives


def _named(
    make: Callable[[int, Callable[[], Problem]], BaseSampler], seed: int, problem: Problem
) -> BaseSampler:
    return make(seed, lambda: problem)


METHODS: Mapping[str, Callable[[int, Problem], BaseSampler]] = {
    **{name: partial(_named, make) for name, make in SAMPLERS.items()},
    **{name: lambda seed, problem: KnownCostSampler(problem, seed=seed) for name in (WARM, BARE)},
    "nsga2-50": lambda seed, _: NSGAIISampler(population_size=50, seed=seed),
    "random-start": lambda seed, problem: RandomStart(problem, seed=seed),
    "costs-unknown": lambda seed, problem: KnownCostSampler(costs_unknown(problem), seed=seed),
    "costs-no-inputs": lambda seed, problem: KnownCostSampler(costs_no_inputs(problem), seed=seed),
    NAIVE: lambda seed, _: TPESampler(seed=seed),
    "qlognehvi": lambda seed, problem: LogNehviSampler(problem, seed=seed),
    "syne-morea": lambda seed, problem: MoReaSampler(problem, seed=seed),
    "stratified": lambda seed, problem: Stratified(problem, seed=seed),
}


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
        before = _results(_play(OURS, Synthetic(kin), earlier).study) if kin else None
        yield Synthetic(Instance(seed, noise, tight, kin)), before


def bench_samplers(
    names: Sequence[str],
    seeds: Sequence[int],
    trials: int,
    grounds: Iterable[tuple[Ground, Results | None]],
    task: Mapping[str, Any],
    *,
    keep: KeptRuns | None = None,
    progress: Progress,
) -> dict[str, Any]:
    """Run methods and return medians over seeds, as plain data.

    Args:
        names: keys of `METHODS` or `fidelity.RULES`.
        seeds: of the grounds.
        trials: trainings of each run.
        grounds: one for each seed, with results of an earlier search that "warm-start" knows.
        task: what to say of the comparison.
        keep: runs that need not be repeated; others are added as they end. Not where the best that
            is known may come from later runs.
        progress: called after each run.

    Raises:
        InvalidInput: "warm-start" has no earlier search.
    """
    runs: dict[tuple[str, int], Replay] = {}
    plays: dict[tuple[str, int], Trainings] = {}
    for ground, before in grounds:
        for name in names:
            if before is None and _rule(name)[0] == WARM:
                raise InvalidInput(
                    f"sampler {name!r} needs the trainings of an earlier search: --task synthetic "
                    "--earlier N, or --earlier-table FILE"
                )
            this = name, ground.seed
            if keep and (kept := keep.find(*this, ground.best)):
                runs[this] = kept
            else:
                plays[this] = _play(name, ground, trials, before)
            if keep and this in plays:
                (runs[this],) = judge([plays.pop(this)], trials)
                keep.add(*this, runs[this], ground.best)
            progress("runs", len(runs) + len(plays), len(names) * len(seeds))
    runs |= zip(plays, judge(list(plays.values()), trials), strict=True)
    found = {name: [runs[name, seed] for seed in seeds] for name in names}
    return compared(found, seeds, task)


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


def _rule(name: str) -> tuple[str, str, bool]:
    """Return who proposes, who stops, and whether the first learns from the second."""
    return RULES.get(name, (name, "none", False))


def _play(name: str, ground: Ground, trials: int, earlier: Results | None = None) -> Trainings:
    """Return what a search trained."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    if name == PRIMO:
        return play_primo(ground, trials)
    proposes, rule, sees = _rule(name)
    curve = curve_reader(rung_epochs(rule, EPOCHS))
    known = earlier if proposes == WARM else None
    problem = replace(ground.problem(), earlier=known, curve=curve)
    seen = problem if sees else replace(problem, curve=None)
    sampler = METHODS[proposes](ground.seed, seen)
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=sampler)
    for point in ground.first if name != BARE else ():
        study.enqueue_trial(dict(point))
    done = Trainings(study, ground, rule, problem)
    if name == NAIVE:
        if not isinstance(ground, Tabular):
            raise InvalidInput(
                f"sampler {NAIVE!r} needs Dice before the end: --task tabular or live"
            )
        done = NaiveTrainings(study, ground, problem)
    while done.lasts(trials):
        with done.proposing(), warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            trial = study.ask(dict(ground.space))
        done.train(trial)
    return done


def _results(study: optuna.Study) -> Results:
    names = list(study.trials[0].params)
    return read_history(study, lambda p: tuple(p.values()), names, -1).complete
