"""Balls around points of the cloud are missing."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ddeq_data.counters import stream
from ddeq_data.crops.base import Crop
from ddeq_data.crops.draws import CENTRE, place_keys
from ddeq_data.measures.masses import cumulated, masses
from ddeq_data.transforms.normalise import ZScore

__all__ = ["DDEQsCrop"]


@dataclass(frozen=True)
class DDEQsCrop(Crop):
    """Balls around points of the cloud are missing: the protocol of the DDEQ paper.

    The centres are points, each drawn with the probability of its weight: one after another from
    those that are still visible, or `together` from all, with replacement, as the published code
    does, so that balls may coincide and overlap more. All points at a distance up to `radius` of a
    centre are missing. Distances are those between z-scored points (`ZScore`), whatever the units
    of the batch. A ball that would leave nothing visible is not taken away.

    Source: J. Geuter, C. Bonet, A. Korba and D. Alvarez-Melis, "DDEQs: Distributional Deep
    Equilibrium Models through Wasserstein Gradient Flows", arXiv 2503.01140.

    Attributes:
        radius: Of the balls, positive.
        balls: Number of balls, at least 1.
        together: Whether the centres are drawn independently of each other.

    Raises:
        ValueError: If an attribute is out of range.
    """

    radius: float = 0.6
    balls: int = 2
    together: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.radius < math.inf or self.balls < 1:
            raise ValueError(
                "expected a finite radius above 0 and at least 1 ball, "
                f"got radius={self.radius} and balls={self.balls}"
            )

    def missing(self, points: Tensor, weights: Tensor, seeds: Tensor) -> Tensor:
        """Say which of (B, n, d) are in one of the balls: (B, n)."""
        scaled, _ = ZScore()(points, weights)
        order = place_keys(points, seeds).argsort(-1)  # the same for any order of the points
        visible, mass, own = weights > 0, masses(weights), stream(seeds, CENTRE)
        for ball in range(self.balls):
            drawn = stream(own, ball)
            centre = _atom(mass if self.together else torch.where(visible, mass, 0), order, drawn)
            apart = scaled - scaled.take_along_dim(centre[:, None, None], 1)
            outside = visible & (apart.square().sum(-1).sqrt() > self.radius)
            visible = torch.where(outside.any(-1, keepdim=True), outside, visible)
        return ~visible


def _atom(mass: Tensor, order: Tensor, drawn: Tensor) -> Tensor:
    # (B,) the index of one point, drawn with the probability of its mass from 64 random bits.
    total = cumulated(mass, order)[:, 1:].contiguous()
    below = torch.remainder(drawn, total[:, -1].clamp(min=1))
    place = torch.searchsorted(total, below[:, None], right=True).clamp(max=mass.shape[-1] - 1)
    return order.gather(-1, place)[:, 0]
