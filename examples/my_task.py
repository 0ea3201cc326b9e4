"""A task of one's own: ``ddeq --import my_task.py train --task radius``; its model is below it."""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from torch import Generator, Tensor, nn

from ddeq_data import PointBatch
from ddeq_models import ModelConfig, Task, TaskConfig, register_model, register_task
from set_attention import clear_padding, mean_pool


@dataclass(frozen=True)
class RadiusConfig(TaskConfig):
    """Its numbers: ``--set task.power=2``."""

    kind: ClassVar[str] = "radius"
    power: float = 1.0


class Radii(NamedTuple):
    """What the model is given, and what it is to say: tensors, the clouds first."""

    points: Tensor
    weights: Tensor
    radius: Tensor


@register_task(RadiusConfig)
class Radius(Task):
    """The mean distance of a cloud's points from the origin."""

    def prepare(self, batch: PointBatch, generator: Generator) -> Radii:
        """Of clouds as they are after normalisation and augmentation."""
        radius = (batch.weights * batch.points.norm(dim=-1)).sum(-1)
        return Radii(batch.points, batch.weights, radius)

    def losses(self, answer: Tensor, inputs: Radii) -> Tensor:
        """One number a cloud."""
        return (answer - inputs.radius).abs() ** self.config.task.power  # type: ignore[attr-defined]


@dataclass(frozen=True)
class RadiusModelConfig(ModelConfig):
    """A model says which task it is made for."""

    kind: ClassVar[str] = "radius-model"
    task: ClassVar[str] = "radius"
    width: int = 32


@register_model(RadiusModelConfig)
class RadiusModel(nn.Module):
    """A linear map of the mean of a perceptron of each point."""

    def __init__(self, config: RadiusModelConfig) -> None:
        super().__init__()
        self.config = config
        self.lift = nn.Sequential(nn.Linear(config.point_dim, config.width), nn.ReLU())
        self.head = nn.Linear(config.width, 1)

    def forward(self, points: Tensor, weights: Tensor) -> Tensor:
        """``(B,)`` of clouds ``(B, n, d)``."""
        radius: Tensor = self.head(mean_pool(self.lift(clear_padding(points, weights)), weights))
        return radius[:, 0]
