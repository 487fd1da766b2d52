"""Which dimensions of a space have no effect under which values of another: found by trying."""

import random
from collections.abc import Iterator

from nas.genes import Conditions
from search_spaces.core.space import Point, Space

_POINTS = 12  # that every condition is tested on


def find_conditions(space: Space) -> Conditions:
    """Return the dimensions that one other dimension can switch off, with the values that do.

    A dimension is off at a point if none of its values changes the arch's key; one that is always
    off is so under all values of the first other dimension. Conditions on two others at once are
    not found: such a dimension counts as having an effect.
    """
    rng = random.Random(0)
    points = [space.sample(rng) for _ in range(_POINTS)]
    found: dict[str, tuple[str, frozenset[object]]] = {}
    for name in space.dimensions:
        off = [_is_off(space, point, name) for point in points]
        if all(off):
            other = next(n for n in space.dimensions if n != name)
            found[name] = other, frozenset(space.dimensions[other].values)
        elif any(off):
            for switch, values in _switches(space, name, points[off.index(True)]):
                if off == [point[switch] in values for point in points]:
                    found[name] = switch, values
                    break
    return found


def _switches(space: Space, name: str, point: Point) -> Iterator[tuple[str, frozenset[object]]]:
    """Yield dimensions that switch one on which is off at a point, and the values that do not."""
    for switch, dimension in space.dimensions.items():
        if switch != name:
            off = {v for v in dimension.values if _is_off(space, {**point, switch: v}, name)}
            if len(off) < len(dimension.values):
                yield switch, frozenset(off)


def _is_off(space: Space, point: Point, name: str) -> bool:
    key = space.decode(point).key
    values = space.dimensions[name].values
    return all(space.decode({**point, name: v}).key == key for v in values)
