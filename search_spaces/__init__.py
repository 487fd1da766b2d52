"""Spaces, one file each; a file defines `SPACE`. Listing them imports no torch."""

import importlib
import pkgutil
from typing import TYPE_CHECKING

from primitives.core.errors import InvalidInput, nearest

if TYPE_CHECKING:
    from search_spaces.core.space import Space


def names() -> tuple[str, ...]:
    """Return the names of all spaces: the files of this package."""
    return tuple(m.name for m in pkgutil.iter_modules(__path__) if not m.ispkg)


def load(name: str) -> "Space":
    """Import the space of that name.

    Raises:
        InvalidInput: there is none.
    """
    if name not in names():
        known = ", ".join(names())
        raise InvalidInput(f"space must be one of {known}, got {name!r}{nearest(name, names())}")
    space: Space = importlib.import_module(f"search_spaces.{name}").SPACE
    return space
