"""The input branch: from a cloud to features of its points, and to one vector of the whole.

    points    in the set's frame, in the cloud's own, by its own size  ->  perceptron  ->  features
              local moments: what lies about each point
    tokens    stages of local pooling, if any: fewer points that each know what lies about them
    cloud     mean and maximum of the features, description            ->  perceptron  ->  summary

No frame fits all data: where place means nothing it misleads, and where it tells the classes apart
nothing else does. So a point is seen in three frames at once, of which the set's own is hidden from
some clouds in each step of the training, that the others are not neglected: unless what moments say
of the training clouds shows that place is what tells.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ddeq_models.models.description import Description, describe
from ddeq_models.models.frames import centred, place_tells
from ddeq_models.models.packing import Packed, Padded
from set_attention import (
    FourierFeatures,
    LocalMoments,
    LocalPool,
    MeasureBatchNorm,
    by_size,
    in_order,
    max_pool,
    mean_pool,
)

# In units of the last place of the largest number: what is left of a mean that was taken away.
_ROUNDING = 16


class Encoded(NamedTuple):
    """What is known of clouds.

    Attributes:
        rows: ``(B, m, dim)``, features of points or tokens, of no meaning in padded rows.
        weights: ``(B, m)`` of these, each row summing to 1, 0 for padding.
        places: ``(B, m, coordinates)``: where they are.
        summary: ``(B, dim)`` of each cloud.
    """

    rows: Tensor
    weights: Tensor
    places: Tensor
    summary: Tensor


class PointEncoder(nn.Module):
    """Features of the points of a cloud, and a summary of it.

    Functions of the measure, but for the count of the points in the description; see `describe`.

    Args:
        point_dim: Columns of a point.
        coordinates: How many of them, from the first on, are coordinates; the others are features,
            which have no common frame with these. 0: all.
        dim: Width of the features and of the summary.
        pooled: Width of the features whose mean and maximum the summary knows.
        octaves: Of Fourier features of the coordinates in their own frame, 0 for none.
        scales: Of the local moments, 0 for none.
        description: Whether the summary knows the `Description` of the cloud.
        placed: Whether it holds the quantiles of the coordinates as they are; see `describe`.
        dropout: Of the description and in the summary, in training.
        hiding: Probability of a cloud that the set's frame is hidden, in training. Of a `placed`
            encoder that was fitted to clouds whose place tells (see `place_tells`) it is 0.
        tokens: How many tokens each stage of local pooling leaves, the last of which are then what
            has features; see `set_attention.LocalPool`. Empty: the points have them.
        widths: Of the points' features before the first stage, and of the tokens after each: one
            more than `tokens`. Empty without tokens.
        neighbours: In the group that a token is pooled from.
        residual_maps: How many on the members of such a group, which are many, and on the token.
        rows: Largest number of points that have features, 0 for all. Of a larger cloud as many are
            drawn in training; in evaluation they are those at even steps along a direction,
            whatever their order. The description is always that of all points.
    """

    unit: Tensor
    centre: Tensor
    reach: Tensor

    def __init__(
        self,
        point_dim: int,
        coordinates: int,
        dim: int,
        *,
        pooled: int = 192,
        octaves: int = 0,
        scales: int = 3,
        description: bool = True,
        placed: bool = False,
        dropout: float = 0.1,
        hiding: float = 0.3,
        tokens: Sequence[int] = (),
        widths: Sequence[int] = (),
        neighbours: int = 24,
        residual_maps: tuple[int, int] = (0, 2),
        rows: int = 0,
    ) -> None:
        super().__init__()
        lifted = (*widths[:1],) if tokens else (dim, 2 * dim)
        self.point_dim, self.coordinates = point_dim, coordinates or point_dim
        self.hiding, self.rows, self.placed = hiding, rows, placed
        self.place_tells = False  # of importance in a training alone, so no part of what is saved
        self.fourier = FourierFeatures(self.coordinates, octaves)
        self.local = LocalMoments(self.coordinates, scales) if scales else None
        features = point_dim + self.fourier.out_dim + self.coordinates
        features += 0 if self.local is None else self.local.out_dim
        self.lift = _Lift((features, *lifted))
        self.stages = nn.ModuleList(
            LocalPool(
                before,
                self.coordinates,
                count,
                neighbours,
                out_dim=after,
                before=residual_maps[0],
                after=residual_maps[1],
            )
            for count, (before, after) in zip(tokens, pairwise(widths), strict=True)
        )
        last = widths[-1] if tokens else 2 * dim
        self.wide = _Lift((last, pooled))
        self.feature = nn.Sequential(nn.Linear(last, dim), nn.LayerNorm(dim))
        self.description = Description(point_dim, placed) if description else None
        if self.description is not None:
            self.describe = nn.Sequential(
                nn.Dropout(dropout),
                nn.Linear(self.description.out_dim, dim),
                nn.GELU(),
                nn.Linear(dim, dim),
            )
        self.summary = nn.Sequential(
            nn.Linear(2 * pooled + (dim if description else 0), dim),
            nn.LayerNorm(dim),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(dim, dim),
        )
        # What the training clouds decide; see `fit`.
        self.register_buffer("unit", torch.ones(point_dim))
        self.register_buffer("centre", torch.zeros(point_dim))
        self.register_buffer("reach", torch.ones(point_dim))

    @torch.no_grad()
    def fit(self, points: Tensor, weights: Tensor, labels: Tensor | None) -> None:
        """Take units, centre and the description's quantiles from training clouds.

        Args:
            points: (C, n, point_dim), of at least one cloud.
            weights: (C, n), 0 for padding.
            labels: (C,) int64, or numbers (C, k) of about unit variance, or None.
        """
        mean, own = centred(points, weights)
        full = (weights > 0).any(-1)
        spread = mean_pool(own.square(), weights)[full].mean(0)
        means = mean[full]
        # What rounding leaves of a column that is the same everywhere is no spread.
        largest = torch.where((weights > 0).unsqueeze(-1), points, 0).abs().amax((0, 1))
        least = _rounding_of(largest)
        self.unit.copy_(_or_one(spread.sqrt(), least))
        self.reach.copy_(_or_one((spread + means.var(0, unbiased=False)).sqrt(), least))
        self.centre.copy_(means.mean(0))
        if self.description is not None:
            described = describe(points / self.unit, weights, placed=self.placed)
            self.description.fit(described, labels)
        if self.placed and self.hiding and labels is not None:
            there = points[..., : self.coordinates] / self.unit[: self.coordinates]
            self.place_tells = place_tells(there, weights, labels)

    def forward(self, points: Tensor, weights: Tensor) -> Encoded:
        """Encode clouds.

        Args:
            points: (B, n, point_dim); padded rows may hold anything.
            weights: (B, n).

        Returns:
            Features and a summary; m is n, or `rows` if that is less, or the last of `tokens`.
        """
        with torch.no_grad():
            described = None if self.description is None else self._described(points, weights)
            points, weights = self.seen(points, weights)
            shown = points.new_ones(points.shape[0], 1, 1)
            if self.training and self.hiding and not self.place_tells:
                shown = (torch.rand_like(shown) >= self.hiding).to(points.dtype)
            told = torch.cat([points, shown.expand(*points.shape[:-1], 1)], -1)
        # On a GPU the host would wait for the sizes, and what is compiled shall not look at them.
        packs = points.device.type == "cpu" and not torch.compiler.is_compiling()
        views = by_size(self._views, told, weights) if packs else self._views(told, weights)
        layout: Packed | Padded = Packed(weights) if packs else Padded(weights)
        lifted = self.lift(layout.rows(views), layout.mass)
        unit = self.unit[: self.coordinates]
        places = points[..., : self.coordinates] / unit
        if self.stages:
            lifted = layout.whole(lifted)
            for stage in self.stages:
                lifted, places, weights = stage(lifted, places, weights)
            layout = Padded(weights)  # few tokens are padding
        wide = layout.whole(self.wide(lifted, layout.mass))
        known = [mean_pool(wide, weights), max_pool(wide, weights)]
        if described is not None:
            known.append(self.describe(described))
        rows = layout.whole(self.feature(lifted))
        return Encoded(rows, weights, places * unit, self.summary(torch.cat(known, -1)))

    def _described(self, points: Tensor, weights: Tensor) -> Tensor:
        assert self.description is not None
        described = describe(points / self.unit, weights, placed=self.placed)
        out: Tensor = self.description(described)
        return out

    def _views(self, told: Tensor, weights: Tensor | None) -> Tensor:
        assert weights is not None
        with torch.no_grad():
            points, shown = told[..., :-1], told[..., -1:]
            scaled = points / self.unit
            _, own = centred(scaled, weights)
            own = own[..., : self.coordinates]
            size = mean_pool(own.square(), weights).mean(-1, keepdim=True).sqrt()
            squares = mean_pool(scaled[..., : self.coordinates].square(), weights)
            far = squares.mean(-1, keepdim=True).sqrt()
            relative = own / _or_one(size, _rounding_of(far)).unsqueeze(-2)
            views = [
                (points - self.centre) / self.reach * shown,
                self.fourier(own, weights),
                relative,
            ]
            if self.local is not None:
                views.append(self.local(relative, weights))
            return torch.where((weights > 0).unsqueeze(-1), torch.cat(views, -1), 0)

    def seen(self, points: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        """The points that have features: at most `rows` of each cloud.

        Args:
            points: (B, n, point_dim).
            weights: (B, n).

        Returns:
            (B, m, point_dim) and their weights (B, m), which sum to 1 again.
        """
        if not self.rows or points.shape[-2] <= self.rows:
            return points, weights
        if self.training:
            key = torch.where(weights > 0, torch.rand_like(weights), -torch.inf)
            chosen = key.topk(self.rows, dim=-1).indices
        else:
            # Some at even steps along a direction: the same ones whatever their order, their
            # padding, their batch and, but where two change places, their rounding.
            count = (weights > 0).sum(-1, keepdim=True)
            step = torch.arange(self.rows, device=points.device)
            even = ((2 * step + 1) * count).div(2 * self.rows, rounding_mode="floor")
            at = torch.where(count > self.rows, even, step)
            chosen = in_order(points, weights).gather(-1, at)
        taken = weights.gather(-1, chosen)
        total = taken.sum(-1, keepdim=True)
        return (
            points.take_along_dim(chosen.unsqueeze(-1), -2),
            taken / torch.where(total > 0, total, 1),
        )


class _Lift(nn.Module):
    """A perceptron on each point, normalised over the batch."""

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(a, b, bias=False) for a, b in pairwise(widths))
        self.norms = nn.ModuleList(MeasureBatchNorm(width) for width in widths[1:])

    def forward(self, x: Tensor, weights: Tensor) -> Tensor:
        for layer, norm in zip(self.layers, self.norms, strict=True):
            x = norm(layer(x), weights).relu()
        return x


def _rounding_of(largest: Tensor) -> Tensor:
    return _ROUNDING * torch.finfo(largest.dtype).eps * largest


def _or_one(x: Tensor, least: Tensor | float = 0.0) -> Tensor:
    """Units to divide by: 1 where there is no spread, or no more than ``least``."""
    return torch.where((x > 1e-12) & (x > least), x, 1)
