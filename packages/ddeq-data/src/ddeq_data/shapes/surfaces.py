"""Points from meshes: spread over the surface, or the vertices themselves, thinned out."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ddeq_data.counters import uniform
from ddeq_data.readers.vertices import Mesh

__all__ = ["sample_surface", "voxel_bounds", "voxel_means"]

_BISECTIONS = 48


def sample_surface(mesh: Mesh, count: int, seed: int | torch.Generator) -> Tensor:
    """Draw points that are independent and uniform on the surface of a mesh.

    A triangle (a, b, c) is chosen with probability proportional to its area, and in it the point
    (1 - r) a + r (1 - s) b + r s c with r = sqrt(u), u and s uniform on [0, 1) (Osada, Funkhouser,
    Chazelle and Dobkin, "Shape distributions", ACM Transactions on Graphics 2002). Point i is a
    function of (mesh, seed, i) alone: the first n of a larger sample are the sample of n.

    Args:
        mesh: Vertices (V, 3) and triangles (F, 3).
        count: Number of points n, at least 0.
        seed: A seed of 64 bits, or a generator to draw it from.

    Returns:
        (n, 3) float64.

    Raises:
        ValueError: If `count` is negative, or the mesh has no area to draw from.
    """
    if count < 0:
        raise ValueError(f"count must be at least 0, got {count}")
    corners = mesh.vertices.double()[mesh.faces]  # (F, 3, 3)
    # In units of a power of two near the largest coordinate: no product overflows or vanishes.
    largest = corners.abs().amax() if corners.numel() else corners.new_zeros(())
    largest = torch.where(largest > 0, largest, 1.0)
    unit = largest / (2 * torch.frexp(largest).mantissa)
    first, second = (corners[:, 1:] - corners[:, :1]).div(unit).unbind(1)
    area = torch.linalg.cross(first, second).norm(dim=-1)
    # What rounding leaves of three points on a line is no area.
    rounding = 8 * torch.finfo(area.dtype).eps * first.norm(dim=-1) * second.norm(dim=-1)
    area = torch.where(area > rounding, area, 0.0)
    total = area.cumsum(0)
    if len(area) == 0 or not total[-1] > 0:
        raise ValueError(
            f"a mesh of {len(mesh.vertices)} vertices and {len(mesh.faces)} faces has no area to "
            "draw points from; use its vertices"
        )
    if isinstance(seed, torch.Generator):
        drawn = torch.empty((), dtype=torch.int64, device=seed.device)
        seeds = drawn.random_(-(2**63), None, generator=seed).cpu()
    else:
        seeds = torch.tensor(seed)
    counter = 3 * torch.arange(count)
    where, u, s = (uniform(seeds, counter + k, torch.float64)[:, None] for k in range(3))
    # The first triangle whose sum exceeds the draw: one without area is never chosen.
    chosen = torch.searchsorted(total, where[:, 0] * total[-1], right=True)
    # Where the product was rounded up to the sum of all: the last one that has an area.
    chosen = chosen.clamp(max=int(torch.nonzero(area)[-1]))
    a, b, c = corners[chosen].unbind(1)
    r = u.sqrt()
    return (1 - r) * a + r * (1 - s) * b + r * s * c


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
    """Thin points out by the finest grid that leaves at most `high`, and at least `low` of them.

    Points at the same place are joined first; if they are `high` or fewer then, they are returned
    as they are. Otherwise the size of the cells is found by bisection, until the number of
    occupied cells is within the bounds. That number jumps for some shapes (a lattice of points):
    where no size is found, the most points below `low` are returned.

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
