"""Permutation-invariant attention blocks on weighted point sets."""

from importlib.metadata import version

__version__ = version("set-attention")
