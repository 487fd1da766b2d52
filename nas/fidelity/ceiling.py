"""How well two seeds of the same archs agree: the most that anything can foretell of a score."""

from dataclasses import replace

from nas.fidelity.rungs import ENOUGH
from nas.handle import StudyHandle, study_names
from nas.store import Store


def two_seeds(store: Store, name: str) -> float | None:
    """Return Spearman's correlation of the final Dice of archs that were trained with two seeds.

    The second seed is that of other studies of the store with the same data, recipe and budget.
    None where they have fewer than `rungs.ENOUGH` archs in common.

    Args:
        store: of the studies.
        name: of the study with the first seed.
    """
    mine = StudyHandle(store, name)
    first, pairs = _scores(mine), []
    for other in study_names(store):
        theirs = StudyHandle(store, other)
        if theirs.settings.seed != mine.settings.seed and _recipe(theirs, mine) == _recipe(mine):
            second = _scores(theirs)
            pairs += [(first[key], second[key]) for key in first.keys() & second.keys()]
    if len(pairs) < ENOUGH or any(len(set(scores)) == 1 for scores in zip(*pairs, strict=True)):
        return None
    from scipy.stats import spearmanr  # takes a second, and most commands do without

    return float(spearmanr(pairs).statistic)


def _recipe(study: StudyHandle, seeded: StudyHandle | None = None) -> str:
    """Return what evaluations are reused by, as if the study had the seed of another."""
    settings = replace(study.settings, seed=(seeded or study).settings.seed)
    return settings.recipe_key(study.prepared.fingerprint)


def _scores(study: StudyHandle) -> dict[str, float]:
    return {
        t.arch.key: t.evaluation.dice
        for t in study.trials()
        if t.state in ("complete", "reused") and t.arch and t.evaluation
    }
