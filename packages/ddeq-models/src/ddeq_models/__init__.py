"""Distributional deep equilibrium models on point clouds, and the ddeq command."""

from importlib.metadata import version

__version__ = version("ddeq-models")
