"""Points thinned out by a grid: one for each cell that holds any."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["voxel_bounds", "voxel_means"]

_BISECTIONS = 48


def voxel_means(points: Tensor, size: float) -> Tensor:
    """Replace the points in each cell of a grid by their mean.

    The grid begins at the least coordinate of each axis.

    Args:
        points: (n, d) floating, finite.
        size: Length of the sides of a cell, positive; or 0, where only points at the same place
            are joined.

    Returns:
        (m, d) of the dtype of `points`, cells in the order of their coordinates.

    Raises:
        ValueError: If `size` is negative or not finite.
    """
    if not 0 <= size < float("inf"):
        raise ValueError(f"size must be finite and at least 0, got {size}")
    if len(points) == 0:
        return points.clone()
    if size == 0:
        distinct: Tensor = torch.unique(points, dim=0)
        return distinct
    wide = points.double().numpy()
    cells = _cells(wide, size)
    _, inverse = np.unique(cells, axis=0, return_inverse=True)
    inverse = inverse.ravel()
    counts = np.bincount(inverse)
    sums = np.stack([np.bincount(inverse, column) for column in wide.T], -1)
    return torch.from_numpy(sums / counts[:, None]).to(points.dtype)


def voxel_bounds(points: Tensor, low: int, high: int) -> Tensor:
    """Thin points out by a grid that leaves at most `high`, and at least `low` of them.

    Points at the same place are joined first; if they are `high` or fewer then, they are returned
    as they are. Otherwise the size of the cells is found by bisection: the first one by which the
    number of occupied cells is within the bounds, a finer one may be so as well. That number jumps
    for some shapes (a lattice of points): where no size is found, the most points below `low` are
    returned.

    Args:
        points: (n, d) floating, finite.
        low: Number of points wanted, at least.
        high: At most.

    Returns:
        (m, d) of the dtype of `points`, m at most `high`.

    Raises:
        ValueError: If not 1 <= low <= high.
    """
    if not 1 <= low <= high:
        raise ValueError(f"expected 1 <= low <= high, got low={low}, high={high}")
    distinct = voxel_means(points, 0)
    if len(distinct) <= high:
        return distinct
    wide = distinct.double().numpy()
    few = 2 * float(np.ptp(wide, axis=0).max())  # all points in one cell
    many, best = 0.0, few
    for _ in range(_BISECTIONS):
        middle = (few + many) / 2
        count = len(np.unique(_cells(wide, middle), axis=0))
        if count > high:
            many = middle
            continue
        few = best = middle
        if count >= low:
            break
    return voxel_means(distinct, best)


def _cells(points: NDArray[np.float64], size: float) -> NDArray[np.float64]:
    cells: NDArray[np.float64] = np.floor((points - points.min(0)) / size)
    return cells
