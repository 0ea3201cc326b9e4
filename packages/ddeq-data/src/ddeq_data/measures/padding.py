"""Points and weights that belong together, and padding that holds nothing."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["check_shapes", "clean", "coordinates_of"]


def check_shapes(points: Tensor, weights: Tensor) -> None:
    """Check that points are (..., n, d) and weights (..., n).

    Raises:
        ValueError: Naming what was expected and what came.
    """
    if points.ndim < 2 or not points.is_floating_point():
        raise ValueError(
            "points must be floating of shape (..., n, d), "
            f"got {points.dtype} of shape {tuple(points.shape)}"
        )
    if weights.shape != points.shape[:-1]:
        raise ValueError(
            f"weights must have shape {tuple(points.shape[:-1])} like the points, "
            f"got {tuple(weights.shape)}"
        )


def coordinates_of(points: Tensor, features: int) -> int:
    """How many columns of points (..., n, d) are coordinates, where the last ones are features.

    Raises:
        ValueError: If there are none, or `features` is negative.
    """
    if features < 0:
        raise ValueError(f"features must be at least 0, got {features}")
    count = points.shape[-1] - features
    if count < 1:
        raise ValueError(
            f"points of {points.shape[-1]} columns, {features} of them features, have no "
            "coordinates"
        )
    return count


def clean(points: Tensor, weights: Tensor) -> Tensor:
    """Put 0 in the padded rows, whatever stood there; no gradient flows to them."""
    return torch.where((weights > 0)[..., None], points, 0.0)
