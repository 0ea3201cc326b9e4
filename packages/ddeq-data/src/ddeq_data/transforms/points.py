"""Random changes of single points."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ddeq_data.counters import normal, uniform
from ddeq_data.measures.padding import clean
from ddeq_data.transforms.base import RandomTransform

__all__ = ["DropPoints", "Jitter"]


@dataclass(frozen=True)
class Jitter(RandomTransform):
    """Move each point by independent normal noise of deviation `std` in each coordinate.

    Attributes:
        std: Standard deviation of the noise.

    Raises:
        ValueError: If `std` is negative or not finite.
    """

    std: float

    def __post_init__(self) -> None:
        if not 0 <= self.std < math.inf:
            raise ValueError(f"std must be finite and at least 0, got {self.std}")

    def draw(self, points: Tensor, weights: Tensor, seeds: Tensor) -> tuple[Tensor, Tensor]:
        """Move (..., n, d) by the draws that belong to `seeds` (...,)."""
        dim = points.shape[-1]
        counter = _rank(weights)[..., None] * dim + torch.arange(dim, device=points.device)
        noise = normal(seeds[..., None, None], counter, points.dtype)
        return clean(points + self.std * noise, weights), weights


@dataclass(frozen=True)
class DropPoints(RandomTransform):
    """Drop each point with probability `p`, and share its weight out among those that stay.

    Points that stay keep the proportions of their weights; a dropped point becomes padding, so
    that shapes do not change. One point always stays: the one that was closest to staying.

    Attributes:
        p: Probability of a point to be dropped.

    Raises:
        ValueError: If `p` is not in 0..1 (1 excluded).
    """

    p: float

    def __post_init__(self) -> None:
        if not 0 <= self.p < 1:
            raise ValueError(f"p must be at least 0 and less than 1, got {self.p}")

    def draw(self, points: Tensor, weights: Tensor, seeds: Tensor) -> tuple[Tensor, Tensor]:
        """Thin (..., n, d) out by the draws that belong to `seeds` (...,)."""
        if points.shape[-2] == 0:
            return points, weights
        chance = uniform(seeds[..., None], _rank(weights), points.dtype)
        chance = torch.where(weights > 0, chance, -1.0)
        stays = (chance >= self.p) | (chance == chance.amax(-1, keepdim=True))
        kept = torch.where(stays, weights, 0.0)
        before, after = weights.sum(-1, keepdim=True), kept.sum(-1, keepdim=True)
        kept = kept * (before / torch.where(after > 0, after, 1.0))
        return clean(points, kept), kept


def _rank(weights: Tensor) -> Tensor:
    # The number of each point among the points of its cloud, padding not counted: (..., n).
    return (weights > 0).cumsum(-1) - 1
