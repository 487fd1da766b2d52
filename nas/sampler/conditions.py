"""Which dimensions of a space have no effect under which values of another: found by trying."""

import random
from collections.abc import Iterator, Sequence

from nas.sampler.genes import Conditions
from search_spaces.core.space import Point, Space

_POINTS = 12  # that show whether a dimension is ever off
_MORE = 12  # that show which other one decides it
_TRIED = 4  # about so many values of a dimension


def find_conditions(space: Space) -> Conditions:
    """Return the dimensions that one other dimension can switch off, with the values that do.

    A dimension is off at a point if no value that is tried changes the arch's key; one that is
    always off is so under all values of the first other dimension. Conditions on two others at once
    are not found: such a dimension counts as having an effect.
    """
    rng = random.Random(0)
    points, more = ([space.sample(rng) for _ in range(n)] for n in (_POINTS, _MORE))
    found: dict[str, tuple[str, frozenset[object]]] = {}
    for name in space.dimensions:
        off = [_is_off(space, point, name) for point in points]
        if all(off):
            other = next(n for n in space.dimensions if n != name)
            found[name] = other, frozenset(space.dimensions[other].values)
        elif any(off):
            off += [_is_off(space, point, name) for point in more]
            every = [*points, *more]
            for switch, values in _switches(space, name, every, off):
                if off == [point[switch] in values for point in every]:
                    found[name] = switch, values
                    break
    return found


def _switches(
    space: Space, name: str, points: Sequence[Point], off: Sequence[bool]
) -> Iterator[tuple[str, frozenset[object]]]:
    """Yield dimensions that switch one on which is off at a point, and the values that do not."""
    point = points[off.index(True)]
    for switch, dimension in space.dimensions.items():
        with_idle, with_active = (
            {p[switch] for p, idle in zip(points, off, strict=True) if idle == state}
            for state in (True, False)
        )
        if switch == name or with_idle & with_active:  # a value with both does not decide
            continue
        idle = {v for v in dimension.values if _is_off(space, {**point, switch: v}, name)}
        if len(idle) < len(dimension.values):
            yield switch, frozenset(idle)


def _is_off(space: Space, point: Point, name: str) -> bool:
    key, values = space.decode(point).key, space.dimensions[name].values
    tried = values[:: max(1, len(values) // _TRIED)]
    return all(space.decode({**point, name: v}).key == key for v in tried if v != point[name])
