"""What the sampler "known-cost" has to know of a search; says nothing of how it proposes."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution

from nas.pareto import Floats
from nas.sampler.genes import Conditions, Genes
from nas.sampler.history import Curve, Results
from primitives.core.errors import InvalidInput

Point = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Goal:
    """What is known of one objective of an Optuna study.

    Attributes:
        cost: its name among the exact costs; None: it is measured.
        log: model the logarithm of the measured value, which is positive, such as a time.
    """

    cost: str | None = None
    log: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What an Optuna study searches.

    Attributes:
        space: name -> distribution of each dimension, integers and categories alone.
        goals: one for each of the study's objectives, in order.
        cost: points -> their exact costs by name, positive; always the same names in one order.
        limits: name of an exact cost -> its upper bound.
        measured_limits: names of those constraints of the study's trials that are only known once
            measured, as value / limit - 1; exactly 0 says "not measured".
        key: of a point, equal for equal networks; None: points differ where their genes do.
        conditions: see `genes.Genes`.
        dear: `cost` is too slow for thousands of points.
        curve: a trial's user attributes -> its validation losses at the rungs of its training, not
            a number where it did not get to; None: there are no rungs.
        inherits: trials may tell inherited trainings, whose lineage is an input of the models.
        costs_as_inputs: models see exact costs beside the genes.
        earlier: results of a search of the same space on other data, one column per goal; not a
            number where it lacked one.
    """

    space: Mapping[str, BaseDistribution]
    goals: Sequence[Goal]
    cost: Callable[[Sequence[Point]], Mapping[str, Floats]]
    limits: Mapping[str, float] = field(default_factory=dict)
    measured_limits: Sequence[str] = ()
    key: Callable[[Point], Hashable] | None = None
    conditions: Conditions = field(default_factory=dict)
    dear: bool = False
    curve: Curve | None = None
    inherits: bool = False
    costs_as_inputs: bool = True
    earlier: Results | None = None

    def genes(self) -> Genes:
        """Return the dimensions as genes.

        Raises:
            InvalidInput: a dimension has no list of values.
        """
        values = {name: _values(name, found) for name, found in self.space.items()}
        return Genes(values, self.conditions)


def key_of(problem: Problem, genes: Genes) -> Callable[[Point], Hashable]:
    """Return what maps points to keys that are equal for equal networks; it remembers them."""
    known: dict[bytes, Hashable] = {}

    def key(point: Point) -> Hashable:
        codes = genes.encode([point])
        this = codes.tobytes()
        if this not in known:
            make = problem.key
            known[this] = make(point) if make else genes.canonical(codes).tobytes()
        return known[this]

    return key


def _values(name: str, distribution: BaseDistribution) -> Sequence[Any]:
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices
    if isinstance(distribution, IntDistribution):
        return range(distribution.low, distribution.high + 1, distribution.step)
    raise InvalidInput(
        f"known-cost needs dimensions with a list of values, {name!r} has {distribution}; "
        "use suggest_int or suggest_categorical"
    )
