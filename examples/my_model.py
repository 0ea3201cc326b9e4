"""A model of one's own: ``ddeq --import my_model.py train --preset means``."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from ddeq_models import ModelConfig, Output, register_model
from set_attention import clear_padding, mean_pool


@dataclass(frozen=True)
class MeansConfig(ModelConfig):
    """Its numbers: what ``config.json`` and ``--set model.width=32`` know."""

    kind: ClassVar[str] = "means"
    classes: int = 10  # filled in from the data, like point_dim
    width: int = 64


@register_model(MeansConfig)
class Means(nn.Module):
    """The mean of a perceptron of each point."""

    def __init__(self, config: MeansConfig) -> None:
        super().__init__()
        self.config = config
        self.lift = nn.Sequential(nn.Linear(config.point_dim, config.width), nn.GELU())
        self.head = nn.Linear(config.width, config.classes)

    def forward(self, points: Tensor, weights: Tensor) -> Output:
        """Logits of clouds ``(B, n, d)`` with weights ``(B, n)``, 0 for padding."""
        return Output(self.head(mean_pool(self.lift(clear_padding(points, weights)), weights)))
