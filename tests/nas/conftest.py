"""Fixtures that several files use."""

from tests.nas.searches import driver_of

__all__ = ["driver_of"]
