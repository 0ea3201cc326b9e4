"""PointNet (Qi, Su, Mo and Guibas, CVPR 2017)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from ddeq_models.models.base import ModelConfig, Output
from ddeq_models.models.baselines.layers import Head, PointPerceptron, clear
from ddeq_models.registry import register_model
from set_attention import max_pool


@dataclass(frozen=True)
class PointNetConfig(ModelConfig):
    """PointNet; the widths are the paper's, or all of them larger or smaller.

    Attributes:
        classes: Number of classes.
        width: Of the first layers, 64 in the paper; the others are 2, 4, 8 and 16 times as wide.
        transforms: Whether input and features are turned by matrices that small networks of the
            same kind (T-Nets) predict. Without them it is the paper's "vanilla" network.
        dropout: Of the last hidden layer; the paper keeps 0.7 of it.
        orthogonality: Weight of the penalty ``‖I − A Aᵀ‖²`` on the matrix of the features.
    """

    kind: ClassVar[str] = "pointnet"

    classes: int = 10
    width: int = 64
    transforms: bool = True
    dropout: float = 0.3
    orthogonality: float = 1e-3


class PointNetRows(nn.Module):
    """What the two networks of PointNet share: the features of the points.

    Args:
        config: See `PointNetConfig`.
    """

    def __init__(self, config: PointNetConfig) -> None:
        super().__init__()
        self.config = config
        c = config.width
        self.turn_points = TransformNet(config.point_dim, c) if config.transforms else None
        self.first = PointPerceptron(config.point_dim, c, c)
        self.turn_features = TransformNet(c, c) if config.transforms else None
        self.second = PointPerceptron(c, c, 2 * c, 16 * c)

    def rows(self, points: Tensor, weights: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Features of points.

        Args:
            points: ``(B, n, point_dim)``; padded rows may hold anything.
            weights: ``(B, n)``, 0 for padding.

        Returns:
            Those of single points ``(B, n, c)``, turned, with the width c; what the maximum is
            taken of, ``(B, n, 16 c)``; and the penalty ``(B,)``, or None without transforms.
        """
        x, penalty = clear(points, weights), None
        if self.turn_points is not None:
            x = x @ self.turn_points(x, weights)
        x = self.first(x, weights)
        if self.turn_features is not None:
            matrix = self.turn_features(x, weights)
            x = x @ matrix
            penalty = self.config.orthogonality * _from_orthogonal(matrix)
        return x, self.second(x, weights), penalty


@register_model(
    PointNetConfig,
    {
        "pointnet": (PointNetConfig(), "Qi et al. 2017, with transforms"),
        "pointnet-vanilla": (PointNetConfig(transforms=False), "the same without transforms"),
    },
)
class PointNet(PointNetRows):
    r"""A perceptron of each point, the maximum over the points, a perceptron of the result.

        h_i = MLP_{64,64}(T x_i),   g = max_i MLP_{64,128,1024}(A h_i),   logits = MLP_{512,256}(g)

    with ``T`` and ``A`` from two T-Nets, or the identity. Figure 2 of the paper. The maximum is
    taken over the points of positive weight alone: of a measure, PointNet sees its support.
    3.5 million parameters on 40 classes in 3-D, 0.8 without the transforms (table 6).

    Args:
        config: See `PointNetConfig`.
    """

    def __init__(self, config: PointNetConfig) -> None:
        super().__init__(config)
        c = config.width
        self.head = Head((16 * c, 8 * c, 4 * c, config.classes), config.dropout)

    def forward(self, points: Tensor, weights: Tensor) -> Output:
        """Classify clouds.

        Args:
            points: ``(B, n, point_dim)``; padded rows may hold anything.
            weights: ``(B, n)``, 0 for padding.
        """
        _, wide, penalty = self.rows(points, weights)
        return Output(self.head(max_pool(wide, weights)), penalty=penalty)


class TransformNet(nn.Module):
    """A square matrix for each cloud: a small PointNet, which starts at the identity.

    Args:
        dim: Of the matrix, and of the rows from which it is predicted.
        width: See `PointNetConfig`.
    """

    def __init__(self, dim: int, width: int) -> None:
        super().__init__()
        self.dim = dim
        self.rows = PointPerceptron(dim, width, 2 * width, 16 * width)
        self.head = Head((16 * width, 8 * width, 4 * width, dim * dim))
        nn.init.zeros_(self.head.out.weight)
        nn.init.zeros_(self.head.out.bias)

    def forward(self, x: Tensor, weights: Tensor) -> Tensor:
        """From ``(B, n, dim)`` to ``(B, dim, dim)``."""
        flat = self.head(max_pool(self.rows(x, weights), weights))
        identity = torch.eye(self.dim, dtype=flat.dtype, device=flat.device)
        matrix: Tensor = identity + flat.unflatten(-1, (self.dim, self.dim))
        return matrix


def _from_orthogonal(matrix: Tensor) -> Tensor:
    """``‖I − A Aᵀ‖²`` of each matrix, ``(B,)``; equation 2 of the paper."""
    identity = torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)
    return (identity - matrix @ matrix.mT).square().sum((-2, -1))
