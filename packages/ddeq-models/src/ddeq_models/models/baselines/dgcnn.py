"""Dynamic graph CNN (Wang, Sun, Liu, Sarma, Bronstein and Solomon, ACM TOG 2019)."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ddeq_models.models.base import ModelConfig, Output
from ddeq_models.models.baselines.layers import BatchNorm
from ddeq_models.registry import register_model
from set_attention import (
    clear_padding,
    max_pool,
    mean_pool,
    merge_points,
    nearest_points,
    take_points,
)

_SLOPE = 0.2


@dataclass(frozen=True)
class DGCNNConfig(ModelConfig):
    """DGCNN; widths and neighbours are the paper's.

    Attributes:
        classes: Number of classes.
        neighbours: Of a point, itself included; a smaller cloud has all its points as neighbours.
        widths: Of the edge convolutions.
        joint: Width of what is pooled.
        dropout: Of both hidden layers of the head.
    """

    kind: ClassVar[str] = "dgcnn"

    classes: int = 10
    neighbours: int = 20
    widths: tuple[int, ...] = (64, 64, 128, 256)
    joint: int = 1024
    dropout: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.widths:
            raise ValueError("widths must not be empty; a DGCNN has a layer for each")


@register_model(DGCNNConfig, {"dgcnn": (DGCNNConfig(), "Wang et al. 2019")})
class DGCNN(nn.Module):
    r"""Convolutions over the edges to near points, where near is what is alike in each layer.

        x_i ← max_{j ∈ N(i)} φ(BN(W (x_i, x_j - x_i))),   logits = MLP_{512,256}(max y, mean y)

    with ``N(i)`` the points nearest to i in the space of the layer's own features, ``y`` a linear
    map of the results of all layers side by side, and ``φ`` the leaky ReLU. The classification
    network of the paper (figure 3, without its spatial transform, as in the authors' code).
    Points in one place count once, and the mean is over the measure. 1.8 million parameters on 40
    classes in 3-D.

    Args:
        config: See `DGCNNConfig`.
    """

    def __init__(self, config: DGCNNConfig) -> None:
        super().__init__()
        self.config = config
        widths = (config.point_dim, *config.widths)
        self.layers = nn.ModuleList(EdgeConv(a, b, config.neighbours) for a, b in pairwise(widths))
        self.joint = nn.Linear(sum(config.widths), config.joint, bias=False)
        self.joint_norm = BatchNorm(config.joint)
        # The published head: the first map without bias, the second with one.
        self.first, self.second = nn.Linear(2 * config.joint, 512, bias=False), nn.Linear(512, 256)
        self.norms = nn.ModuleList(BatchNorm(width) for width in (512, 256))
        self.dropout = nn.Dropout(config.dropout)
        self.out = nn.Linear(256, config.classes)

    def forward(self, points: Tensor, weights: Tensor) -> Output:
        """Classify clouds.

        Args:
            points: ``(B, n, point_dim)``; padded rows may hold anything.
            weights: ``(B, n)``, 0 for padding.
        """
        _, x, weights = merge_points(points[..., :0], points, weights)
        found = []
        for layer in self.layers:
            x = layer(x, weights)
            found.append(x)
        y = _active(self.joint_norm(self.joint(torch.cat(found, -1)), weights))
        hidden = torch.cat([max_pool(y, weights), mean_pool(y, weights)], -1)
        ones = hidden.new_ones(len(hidden), 1)  # the batch is what is normalised over
        for linear, norm in zip((self.first, self.second), self.norms, strict=True):
            normal = norm(linear(hidden).unsqueeze(1), ones).squeeze(1)
            hidden = self.dropout(_active(normal))
        return Output(self.out(hidden))


class EdgeConv(nn.Module):
    r"""The maximum over near points of a map of a point and the way to its neighbour.

    With ``W = (A, B)`` the map of an edge is ``A x_i + B (x_j - x_i) = B x_j + (A - B) x_i``: two
    maps of points, made before any edge is.

    Args:
        dim: Width of the rows.
        out_dim: Width of the result.
        neighbours: Of each point, itself included.
    """

    def __init__(self, dim: int, out_dim: int, neighbours: int) -> None:
        super().__init__()
        self.neighbours = neighbours
        self.linear = nn.Linear(2 * dim, out_dim, bias=False)
        self.norm = BatchNorm(out_dim)

    def forward(self, x: Tensor, weights: Tensor) -> Tensor:
        """From ``(B, n, dim)`` to ``(B, n, out_dim)``; 0 in padded rows."""
        x = clear_padding(x, weights)
        index, near = nearest_points(x, x, weights, count=self.neighbours)
        own, way = self.linear.weight.chunk(2, -1)
        rows = take_points(F.linear(x, way), index) + F.linear(x, own - way).unsqueeze(-2)
        # The mass of each point, spread over its neighbours by theirs.
        whole = near.sum(-1, keepdim=True)
        edges = weights.unsqueeze(-1) * near / torch.where(whole > 0, whole, 1)
        rows = _active(self.norm(rows.flatten(1, 2), edges.flatten(1)))
        return max_pool(rows.view(*edges.shape, -1), edges)


def _active(x: Tensor) -> Tensor:
    return F.leaky_relu(x, _SLOPE)
