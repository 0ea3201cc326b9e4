"""The one norm that residuals are measured in."""

from __future__ import annotations

import torch
from torch import Tensor


def weighted_rms(rows: Tensor, weights: Tensor) -> Tensor:
    """``(Σ_i w_i ‖r_i‖² / d)^½`` per measure: one size for every number of points and dimensions.

    Args:
        rows: ``r (..., n, d)``, 0 in padded rows.
        weights: ``w (..., n)``.

    Returns:
        Shape ``(...)``.
    """
    if rows.shape[-1] == 0:
        return weights.new_zeros(weights.shape[:-1])
    mean_square = rows.square().sum(-1).mul(weights).sum(-1) / rows.shape[-1]
    return mean_square.sqrt()


def safe_sqrt(x: Tensor) -> Tensor:
    """``√x`` with gradient 0 at 0."""
    positive = x > 0
    return torch.where(positive, torch.where(positive, x, 1).sqrt(), 0)
