"""Numbers read from the equilibrium of a cloud."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from ddeq_models.models.base import Numbers
from ddeq_models.models.classifier import CloudEquilibrium, CloudEquilibriumConfig, as_ours
from ddeq_models.registry import register_model


@dataclass(frozen=True)
class DDEQRegressorConfig(CloudEquilibriumConfig):
    """Everything that decides a `DDEQRegressorModel`; what is not listed is in the bases.

    Attributes:
        outputs: how many numbers it says of a cloud.
    """

    kind: ClassVar[str] = "ddeq-regressor"
    task: ClassVar[str] = "regression"

    outputs: int = 1


_PRESETS = {
    "ddeq-regressor": (as_ours(DDEQRegressorConfig), "equilibrium of marked particles; ours")
}


@register_model(DDEQRegressorConfig, _PRESETS)
class DDEQRegressorModel(CloudEquilibrium):
    """Says numbers of clouds by their equilibrium, pooled over the particles.

    Encoder, equilibrium and pooling are the classifier's, see `CloudEquilibrium`; a linear map
    reads the numbers.

    Args:
        config: see `DDEQRegressorConfig`.
    """

    config: DDEQRegressorConfig

    def __init__(self, config: DDEQRegressorConfig) -> None:
        super().__init__(config)
        self.head = nn.Linear(self.width, config.outputs)

    def forward(self, points: Tensor, weights: Tensor, *, trajectory: bool = False) -> Numbers:
        """Numbers and equilibria.

        Args:
            points: ``(B, n, point_dim)``; padded rows may hold anything.
            weights: ``(B, n)``, each row summing to 1, 0 for padding.
            trajectory: keep the particles' path in the solution.

        Raises:
            ValueError: the shapes are not those.
        """
        solution = self.equilibrium(self.encode(points, weights), trajectory=trajectory)
        return Numbers(self.read(solution.measure.points), solution)

    def read(self, particles: Tensor) -> Tensor:
        """Numbers ``(B, outputs)`` of equilibria ``(B, particles, dim)``."""
        values: Tensor = self.head(self.dropout(self.pool(particles)))
        return values
