"""The paper's classifier."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from ddeq_models.models.base import Output
from ddeq_models.models.cell import CellContext
from ddeq_models.models.classifier import low_discrepancy_normal
from ddeq_models.models.equilibrium import EquilibriumModel
from ddeq_models.models.paper.cell import FLOW, PaperCell, PaperConfig
from ddeq_models.registry import register_model
from set_attention import max_pool
from wgf_solver import Solution


@dataclass(frozen=True)
class PaperClassifierConfig(PaperConfig):
    """Everything that decides a `PaperClassifier`; what is not listed is in the base.

    Attributes:
        classes: Number of classes.
        particles: Atoms of the equilibrium measure.
    """

    kind: ClassVar[str] = "ddeq-paper"

    classes: int = 10
    particles: int = 10


@register_model(
    PaperClassifierConfig,
    {"ddeq-paper": (PaperClassifierConfig(**FLOW), "the classifier of the DDEQ paper")},
)
class PaperClassifier(EquilibriumModel):
    """The paper's classifier: particles without marks, and the largest of each of their features.

    In training the particles start at standard normal draws, in evaluation at normal quantiles of a
    Sobol' sequence, so that a prediction is a function of the cloud.

    Args:
        config: See `PaperClassifierConfig`.
    """

    config: PaperClassifierConfig
    marks = None

    def __init__(self, config: PaperClassifierConfig) -> None:
        super().__init__(config, PaperCell(config))
        self.head = nn.Linear(config.dim, config.classes)
        self.start: Tensor
        start = low_discrepancy_normal(config.particles, config.dim)
        self.register_buffer("start", start, persistent=False)  # fixed by the configuration

    def forward(self, points: Tensor, weights: Tensor, *, trajectory: bool = False) -> Output:
        """Logits and equilibria; see `ddeq_models.DDEQ`."""
        solution = self.equilibrium(self.encode(points, weights), trajectory=trajectory)
        return Output(self.read(solution.measure.points), solution)

    def encode(self, points: Tensor, weights: Tensor) -> CellContext:
        """The input branch, once per cloud."""
        self.check(points, weights)
        context: CellContext = self.cell.encode(points, weights)
        return context

    def seen(self, points: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        """The points that particles attend to: all."""
        return points, weights

    def equilibrium(
        self,
        context: CellContext,
        *,
        start: Tensor | None = None,
        rtol: float | None = None,
        max_steps: int | None = None,
        trajectory: bool = False,
    ) -> Solution:
        """Solve ``μ* = F(μ*; x)``; see `ddeq_models.DDEQ.equilibrium`."""
        shape = (len(context.bilinear.matrix), *self.start.shape)
        if start is None:
            start = self.start.to(self.head.weight.dtype).expand(shape)
            start = torch.randn_like(start) if self.training else start
        return self.solve(
            start.expand(shape),
            None,
            context,
            rtol=rtol,
            max_steps=max_steps,
            trajectory=trajectory,
        )

    def read(self, particles: Tensor) -> Tensor:
        """Logits ``(B, classes)`` of equilibria ``(B, particles, dim)``."""
        logits: Tensor = self.head(self.pool(particles))
        return logits

    def pool(self, particles: Tensor) -> Tensor:
        """One vector of each equilibrium."""
        return max_pool(particles)
