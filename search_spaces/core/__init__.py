"""Machinery behind the spaces: dimensions, archs, the network that an arch describes."""
