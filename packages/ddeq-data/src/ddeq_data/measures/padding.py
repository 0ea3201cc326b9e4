"""Points and weights that belong together, and padding that holds nothing."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["check_shapes", "clean"]


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


def clean(points: Tensor, weights: Tensor) -> Tensor:
    """Put 0 in the padded rows, whatever stood there; no gradient flows to them."""
    return torch.where((weights > 0)[..., None], points, 0.0)
