"""Transforms of the coordinates alone, of points that have features as well."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ddeq_data.measures.padding import check_shapes, clean
from ddeq_data.measures.transform import Transform
from ddeq_data.transforms.base import is_random

__all__ = ["OnCoordinates"]


@dataclass(frozen=True)
class OnCoordinates:
    """Apply a transform to the coordinates and leave the features behind them as they are.

    A rotation must not turn a colour into a place, nor a scale make an intensity larger. (Normals
    turn with the points: those are better computed afterwards, or left out.)

    Attributes:
        transform: One that keeps the points in their order: `RandomSample`, which takes some, acts
            on coordinates and features together and needs no wrapper.
        features: How many columns, the last ones, are features.

    Raises:
        ValueError: If there are no features.
    """

    transform: Transform
    features: int

    def __post_init__(self) -> None:
        if self.features < 1:
            raise ValueError(f"features must be at least 1, got {self.features}")

    @property
    def random(self) -> bool:
        """Whether the transform draws, and a generator is needed."""
        return is_random(self.transform)

    def __call__(
        self, points: Tensor, weights: Tensor, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Transform each measure.

        Args:
            points: (..., n, d + features) floating.
            weights: (..., n), 0 in padding.
            generator: Source of chance, handed to the transform.

        Returns:
            Points (..., n, d + features), 0 in padding, and weights (..., n).

        Raises:
            ValueError: If there are no coordinates, or the transform changes the number of points.
        """
        check_shapes(points, weights)
        count = points.shape[-1] - self.features
        if count < 1:
            raise ValueError(
                f"points of {points.shape[-1]} columns, {self.features} of them features, have no "
                "coordinates"
            )
        moved, masses = self.transform(points[..., :count], weights, generator)
        if masses.shape != weights.shape:
            raise ValueError(f"{self.transform} takes some points of all; apply it without wrapper")
        features = points[..., count:].to(moved.dtype)
        return clean(torch.cat([moved, features], -1), masses), masses
