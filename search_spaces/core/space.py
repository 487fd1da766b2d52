"""A space: its dimensions, how a point becomes an arch, and the published points."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Protocol, TypeVar

from primitives.core.contract import Value
from primitives.core.errors import InvalidInput, nearest
from search_spaces.core.arch import Arch

Point = Mapping[str, Value]
T = TypeVar("T")


class Random(Protocol):
    """What `sample` and `mutate` need: `random.Random` and `numpy.random.Generator` both fit."""

    def random(self) -> float:
        """Return the next number in [0, 1)."""


@dataclass(frozen=True, slots=True, init=False)
class Choice:
    """One of several values, without an order unless they are numbers."""

    values: tuple[Value, ...]

    def __init__(self, *values: Value) -> None:
        object.__setattr__(self, "values", values)

    def __str__(self) -> str:
        return ", ".join(map(str, self.values))


@dataclass(frozen=True, slots=True)
class Int:
    """A whole number from `low` to `high`, both included, in steps."""

    low: int
    high: int
    step: int = 1

    @property
    def values(self) -> tuple[Value, ...]:
        """All values, ascending."""
        return tuple(range(self.low, self.high + 1, self.step))

    def __str__(self) -> str:
        return f"{self.low} to {self.high}" + (f" in steps of {self.step}" if self.step > 1 else "")


@dataclass(frozen=True, slots=True)
class Baseline:
    """A published network: its point, and what its paper says of it.

    `discarded_params` are parameters of the published program that cannot influence its output and
    are not built here; `params` and `cost` are as printed, `rule` says how the cost was counted.
    The printed parameters are those of a network for `in_channels` and `classes`, the cost is for
    an input of side `size`. `golden` is "yes" where the output was compared with the published
    program's, "no", or "no official code"; `departures` says what is known to differ.
    """

    point: Point
    source: str
    params: str
    cost: str
    rule: str
    discarded_params: int = 0
    seed: bool = False  # whether a search starts with it
    in_channels: int = 3
    classes: int = 1
    size: int = 256
    golden: str = "no"
    departures: str = ""


@dataclass(frozen=True, slots=True)
class Space:
    """The set of networks a search may propose.

    Attributes:
        name: as typed at the prompt.
        source: the papers.
        dimensions: name of each dimension -> its values; the set is the same for every point.
        decode: pure and total; dimensions without effect leave no trace in the arch.
        baselines: name -> published network.
        multiple: what the side of an input must be a multiple of, for every point.
        ndim: 2 for images, 3 for volumes.
        task: "segmentation", or "classification", which a search does not train.
        homes: names of the spaces whose published networks this one holds once more.
    """

    name: str
    source: str
    dimensions: Mapping[str, Choice | Int]
    decode: Callable[[Point], Arch]
    baselines: Mapping[str, Baseline]
    multiple: int
    ndim: int = 2
    task: str = "segmentation"
    homes: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """The number of points, an upper bound on the number of distinct archs."""
        return prod(len(dimension.values) for dimension in self.dimensions.values())

    def validate(self, point: Point) -> None:
        """Check that a point has one legal value for every dimension.

        Raises:
            InvalidInput: a dimension is missing or unknown, or a value is not among its values.
        """
        for name in point:
            if name not in self.dimensions:
                raise InvalidInput(
                    f"space {self.name!r} has no dimension {name!r}{nearest(name, self.dimensions)}"
                )
        for name, dimension in self.dimensions.items():
            if name not in point:
                raise InvalidInput(
                    f"a point of {self.name!r} must set every dimension, {name!r} is missing"
                )
            value, values = point[name], dimension.values
            # 3.0 and True equal 3 and 1, but would give an equal network another key.
            if value not in values or type(value) is not type(values[values.index(value)]):
                raise InvalidInput(f"{name} must be one of {dimension}, got {point[name]!r}")

    def arch(self, point: Point, in_channels: int = 3, classes: int = 1) -> Arch:
        """Return the arch of a point for the given image channels and classes.

        Raises:
            InvalidInput: see `validate`.
        """
        self.validate(point)
        return replace(self.decode(point), in_channels=in_channels, classes=classes)

    def baseline(self, name: str) -> Baseline:
        """Return a published network of this space.

        Raises:
            InvalidInput: there is none of that name.
        """
        if name not in self.baselines:
            known = ", ".join(self.baselines)
            raise InvalidInput(
                f"baseline must be one of {known}, got {name!r}{nearest(name, self.baselines)}"
            )
        return self.baselines[name]

    def seeds(self) -> Iterator[tuple[str, Baseline]]:
        """Yield the baselines that a search starts with, in order."""
        return ((name, baseline) for name, baseline in self.baselines.items() if baseline.seed)

    def sample(self, rng: Random) -> Point:
        """Draw a point, every value of a dimension with equal probability."""
        return {name: _pick(d.values, rng) for name, d in self.dimensions.items()}

    def mutate(self, point: Point, rng: Random) -> Point:
        """Move one dimension, drawn at random, to another of its values.

        Raises:
            InvalidInput: see `validate`.
        """
        self.validate(point)
        movable = [name for name, d in self.dimensions.items() if len(d.values) > 1]
        name = _pick(movable, rng)
        others = [value for value in self.dimensions[name].values if value != point[name]]
        return {**point, name: _pick(others, rng)}


def _pick(values: Sequence[T], rng: Random) -> T:
    return values[int(rng.random() * len(values))]
