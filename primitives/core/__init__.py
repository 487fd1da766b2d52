"""Machinery behind the blocks: contract, shared layers, initialisation, errors."""
