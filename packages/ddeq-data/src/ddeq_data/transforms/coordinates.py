"""Transforms of the coordinates alone, of points that have features as well."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ddeq_data.measures.padding import check_shapes, clean, coordinates_of
from ddeq_data.measures.transform import NO_LABEL, Transform, with_labels
from ddeq_data.transforms.base import is_random

__all__ = ["OnCoordinates"]


@dataclass(frozen=True)
class OnCoordinates:
    """Apply a transform to the coordinates and leave the features behind them as they are.

    A rotation must not turn a colour into a place, nor a scale make an intensity larger. (Normals
    turn with the points: those are better computed afterwards, or left out.)

    Attributes:
        transform: Any. Features go where their points go: one that puts points into other rows
            says so by its method ``with_labels``, as `RandomSample` does.
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
            Points (..., m, d + features), 0 in padding, and weights (..., m).

        Raises:
            ValueError: If there are no coordinates, or the transform takes some points of all and
                does not say which.
        """
        points, masses, _ = self._moved(points, weights, generator)
        return points, masses

    def with_labels(
        self,
        points: Tensor,
        weights: Tensor,
        labels: Tensor,
        generator: torch.Generator | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Transform the same, and the labels of the points (..., m); see `Transform`."""
        points, masses, rows = self._moved(points, weights, generator)
        return points, masses, _taken(labels[..., None], rows, NO_LABEL)[..., 0]

    def _moved(
        self, points: Tensor, weights: Tensor, generator: torch.Generator | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        # Points, weights, and from which row each point comes, -1 in padding.
        check_shapes(points, weights)
        places = points[..., : coordinates_of(points, self.features)]
        rows = torch.arange(weights.shape[-1], device=weights.device).expand(weights.shape)
        moved, masses, rows = with_labels(self.transform, places, weights, rows, generator)
        features = _taken(points[..., places.shape[-1] :], rows, 0).to(moved.dtype)
        return clean(torch.cat([moved, features], -1), masses), masses, rows


def _taken(of_points: Tensor, rows: Tensor, padding: int) -> Tensor:
    # (..., m, k) of (..., n, k), by rows (..., m); `padding` where these are -1.
    if not of_points.shape[-2]:  # then all is padding
        return of_points.new_full((*rows.shape, of_points.shape[-1]), padding)
    taken = of_points.take_along_dim(rows.clamp(min=0)[..., None], -2)
    return torch.where((rows >= 0)[..., None], taken, padding)
