"""A polygonal mesh."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

__all__ = ["Mesh"]


class Mesh(NamedTuple):
    """Vertices and triangles.

    Attributes:
        vertices: (V, 3) float64, finite, as precise as the file has them.
        faces: (F, 3) int64, indices into `vertices`; (0, 3) where a file gives points only.
    """

    vertices: Tensor
    faces: Tensor
