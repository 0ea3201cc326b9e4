"""Numbers read from the equilibrium of a cloud."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from ddeq_models.models.base import Numbers
from ddeq_models.models.classifier import CloudEquilibrium, CloudEquilibriumConfig, as_ours
from ddeq_models.models.description import describe, description_size
from ddeq_models.registry import register_model


@dataclass(frozen=True)
class DDEQRegressorConfig(CloudEquilibriumConfig):
    """Everything that decides a `DDEQRegressorModel`; what is not listed is in the bases.

    Attributes:
        outputs: how many numbers it says of a cloud.
        direct: whether a linear map of the cloud's `describe` is added to what the equilibrium
            says, so that what is nearly linear in moments and quantiles need not be learned.
    """

    kind: ClassVar[str] = "ddeq-regressor"
    task: ClassVar[str] = "regression"

    outputs: int = 1
    direct: bool = True


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
        self.direct = (
            Moments(config.point_dim, config.placed, config.outputs) if config.direct else None
        )

    def fit(self, points: Tensor, weights: Tensor, labels: Tensor | None) -> None:
        """See `CloudEquilibrium.fit`; and the units of the moments."""
        super().fit(points, weights, labels)
        if self.direct is not None:
            self.direct.fit(points, weights)

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
        values = self.read(solution.measure.points)
        if self.direct is not None:
            values = values + self.direct(points, weights)
        return Numbers(values, solution)

    def read(self, particles: Tensor) -> Tensor:
        """Numbers ``(B, outputs)`` of equilibria ``(B, particles, dim)``."""
        values: Tensor = self.head(self.dropout(self.pool(particles)))
        return values


class Moments(nn.Module):
    """A linear map of the `describe` of clouds, standardised by training clouds; 0 at first.

    Args:
        dim: columns of a point.
        placed: see `describe`.
        outputs: how many numbers it gives.
    """

    centre: Tensor
    unit: Tensor

    def __init__(self, dim: int, placed: bool, outputs: int) -> None:
        super().__init__()
        self.placed = placed
        size = description_size(dim, placed)
        self.register_buffer("centre", torch.zeros(size))
        self.register_buffer("unit", torch.ones(size))
        self.linear = nn.Linear(size, outputs, bias=False)
        nn.init.zeros_(self.linear.weight)

    @torch.no_grad()
    def fit(self, points: Tensor, weights: Tensor) -> None:
        """Take units from clouds ``(C, n, dim)``, at least one."""
        described = describe(points, weights, placed=self.placed)
        spread = described.std(0, correction=0)
        self.centre.copy_(described.mean(0))
        self.unit.copy_(torch.where(spread > 1e-6, spread, 1))

    def forward(self, points: Tensor, weights: Tensor) -> Tensor:
        """Numbers ``(B, outputs)``."""
        with torch.no_grad():
            described = describe(points, weights, placed=self.placed)
            # A cloud unlike all others shall not be carried away.
            standard = ((described - self.centre) / self.unit).clamp(-5, 5)
        out: Tensor = self.linear(standard)
        return out
