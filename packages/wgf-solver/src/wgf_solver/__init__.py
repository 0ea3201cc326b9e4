"""Fixed points of maps on probability measures, by Wasserstein gradient flow, with implicit gradients."""

from importlib.metadata import version

__version__ = version("wgf-solver")
