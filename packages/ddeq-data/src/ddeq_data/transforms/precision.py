"""From the precision of files to that of models."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ddeq_data.measures.padding import check_shapes, clean, coordinates_of

__all__ = ["ToFloat32"]


@dataclass(frozen=True)
class ToFloat32:
    """Points and weights in float32.

    A cloud comes in float64 where float32 would move its points: far from the origin, as in
    geographic coordinates. With `centre` its mean is taken off in float64, so that what is
    normalised afterwards does not depend on where the cloud was. Points in float32 remain as they
    are, and whether clouds come in float32 depends on the others of their split: so it belongs
    ahead of a transform that centres all of them, as `ZScore` and `UnitSphere` do.

    Attributes:
        centre: Whether points in float64 are centred; else they are rounded where they are.
        features: How many columns, the last ones, are no coordinates and only rounded.

    Raises:
        ValueError: If `features` is negative, or (when called) leaves no coordinates.
    """

    centre: bool = False
    features: int = 0

    def __post_init__(self) -> None:
        if self.features < 0:
            raise ValueError(f"features must be at least 0, got {self.features}")

    def __call__(
        self, points: Tensor, weights: Tensor, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Convert each measure.

        Args:
            points: (..., n, d) floating.
            weights: (..., n), 0 in padding.
            generator: Not used.

        Returns:
            Points and weights in float32, points 0 in padding.

        Raises:
            ValueError: If the shapes do not fit.
        """
        check_shapes(points, weights)
        moved = clean(points, weights)
        if points.dtype == torch.float64 and self.centre:
            total = weights.sum(-1, keepdim=True)
            share = (weights / torch.where(total > 0, total, 1.0))[..., None]
            count = coordinates_of(points, self.features)
            places, features = moved[..., :count], moved[..., count:]
            # The second pass removes the rounding of the first.
            for _ in range(2):
                places = clean(places - (share * places).sum(-2, keepdim=True), weights)
            moved = torch.cat([places, features], -1)
        return moved.to(torch.float32), weights.to(torch.float32)
