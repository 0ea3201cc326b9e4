"""Which points float32 can hold, and which it would move."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["as_precise_as_needed"]

# By at most this share of the spread of an axis may rounding move a point: what is normalised to
# unit spread then keeps six digits wherever it was.
_SHARE = 5e-7
_HALF_STEP = 2.0**-24  # float32 rounds a number by at most this share of it


def as_precise_as_needed(points: Tensor) -> Tensor:
    """Return a cloud in float32, or in float64 where float32 would move its points.

    At a northing of 5.6e6 m two numbers of float32 are 0.5 m apart: a cloud there that has the
    size of a building comes out of it as a lattice. Judged column by column, by the standard
    deviation of all its numbers. A column whose numbers are all alike has no shape to lose.

    Args:
        points: (n, d) floating, finite.

    Returns:
        (n, d) float32 if each column keeps its shape in it, else float64.
    """
    narrow = points.to(torch.float32)
    if points.dtype == torch.float32 or len(points) == 0:
        return narrow
    wide = points.to(torch.float64)
    if torch.equal(narrow.to(torch.float64), wide):
        return narrow
    low, high = wide.amin(0), wide.amax(0)
    # In shares of the largest number, so that no square overflows.
    largest = torch.maximum(low.abs(), high.abs())
    unit = torch.where(largest > 0, largest, 1.0)
    spread = (wide / unit).std(0, correction=0)
    kept = (low == high) | (spread * _SHARE >= _HALF_STEP)
    return narrow if bool(kept.all()) else wide
