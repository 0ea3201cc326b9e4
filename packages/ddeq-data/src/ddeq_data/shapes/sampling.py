"""How a shape from a file becomes a cloud: named protocols, so that results are never mixed.

Each is a frozen dataclass whose `repr` tells all there is to it; the name of a processed cache is
made of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ddeq_data.counters import mix
from ddeq_data.shapes.grids import voxel_bounds
from ddeq_data.shapes.mesh import Mesh
from ddeq_data.shapes.shape import Shape
from ddeq_data.shapes.surfaces import sample_surface
from ddeq_data.transforms.normalise import ZScore

__all__ = [
    "AllPoints",
    "FirstPoints",
    "RandomPoints",
    "SurfacePoints",
    "VoxelVertices",
]


@dataclass(frozen=True)
class AllPoints:
    """All points, or all vertices, as they are in the file."""

    def __call__(self, shape: Shape, key: int) -> Shape:
        """Return the points and weights as they are."""
        return Shape(shape.points, shape.weights, None, shape.coordinates)


@dataclass(frozen=True)
class FirstPoints:
    """The first `count` points of the file, as PointNet and its successors take them.

    Attributes:
        count: Number of points, at least 1.
    """

    count: int

    def __post_init__(self) -> None:
        _check_count(self.count)

    def __call__(self, shape: Shape, key: int) -> Shape:
        """Return the first points, their weights divided by their sum."""
        _enough(shape, self.count)
        return _chosen(shape, torch.arange(self.count))


@dataclass(frozen=True)
class RandomPoints:
    """`count` points of the file, drawn without replacement.

    Attributes:
        count: Number of points, at least 1.
        seed: Another seed draws others.
    """

    count: int
    seed: int = 0

    def __post_init__(self) -> None:
        _check_count(self.count)

    def __call__(self, shape: Shape, key: int) -> Shape:
        """Return the points drawn, in the order of the file."""
        _enough(shape, self.count)
        order = mix(_seed(self.seed, key), torch.arange(len(shape.points))).argsort()
        return _chosen(shape, order[: self.count].sort().values)


@dataclass(frozen=True)
class SurfacePoints:
    """`count` points uniform by area on the surface of a mesh; see `sample_surface`.

    Attributes:
        count: Number of points, at least 1.
        seed: Another seed draws others.
    """

    count: int = 1024
    seed: int = 0

    def __post_init__(self) -> None:
        _check_count(self.count)

    def __call__(self, shape: Shape, key: int) -> Shape:
        """Return points on the surface, all of the same weight."""
        _featureless(shape, "the surface")
        if shape.faces is None:
            raise ValueError("it holds points and no faces to draw points from; use its points")
        if shape.points.shape[1] != 3:
            raise ValueError(f"a surface has 3 coordinates, not {shape.points.shape[1]}")
        seed = int(_seed(self.seed, key))
        points = sample_surface(Mesh(shape.points, shape.faces), self.count, seed)
        return Shape(points, None, None)


@dataclass(frozen=True)
class VoxelVertices:
    """The vertices, thinned out by a grid into `low` to `high` points; see `voxel_bounds`.

    The protocol of the DDEQ paper, which takes 500 to 800 points. Vertices gather where a shape
    has detail: results are not comparable with those on `SurfacePoints`. A mesh of fewer distinct
    vertices than `low` keeps them all.

    Attributes:
        low: Number of points wanted, at least.
        high: At most.
        z_scored: Whether the vertices are z-scored (`ZScore`) before the grid is laid, and stay so:
            its cells are then as elongated as the shape. That is what the published code does.
    """

    low: int = 500
    high: int = 800
    z_scored: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.low <= self.high:
            raise ValueError(f"expected 1 <= low <= high, got low={self.low}, high={self.high}")

    def __call__(self, shape: Shape, key: int) -> Shape:
        """Return the vertices that are left, all of the same weight."""
        _featureless(shape, "a grid")
        points = shape.points
        if self.z_scored:
            points, _ = ZScore()(points, points.new_full(points.shape[:1], 1 / max(len(points), 1)))
        return Shape(voxel_bounds(points, self.low, self.high), None, None)


def _check_count(count: int) -> None:
    if count < 1:
        raise ValueError(f"count must be at least 1, got {count}")


def _enough(shape: Shape, count: int) -> None:
    if len(shape.points) < count:
        raise ValueError(f"it holds {len(shape.points)} points, fewer than {count}; ask for fewer")


def _chosen(shape: Shape, rows: Tensor) -> Shape:
    if shape.weights is None:
        return Shape(shape.points[rows], None, None, shape.coordinates)
    weights = shape.weights[rows]
    return Shape(shape.points[rows], weights / weights.sum(), None, shape.coordinates)


def _featureless(shape: Shape, what: str) -> None:
    if shape.coordinates not in (None, shape.points.shape[1]):
        raise ValueError(f"the points of {what} have no features; leave features out")


def _seed(seed: int, key: int) -> Tensor:
    return mix(torch.tensor(seed), torch.tensor(key))
