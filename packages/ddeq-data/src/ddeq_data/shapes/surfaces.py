"""Points spread evenly over the surface of a mesh."""

from __future__ import annotations

import torch
from torch import Tensor

from ddeq_data.counters import uniform
from ddeq_data.shapes.mesh import Mesh

__all__ = ["sample_surface"]


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
