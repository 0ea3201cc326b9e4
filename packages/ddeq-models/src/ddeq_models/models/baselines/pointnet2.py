"""PointNet++ (Qi, Yi, Su and Guibas, NeurIPS 2017)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from ddeq_models.models.base import ModelConfig, Output
from ddeq_models.models.baselines.layers import BatchNorm, Head, PointPerceptron
from ddeq_models.registry import register_model
from set_attention import (
    clear_padding,
    group_points,
    max_pool,
    mean_pool,
    merge_points,
    take_points,
)


@dataclass(frozen=True)
class PointNet2Config(ModelConfig):
    """PointNet++ with single-scale grouping; widths, groups and radii are the paper's.

    Attributes:
        classes: Number of classes.
        groups: How many points stand for the cloud after each stage; a smaller cloud keeps all.
        neighbours: Largest number of points in a group of each stage.
        radii: Of the groups of each stage, in the unit of the cloud: its largest distance from its
            mean, which is 1 for the paper's clouds.
        widths: w of each stage, whose perceptron has layers of w, w and 2w; and of the one on all
            that is left, of w, 2w and 4w.
        dropout: Of the head.
    """

    kind: ClassVar[str] = "pointnet2"

    classes: int = 10
    groups: tuple[int, ...] = (512, 128)
    neighbours: tuple[int, ...] = (32, 64)
    radii: tuple[float, ...] = (0.2, 0.4)
    widths: tuple[int, ...] = (64, 128, 256)
    dropout: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        stages = len(self.groups)
        if not stages == len(self.neighbours) == len(self.radii) == len(self.widths) - 1:
            raise ValueError(
                "groups, neighbours and radii need an entry for each stage, and widths one more, "
                f"got {stages}, {len(self.neighbours)}, {len(self.radii)} and {len(self.widths)}"
            )


@register_model(
    PointNet2Config, {"pointnet2": (PointNet2Config(), "Qi et al. 2017, PointNet++ (SSG)")}
)
class PointNet2(nn.Module):
    r"""PointNets on groups of near points, on groups of such groups, and on what is left.

        x_c ← max_{|p_j - p_c| ≤ r} MLP(p_j - p_c, x_j)   at farthest points c;   logits = MLP(g)

    The classification network with single-scale grouping of the paper (appendix B.1). Departures:
    where a ball holds more points than a group, the nearest are taken, and not those that come
    first in the tensor; the first farthest point is the outermost, not one at random; points in
    one place count once. So the result is a function of the measure. A point that stands for a
    group has the weight of those nearest to it, and batch normalisation is over these measures.
    1.5 million parameters on 40 classes in 3-D.

    Args:
        config: See `PointNet2Config`.
    """

    def __init__(self, config: PointNet2Config) -> None:
        super().__init__()
        self.config = config
        *widths, last = config.widths
        before = (0, *(2 * width for width in widths))
        self.stages = nn.ModuleList(
            Stage(config.point_dim, a, b, b, 2 * b) for a, b in zip(before, widths, strict=False)
        )
        self.last = Stage(config.point_dim, before[-1], last, 2 * last, 4 * last)
        self.head = Head((4 * last, 512, 256, config.classes), config.dropout)

    def forward(self, points: Tensor, weights: Tensor) -> Output:
        """Classify clouds.

        Args:
            points: ``(B, n, point_dim)``; padded rows may hold anything.
            weights: ``(B, n)``, 0 for padding.
        """
        config = self.config
        x, places, weights = merge_points(points[..., :0], points, weights)
        unit = _extent(places, weights)
        geometry = zip(self.stages, config.groups, config.neighbours, config.radii, strict=True)
        for stage, groups, count, radius in geometry:
            # Selected in the unit of the cloud, and seen in that of the data.
            near = group_points(
                places / unit, weights, groups=groups, neighbours=count, radius=radius
            )
            middles = near.middles(places)
            offsets = clear_padding(near.neighbours(places) - middles.unsqueeze(-2), near.weights)
            rows = stage(x, offsets, near.index, near.shares())
            x, places, weights = max_pool(rows, near.weights), middles, near.masses
        index = torch.arange(x.shape[1], device=x.device).expand(len(x), 1, -1)
        rows = self.last(x, places.unsqueeze(1), index, weights.unsqueeze(1))
        return Output(self.head(max_pool(rows.squeeze(1), weights)))


class Stage(nn.Module):
    """A perceptron of offsets and features of neighbours, each layer normalised, with ReLU.

    The first linear map acts on the features of the points themselves, before these are taken into
    groups: so many times fewer products, and the same result.

    Args:
        point_dim: Of the offsets.
        dim: Width of the features; 0 if there are none.
        widths: Of the layers.
    """

    def __init__(self, point_dim: int, dim: int, *widths: int) -> None:
        super().__init__()
        self.offsets = nn.Linear(point_dim, widths[0])
        self.features = nn.Linear(dim, widths[0], bias=False) if dim else None
        self.norm = BatchNorm(widths[0])
        self.rest = PointPerceptron(*widths)

    def forward(self, x: Tensor, offsets: Tensor, index: Tensor, weights: Tensor) -> Tensor:
        """Rows of the members of groups.

        Args:
            x: ``(B, n, dim)``, the features of all points.
            offsets: ``(B, m, k, point_dim)``, of the members.
            index: ``(B, m, k)``, their places among the points.
            weights: ``(B, m, k)``, 0 for none.

        Returns:
            ``(B, m, k, widths[-1])``; 0 where there is none.
        """
        rows = self.offsets(offsets)
        if self.features is not None:
            rows = rows + take_points(self.features(x), index)
        flat = weights.flatten(1)
        rows = self.norm(rows.flatten(1, 2), flat).relu()
        out: Tensor = self.rest(rows, flat)
        return out.view(*weights.shape, -1)


def _extent(points: Tensor, weights: Tensor) -> Tensor:
    """The largest distance ``(B, 1, 1)`` of a point from the mean of its cloud; 1 for none."""
    apart = clear_padding(points - mean_pool(points, weights).unsqueeze(-2), weights)
    extent = apart.detach().norm(dim=-1).amax(-1)[:, None, None]
    return torch.where(extent > 0, extent, 1)
