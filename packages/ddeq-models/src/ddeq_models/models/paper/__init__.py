"""The models of Geuter et al. (2025), as their published code has them, beside ours.

    input x     embed -> bilinear context            once per forward pass
                lift -> block -> keys and values
    particles   reduce -> bilinear layer with x -> expand -> block -> blocks that attend to x -> map

J. Geuter, C. Bonet, A. Korba and D. Alvarez-Melis, "DDEQs: Distributional Deep Equilibrium Models
through Wasserstein Gradient Flows", arXiv 2503.01140; https://github.com/j-geuter/DDEQs at 9fdbd99.
Layers, widths, initial values, solver and numbers of parameters are those of that code, of which
not a line was taken. Where the two differ, and why, is said in ``docs/paper.md``.
"""

from ddeq_models.models.paper.cell import PaperCell, PaperConfig
from ddeq_models.models.paper.classifier import PaperClassifier, PaperClassifierConfig
from ddeq_models.models.paper.completer import Coupling, PaperCompleter, PaperCompleterConfig

__all__ = [
    "Coupling",
    "PaperCell",
    "PaperClassifier",
    "PaperClassifierConfig",
    "PaperCompleter",
    "PaperCompleterConfig",
    "PaperConfig",
]
