"""The Point Transformer (Zhao, Jiang, Jia, Torr and Koltun, ICCV 2021)."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor, nn

from ddeq_models.models.base import ModelConfig, Output
from ddeq_models.models.baselines.layers import Head, PointPerceptron
from ddeq_models.registry import register_model
from set_attention import (
    VectorAttention,
    clear_padding,
    farthest_points,
    max_pool,
    mean_pool,
    merge_points,
    nearest_points,
    take_points,
)


@dataclass(frozen=True)
class PointTransformerConfig(ModelConfig):
    """The Point Transformer; widths, rates and neighbours are the paper's.

    Attributes:
        classes: Number of classes.
        widths: Of the rows in each stage.
        neighbours: Of a point, itself included; a smaller cloud has all its points as neighbours.
        rate: How many times fewer points each stage has than the one before.
        dropout: Of the head.
    """

    kind: ClassVar[str] = "point-transformer"

    classes: int = 10
    widths: tuple[int, ...] = (32, 64, 128, 256, 512)
    neighbours: int = 16
    rate: int = 4
    dropout: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.widths or min(self.widths) < 1 or self.neighbours < 1 or self.rate < 1:
            raise ValueError(
                "widths must not be empty, and widths, neighbours and rate at least 1; got "
                f"{self.widths}, {self.neighbours}, {self.rate}"
            )


@register_model(
    PointTransformerConfig, {"point-transformer": (PointTransformerConfig(), "Zhao et al. 2021")}
)
class PointTransformer(nn.Module):
    r"""Vector attention among near points, in stages of fewer and fewer points; then their mean.

    The classification network of the paper, figure 3: five stages of widths 32 to 512, each after
    the first with a quarter of the points (farthest-point sampling, then the maximum of a
    perceptron over 16 neighbours), each with one block of vector attention.

    Points in one place become one of their weight first, since sampling and neighbourhoods count
    points and not mass. A point that is sampled takes over the weight of those nearest to it, so
    that the mean at the end is over the measure.

    Args:
        config: See `PointTransformerConfig`.
    """

    def __init__(self, config: PointTransformerConfig) -> None:
        super().__init__()
        self.config = config
        widths, dim, near = config.widths, config.point_dim, config.neighbours
        self.embed = PointPerceptron(dim, widths[0], widths[0])
        self.blocks = nn.ModuleList(AttentionBlock(width, dim, near) for width in widths)
        self.downs = nn.ModuleList(
            TransitionDown(a, b, dim, near, config.rate) for a, b in pairwise(widths)
        )
        self.head = Head((widths[-1], 256, 128, config.classes), config.dropout)

    def forward(self, points: Tensor, weights: Tensor) -> Output:
        """Classify clouds.

        Args:
            points: ``(B, n, point_dim)``; padded rows may hold anything.
            weights: ``(B, n)``, 0 for padding.
        """
        _, places, weights = merge_points(points[..., :0], points, weights)
        x = self.blocks[0](self.embed(places, weights), places, weights)
        for down, block in zip(self.downs, self.blocks[1:], strict=True):
            x, places, weights = down(x, places, weights)
            x = block(x, places, weights)
        return Output(self.head(mean_pool(x, weights)))


class AttentionBlock(nn.Module):
    """A linear map, vector attention, a linear map, and the residual: figure 4a of the paper.

    Args:
        dim: Width of the rows.
        point_dim: Of the places.
        neighbours: Of each point.
    """

    def __init__(self, dim: int, point_dim: int, neighbours: int) -> None:
        super().__init__()
        self.before = PointPerceptron(dim, dim)
        self.attention = VectorAttention(dim, point_dim, neighbours)
        self.after = PointPerceptron(dim, dim)

    def forward(self, x: Tensor, points: Tensor, weights: Tensor) -> Tensor:
        """From ``(B, n, dim)`` to ``(B, n, dim)``."""
        attended = self.attention(self.before(x, weights), points, weights=weights)
        out: Tensor = x + self.after(attended, weights)
        return out


class TransitionDown(nn.Module):
    """Fewer points, each with the maximum of a perceptron over its neighbours: figure 4b.

    Args:
        dim: Width of the rows before.
        out_dim: And after.
        point_dim: Of the places.
        neighbours: Of each point that is kept, among all.
        rate: How many times fewer points there are afterwards, rounded up.
    """

    def __init__(self, dim: int, out_dim: int, point_dim: int, neighbours: int, rate: int) -> None:
        super().__init__()
        self.neighbours, self.rate = neighbours, rate
        self.rows = PointPerceptron(dim, out_dim)

    def forward(self, x: Tensor, points: Tensor, weights: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """From ``(B, n, dim)`` to ``(B, m, out_dim)``, and places and weights of those."""
        kept, inside = sampled(points, weights, self.rate)
        here = inside.to(weights.dtype)
        middles = clear_padding(take_points(points, kept), here)
        near, near_weights = nearest_points(middles, points, weights, count=self.neighbours)
        around = take_points(self.rows(x, weights), near)
        pooled = clear_padding(max_pool(around, near_weights), here)
        owner, _ = nearest_points(points, middles, here, count=1)
        mass = torch.zeros_like(here).scatter_add(1, owner.squeeze(-1), weights)
        return pooled, middles, mass


@torch.no_grad()
def sampled(points: Tensor, weights: Tensor, rate: int) -> tuple[Tensor, Tensor]:
    """The places in each cloud of the ``⌈n/rate⌉`` points that cover it, and which of them count.

    Returns:
        ``(B, m)`` int64, and ``(B, m)`` bool: what does not count is 0.
    """
    counts = (weights > 0).sum(-1)  # (B,)
    wanted = (counts + rate - 1) // rate
    most = -(-points.shape[1] // rate)
    chosen = farthest_points(points, weights, count=most)
    inside = (torch.arange(most, device=points.device) < wanted[:, None]) & (chosen >= 0)
    return torch.where(inside, chosen, 0), inside
