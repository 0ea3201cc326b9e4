"""What the readers check of vertices, and of the faces between them."""

from __future__ import annotations

from os import PathLike

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ddeq_data.errors import DataError
from ddeq_data.shapes.mesh import Mesh

__all__ = ["checked_mesh", "finite_vertices"]


def finite_vertices(path: str | PathLike[str], vertices: NDArray[np.float64]) -> Tensor:
    """Return (V, 3) vertices as a tensor.

    Raises:
        DataError: If one of them is not finite, naming the first.
    """
    if not np.isfinite(vertices).all():
        wrong = int(np.flatnonzero(~np.isfinite(vertices).all(1))[0])
        raise DataError.at(
            path,
            place=f"vertex {wrong} (counted from 0)",
            expected="finite coordinates",
            found=f"({', '.join(f'{value:g}' for value in vertices[wrong])})",
            remedy="remove or repair that vertex",
        )
    return torch.from_numpy(np.require(vertices, requirements=["C", "W"]))


def checked_mesh(
    path: str | PathLike[str],
    vertices: NDArray[np.float64],
    corners: NDArray[np.int64],
    counts: NDArray[np.int64] | None,
) -> Mesh:
    """Put a mesh together, its polygons cut into triangles.

    The polygon (v0, v1, ..., vk) becomes the fan (v0, v1, v2), (v0, v2, v3), ...; for a convex
    one the same surface. One of fewer than 3 corners has no surface and is left out.

    Args:
        path: Named in errors.
        vertices: (V, 3).
        corners: (K,) the corners of all polygons, one after another.
        counts: (P,) the number of corners of each polygon, summing to K; None for triangles.

    Raises:
        DataError: If a vertex is not finite, or a corner is no vertex; naming it.
    """
    points = finite_vertices(path, vertices)
    wrong = (corners < 0) | (corners >= len(vertices))
    if wrong.any():
        at = int(np.argmax(wrong))
        face = at // 3 if counts is None else int(np.searchsorted(np.cumsum(counts), at, "right"))
        raise DataError.at(
            path,
            place=f"face {face} (counted from 0)",
            expected=f"corners in 0..{len(vertices) - 1}, one of {len(vertices)} vertices"
            if len(vertices)
            else "no face, as there is no vertex",
            found=str(corners[at]),
            remedy="repair that face, or fetch the file again",
        )
    triangles = corners.reshape(-1, 3) if counts is None else _fans(corners, counts)
    return Mesh(points, torch.from_numpy(np.require(triangles, requirements=["C", "W"])))


def _fans(corners: NDArray[np.int64], counts: NDArray[np.int64]) -> NDArray[np.int64]:
    pieces = np.maximum(counts - 2, 0)
    start = np.repeat(np.cumsum(counts) - counts, pieces)
    first = np.repeat(np.cumsum(pieces) - pieces, pieces)
    k = start + np.arange(len(start)) - first
    return np.stack([corners[start], corners[k + 1], corners[k + 2]], -1)
