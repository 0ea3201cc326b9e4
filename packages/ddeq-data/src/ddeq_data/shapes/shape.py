"""What a file holds, and what a rule that makes a cloud of it looks like."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from torch import Tensor

__all__ = ["Sampling", "Shape"]


class Shape(NamedTuple):
    """What a file holds.

    Attributes:
        points: (n, d) floating: points, or the vertices of a mesh.
        weights: (n,) summing to 1, or None where all are alike.
        faces: (F, 3) int64, or None for a format that has none.
        coordinates: How many columns of the points, the first ones, are coordinates; those behind
            them are features. None: all.
    """

    points: Tensor
    weights: Tensor | None
    faces: Tensor | None
    coordinates: int | None = None


class Sampling(Protocol):
    """A rule that makes a cloud of a shape: `sampling(shape, key) -> shape`."""

    def __call__(self, shape: Shape, key: int, /) -> Shape:
        """Return the points of the cloud, and their weights.

        Args:
            shape: What the file holds.
            key: 64 bits that belong to the file, told by its name and not by its position; chance
                comes from the seed of the rule and this.

        Raises:
            ValueError: If there is no such cloud of this shape.
        """
        ...
