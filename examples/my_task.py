"""A task of one's own, and a model for it: ``ddeq --import my_task.py train --task radius``."""

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from torch import Generator, Tensor, nn

from ddeq_data import PointBatch
from ddeq_models import ModelConfig, Task, TaskConfig, register_model, register_task
from set_attention import mean_pool


@dataclass(frozen=True)
class RadiusConfig(TaskConfig):
    """In ``config.json``: ``"task": {"kind": "radius", "power": 1.0}``."""

    kind: ClassVar[str] = "radius"
    power: float = 1.0


class Radii(NamedTuple):
    """What `Radius.prepare` makes of a batch: tensors, the clouds first."""

    points: Tensor
    weights: Tensor
    target: Tensor


@register_task(RadiusConfig)
class Radius(Task):
    """The mean distance of a cloud's points from the origin."""

    def prepare(self, batch: PointBatch, generator: Generator) -> Radii:
        """The clouds, and what the model is to say of them."""
        target = (batch.weights * batch.points.norm(dim=-1)).sum(-1)
        return Radii(batch.points, batch.weights, target)

    def answer(self, model: nn.Module, inputs: Radii) -> Tensor:
        """What it says."""
        answer: Tensor = model(inputs.points, inputs.weights)
        return answer

    def _errors(self, answer: Tensor, inputs: Radii) -> Tensor:
        return (answer - inputs.target).abs() ** self.config.task.power  # type: ignore[attr-defined]

    def loss(self, answer: Tensor, inputs: Radii) -> Tensor:
        """What is trained on."""
        return self._errors(answer, inputs).mean()

    def records(self, answer: Tensor, inputs: Radii, thorough: bool = False) -> dict[str, Tensor]:
        """One number a cloud, by name."""
        return {"loss": self._errors(answer, inputs)}

    def figures(self, columns: Any) -> dict[str, float]:
        """What is told of them."""
        errors = columns.get("loss", [])
        return {"clouds": len(errors), "loss": float(sum(errors)) / max(len(errors), 1)}

    def objective(self, figures: Any) -> tuple[float, ...]:
        """The larger, the better."""
        return (-figures["loss"],)

    def headline(self, figures: Any) -> str:
        """What one watches."""
        return f"error {figures['loss']:.3f}"


@dataclass(frozen=True)
class RegressorConfig(ModelConfig):
    """The model: a number of a cloud."""

    kind: ClassVar[str] = "regressor"
    task: ClassVar[str] = "radius"
    width: int = 32


@register_model(RegressorConfig)
class Regressor(nn.Module):
    """A linear map of the mean of a perceptron of each point."""

    def __init__(self, config: RegressorConfig) -> None:
        super().__init__()
        self.config = config
        self.lift = nn.Sequential(nn.Linear(config.point_dim, config.width), nn.ReLU())
        self.head = nn.Linear(config.width, 1)

    def forward(self, points: Tensor, weights: Tensor) -> Tensor:
        """``(B,)`` of clouds ``(B, n, d)``."""
        answer: Tensor = self.head(mean_pool(self.lift(points), weights))
        return answer[:, 0]
