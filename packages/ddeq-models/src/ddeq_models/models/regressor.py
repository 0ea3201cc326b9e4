"""Numbers read from the equilibrium of a cloud."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from ddeq_models.models.base import Numbers
from ddeq_models.models.classifier import CloudEquilibrium, CloudEquilibriumConfig, as_ours
from ddeq_models.models.description import ROUNDING, describe, description_size
from ddeq_models.models.ridge import ridge
from ddeq_models.registry import register_model
from set_attention import mean_pool


@dataclass(frozen=True)
class DDEQRegressorConfig(CloudEquilibriumConfig):
    """Everything that decides a `DDEQRegressorModel`; what is not listed is in the bases.

    Attributes:
        outputs: how many numbers it says of a cloud.
        direct: whether a linear map of the cloud's moments and quantiles is added to what the
            equilibrium says, so that what is nearly linear in these need not be learned; see
            `Moments`.
    """

    kind: ClassVar[str] = "ddeq-regressor"
    task: ClassVar[str] = "regression"

    outputs: int = 1
    direct: bool = True


_PRESETS = {
    "ddeq-regressor": (
        as_ours(DDEQRegressorConfig, summary_dropout=0.0, hiding=0.0),
        "equilibrium of marked particles; ours",
    )
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
        self.direct: Moments | None = None
        if config.direct:
            self.direct = Moments(config.point_dim, config.placed, config.outputs)
            nn.init.zeros_(self.head.weight)  # the training begins with what moments tell
            nn.init.zeros_(self.head.bias)

    def fit(self, points: Tensor, weights: Tensor, labels: Tensor | None) -> str:
        """See `CloudEquilibrium.fit`; and the moments, from which the training begins."""
        decided = super().fit(points, weights, labels)
        if self.direct is not None:
            numbers = labels is not None and labels.is_floating_point()
            self.direct.fit(points, weights, labels if numbers else None)
        return decided

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
    r"""A linear map of standardised moments and quantiles of clouds, found in training clouds.

    Of `describe`, whose scales are logarithms, and beside these of what has a unit: the deviation
    s_k along each axis and s_k^2, the radius r and r^2, where r^2 is the mean of the s_k^2, and the
    volume ``√det C`` of the covariance.

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
        size = description_size(dim, placed) + 2 * dim + 3
        self.register_buffer("centre", torch.zeros(size))
        self.register_buffer("unit", torch.ones(size))
        self.linear = nn.Linear(size, outputs, bias=False)
        nn.init.zeros_(self.linear.weight)

    @torch.no_grad()
    def fit(self, points: Tensor, weights: Tensor, numbers: Tensor | None) -> None:
        """Take units from clouds, and the map that the training begins with.

        Args:
            points: ``(C, n, dim)``, at least one cloud.
            weights: ``(C, n)``.
            numbers: ``(C, outputs)``, standardised, which are then told by ridge regression; None
                leaves the map at 0.
        """
        found = self._of(points, weights)
        mean, spread = found.mean(0), found.std(0, correction=0)
        # What rounding leaves of a number that all clouds share: relative to it, whose unit may be
        # any, and of the description, whose numbers have none, to 1 as well.
        least = mean.abs()
        least[: description_size(points.shape[-1], self.placed)] += 1
        least *= ROUNDING * torch.finfo(mean.dtype).eps
        self.centre.copy_(mean)
        self.unit.copy_(torch.where(spread > least, spread, 1))
        if numbers is not None and len(found) > 2:
            found = self._standard(found).cpu().double()
            self.linear.weight.copy_(ridge(found, numbers.cpu().double()).slope.T)

    def forward(self, points: Tensor, weights: Tensor) -> Tensor:
        """Numbers ``(B, outputs)``."""
        with torch.no_grad():
            standard = self._standard(self._of(points, weights))
        out: Tensor = self.linear(standard)
        return out

    def _standard(self, found: Tensor) -> Tensor:
        # A cloud unlike all others shall not be carried away.
        return ((found - self.centre) / self.unit).clamp(-8, 8)

    def _of(self, points: Tensor, weights: Tensor) -> Tensor:
        described = describe(points, weights, placed=self.placed)
        inside = (weights > 0).unsqueeze(-1)
        x = torch.where(inside, points, 0)
        x = torch.where(inside, x - mean_pool(x, weights).unsqueeze(-2), 0)
        squares = mean_pool(x.square(), weights)
        square = squares.mean(-1, keepdim=True)
        covariance = (weights.unsqueeze(-1) * x).mT @ x
        volume = torch.linalg.det(covariance.cpu().double()).clamp(min=0).sqrt().to(x)
        parts = [described, squares.sqrt(), squares, square.sqrt(), square, volume.unsqueeze(-1)]
        return torch.cat(parts, -1)
