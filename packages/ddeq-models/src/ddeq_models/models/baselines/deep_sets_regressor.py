"""Deep Sets for numbers (Zaheer, Kottur, Ravanbakhsh, Póczos, Salakhutdinov and Smola, 2017)."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

from torch import Tensor, nn

from ddeq_models.models.base import ModelConfig, Numbers
from ddeq_models.models.baselines.layers import clear
from ddeq_models.registry import register_model
from set_attention import mean_pool


@dataclass(frozen=True)
class DeepSetsRegressorConfig(ModelConfig):
    """Deep Sets for numbers.

    Attributes:
        outputs: How many numbers it says of a cloud.
        dim: Width of the layers.
        layers: Linear maps of each point, and of their mean.
    """

    kind: ClassVar[str] = "deep-sets-regressor"
    task: ClassVar[str] = "regression"

    outputs: int = 1
    dim: int = 256
    layers: int = 3

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.layers < 1:
            raise ValueError(f"layers must be at least 1, got {self.layers}")


@register_model(
    DeepSetsRegressorConfig,
    {"deep-sets-regressor": (DeepSetsRegressorConfig(), "Zaheer et al. 2017, for numbers")},
)
class DeepSetsRegressor(nn.Module):
    r"""``ρ(Σ_i w_i φ(x_i))``, theorem 2 of the paper, on which its population statistics rest.

    ``φ`` and ``ρ`` are perceptrons of three layers with ReLU between. The paper adds the points up,
    all its sets being of one size; of measures that is the mean by the weights.

    Args:
        config: See `DeepSetsRegressorConfig`.
    """

    def __init__(self, config: DeepSetsRegressorConfig) -> None:
        super().__init__()
        self.config = config
        hidden = [config.dim] * config.layers
        self.points = _perceptron(config.point_dim, *hidden)
        self.head = _perceptron(*hidden, config.outputs)

    def forward(self, points: Tensor, weights: Tensor) -> Numbers:
        """Say numbers of clouds.

        Args:
            points: ``(B, n, point_dim)``; padded rows may hold anything.
            weights: ``(B, n)``, 0 for padding.
        """
        return Numbers(self.head(mean_pool(self.points(clear(points, weights)), weights)))


def _perceptron(*widths: int) -> nn.Sequential:
    """Linear maps with ReLU between."""
    layers: list[nn.Module] = []
    for a, b in pairwise(widths):
        layers += [nn.Linear(a, b), nn.ReLU()]
    return nn.Sequential(*layers[:-1])
