"""Normalisation of each cloud by its own mean and size."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ddeq_data.measures.padding import check_shapes, clean
from ddeq_data.transforms.base import largest, unit_of

__all__ = ["UnitSphere", "ZScore"]


@dataclass(frozen=True)
class ZScore:
    """Centre each cloud and divide each axis by its standard deviation, as the DDEQ paper does.

        x_ia <- (x_ia - m_a) / s_a,   m_a = sum_i w_i x_ia,   s_a^2 = sum_i w_i (x_ia - m_a)^2

    Mean and deviation are those of the measure: weighted, and without Bessel's correction, so
    that a doubled weight equals a duplicated point. The proportions of the axes are lost. An axis
    without spread (deviation at most about 16 eps times the largest coordinate of the cloud, which
    is what rounding leaves of a constant) is only centred; a cloud without points remains so.

    Source: J. Geuter, C. Bonet, A. Korba and D. Alvarez-Melis, "DDEQs: Distributional Deep
    Equilibrium Models through Wasserstein Gradient Flows", arXiv 2503.01140.
    """

    def __call__(
        self, points: Tensor, weights: Tensor, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Normalise each measure.

        Args:
            points: (..., n, d) floating.
            weights: (..., n), 0 in padding.
            generator: Not used.

        Returns:
            Normalised points, 0 in padding, and the weights as they were.

        Raises:
            ValueError: If the shapes do not fit.
        """
        check_shapes(points, weights)
        centred, share, unit = _centre(points, weights)
        variance = (share * centred.square()).sum(-2, keepdim=True)
        return centred * _rescale(variance, unit), weights


@dataclass(frozen=True)
class UnitSphere:
    """Centre each cloud and scale it into the unit ball, its farthest point on the sphere.

        x_i <- (x_i - m) / max_j |x_j - m|,   m = sum_i w_i x_i

    Shape and proportions are kept. A cloud whose points all coincide (to about 16 eps of its
    largest coordinate) is only centred; a cloud without points remains so.
    """

    def __call__(
        self, points: Tensor, weights: Tensor, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Normalise each measure.

        Args:
            points: (..., n, d) floating.
            weights: (..., n), 0 in padding.
            generator: Not used.

        Returns:
            Normalised points, 0 in padding, and the weights as they were.

        Raises:
            ValueError: If the shapes do not fit.
        """
        check_shapes(points, weights)
        centred, _, unit = _centre(points, weights)
        return centred * _rescale(largest(centred.square().sum(-1, keepdim=True)), unit), weights


def _centre(points: Tensor, weights: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    # Returns the points in units of `unit_of`, centred, and 0 in padding; the weights as shares of
    # the whole, (..., n, 1); and that unit, (..., 1, 1).
    inside = clean(points, weights)
    unit = unit_of(inside.detach())
    total = weights.sum(-1, keepdim=True)
    share = (weights / torch.where(total > 0, total, 1.0))[..., None]
    moved = inside / unit
    # The second pass removes the rounding of the first, which is large far from the origin.
    for _ in range(2):
        moved = clean(moved - (share * moved).sum(-2, keepdim=True), weights)
    return moved, share, unit


def _rescale(square: Tensor, unit: Tensor) -> Tensor:
    # One over the root, or where the root is rounding, what undoes the division by `unit`.
    flat = square <= (16 * torch.finfo(square.dtype).eps) ** 2
    return torch.where(flat, unit, torch.where(flat, 1.0, square).rsqrt())
