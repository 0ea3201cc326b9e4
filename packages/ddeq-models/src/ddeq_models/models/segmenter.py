"""Labels of the points of a cloud, read by cross-attention to its equilibrium."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from ddeq_models.models.base import Output
from ddeq_models.models.classifier import CloudEquilibrium, CloudEquilibriumConfig, as_ours
from ddeq_models.registry import register_model
from set_attention import CrossBlock
from wgf_solver import Solution


@dataclass(frozen=True)
class DDEQSegmenterConfig(CloudEquilibriumConfig):
    """Everything that decides a `DDEQSegmenter`; what is not listed is in the bases.

    Attributes:
        classes: number of labels.
    """

    kind: ClassVar[str] = "ddeq-segmenter"
    task: ClassVar[str] = "segmentation"

    classes: int = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rows:
            raise ValueError(
                f"rows must be 0, since every point is given a label, got {self.rows}; take "
                "data.points for clouds that are too large"
            )
        if self.tokens:
            raise ValueError(
                f"tokens must be left out, since every point is given a label, got {self.tokens}"
            )


_PRESETS = {
    "ddeq-segmenter": (
        as_ours(DDEQSegmenterConfig, rows=0, tokens=(), widths=()),
        "equilibrium of marked particles, read at the points; ours",
    )
}


@register_model(DDEQSegmenterConfig, _PRESETS)
class DDEQSegmenter(CloudEquilibrium):
    r"""Labels the points of a cloud by what they attend to at its equilibrium.

    Encoder and equilibrium are the classifier's, see `CloudEquilibrium`. With the features ``h_i``
    of the points, and the equilibrium ``μ* = 1/m Σ_j δ_{z_j}`` of the whole cloud::

        a_i = CrossBlock(h_i; z_1, ..., z_m),   logits_i = MLP([h_i, a_i])

    A label is so a function of the point and of the cloud as a measure, whatever the order, the
    number and the weights of the other points.

    Args:
        config: see `DDEQSegmenterConfig`.
    """

    config: DDEQSegmenterConfig

    def __init__(self, config: DDEQSegmenterConfig) -> None:
        super().__init__(config)
        self.reader = CrossBlock(config.dim, config.heads, config.hidden, norm=config.norm)
        self.point_head = nn.Sequential(
            nn.Linear(2 * config.dim, config.hidden),
            nn.LayerNorm(config.hidden),
            nn.GELU(),
            nn.Dropout(self.dropout.p),
            nn.Linear(config.hidden, config.classes),
        )

    def forward(self, points: Tensor, weights: Tensor, *, trajectory: bool = False) -> Output:
        """Logits of the points, and equilibria.

        Args:
            points: ``(B, n, point_dim)``; padded rows may hold anything.
            weights: ``(B, n)``, each row summing to 1, 0 for padding.
            trajectory: keep the particles' path in the solution.

        Raises:
            ValueError: the shapes are not those.
        """
        context = self.encode(points, weights)
        solution: Solution = self.equilibrium(context, trajectory=trajectory)
        assert context.rows is not None
        assert context.weights is not None
        inside = (context.weights > 0).unsqueeze(-1)
        rows = torch.where(inside, context.rows, 0)
        attended = self.reader(rows, self.reader.context(solution.measure.points), context.weights)
        return Output(self.point_head(torch.cat([rows, attended], -1)), solution)
