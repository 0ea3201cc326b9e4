"""Weights as integers: their sums are exact, so that no choice depends on the order of points."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["cumulated", "exact", "masses"]

# Units in a whole: products of a mass with numbers up to 2^22 fit into 64 bits.
_UNITS = 2.0**40


def exact(values: Tensor) -> Tensor:
    """Return floating numbers in float64, or in float32 on devices that have no other."""
    return values.to(torch.float32 if values.device.type == "mps" else torch.float64)


def masses(weights: Tensor) -> Tensor:
    """Return (..., n) int64, in units of about 2^-40 of the sum of (..., n) weights.

    A weight above 0, however small, has one unit at least.
    """
    wide = exact(weights)
    total = wide.sum(-1, keepdim=True)
    share = wide / torch.where(total > 0, total, 1.0)
    return torch.where(weights > 0, (share * _UNITS).round().clamp(min=1), 0.0).to(torch.int64)


def cumulated(mass: Tensor, order: Tensor) -> Tensor:
    """Return (..., n + 1): the mass of the first 0, 1, ..., n points in `order` (..., n)."""
    return torch.nn.functional.pad(mass.gather(-1, order).cumsum(-1), (1, 0))
