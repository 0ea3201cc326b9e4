"""Deep Sets (Zaheer, Kottur, Ravanbakhsh, Póczos, Salakhutdinov and Smola, NeurIPS 2017)."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

from torch import Tensor, nn

from ddeq_models.models.base import ModelConfig, Output
from ddeq_models.models.baselines.layers import clear
from ddeq_models.registry import register_model
from set_attention import EquivariantLinear, max_pool


@dataclass(frozen=True)
class DeepSetsConfig(ModelConfig):
    """Deep Sets; width and depth are those of the paper's point-cloud classifier.

    Attributes:
        classes: Number of classes.
        dim: Width of the layers.
        layers: Number of equivariant layers.
        dropout: Before each of the two maps of the head.
    """

    kind: ClassVar[str] = "deep-sets"

    classes: int = 10
    dim: int = 256
    layers: int = 3
    dropout: float = 0.5


@register_model(DeepSetsConfig, {"deep-sets": (DeepSetsConfig(), "Zaheer et al. 2017")})
class DeepSets(nn.Module):
    r"""Equivariant linear layers with the maximum, then the maximum over points and a perceptron.

        x ← tanh(x Γ + 1 max_i(x_i) Λ + b),   logits = MLP_{256}(max_i x_i)

    The point-cloud classifier of the paper (section 4.1.3 and its appendix): three layers of 256
    features. The sign of Λ is free; the paper writes a minus. Maxima are over points of positive
    weight.

    Args:
        config: See `DeepSetsConfig`.
    """

    def __init__(self, config: DeepSetsConfig) -> None:
        super().__init__()
        self.config = config
        widths = (config.point_dim, *[config.dim] * config.layers)
        self.layers = nn.ModuleList(
            EquivariantLinear(a, b, pool="max") for a, b in pairwise(widths)
        )
        self.head = nn.Sequential(
            nn.Dropout(config.dropout),
            nn.Linear(config.dim, config.dim),
            nn.Tanh(),
            nn.Dropout(config.dropout),
            nn.Linear(config.dim, config.classes),
        )

    def forward(self, points: Tensor, weights: Tensor) -> Output:
        """Classify clouds.

        Args:
            points: ``(B, n, point_dim)``; padded rows may hold anything.
            weights: ``(B, n)``, 0 for padding.
        """
        x = clear(points, weights)
        for layer in self.layers:
            x = layer(x, weights).tanh()
        return Output(self.head(max_pool(x, weights)))
