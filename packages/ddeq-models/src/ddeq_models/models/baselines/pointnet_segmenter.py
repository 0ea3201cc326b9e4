"""PointNet for the labels of points (Qi, Su, Mo and Guibas, CVPR 2017)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from ddeq_models.models.base import Output
from ddeq_models.models.baselines.layers import PointPerceptron
from ddeq_models.models.baselines.pointnet import PointNetConfig, PointNetRows
from ddeq_models.registry import register_model
from set_attention import max_pool


@dataclass(frozen=True)
class PointNetSegmenterConfig(PointNetConfig):
    """PointNet for the labels of points; see `PointNetConfig`.

    `classes` is the number of labels; `dropout` is not used.
    """

    kind: ClassVar[str] = "pointnet-segmenter"
    task: ClassVar[str] = "segmentation"

    classes: int = 2


@register_model(
    PointNetSegmenterConfig,
    {
        "pointnet-segmenter": (PointNetSegmenterConfig(), "Qi et al. 2017, with transforms"),
        "pointnet-segmenter-vanilla": (
            PointNetSegmenterConfig(transforms=False),
            "the same without transforms",
        ),
    },
)
class PointNetSegmenter(PointNetRows):
    r"""The features of a point beside those of the whole cloud, and a perceptron of both.

        f_i = A h_i,   g = max_i MLP_{64,128,1024}(f_i),   logits_i = MLP_{512,256,128,128}(f_i, g)

    with ``h_i`` and ``A`` of `PointNet`: figure 2 of the paper, the segmentation network.

    Args:
        config: See `PointNetSegmenterConfig`.
    """

    def __init__(self, config: PointNetSegmenterConfig) -> None:
        super().__init__(config)
        c = config.width
        self.hidden = PointPerceptron(c + 16 * c, 8 * c, 4 * c, 2 * c, 2 * c)
        self.out = nn.Linear(2 * c, config.classes)

    def forward(self, points: Tensor, weights: Tensor) -> Output:
        """Label points.

        Args:
            points: ``(B, n, point_dim)``; padded rows may hold anything.
            weights: ``(B, n)``, 0 for padding.
        """
        own, wide, penalty = self.rows(points, weights)
        whole = max_pool(wide, weights).unsqueeze(-2).expand(*own.shape[:-1], -1)
        hidden = self.hidden(torch.cat([own, whole], -1), weights)
        return Output(self.out(hidden), penalty=penalty)
