"""One centre and one scale for all clouds of a set."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ddeq_data.measures.padding import check_shapes, clean

__all__ = ["Frame"]


@dataclass(frozen=True)
class Frame:
    """Move and scale all clouds alike: ``x <- (x - centre) / scale``.

    Where clouds are, how large they are, and the proportions of their axes are kept, which a
    normalisation of each cloud by itself takes away. `ddeq_data.fit_frame` finds the frame of a
    data set. Computed in the precision of the points: convert to float32 afterwards.

    Attributes:
        centre: Of the first ``len(centre)`` columns; those behind them, features, are left alone.
        scale: The same for all axes.

    Raises:
        ValueError: If there is no coordinate, the scale is not positive, or one is not finite.
    """

    centre: tuple[float, ...]
    scale: float

    def __post_init__(self) -> None:
        if not self.centre or not all(map(math.isfinite, self.centre)):
            raise ValueError(f"centre must be finite and of at least one axis, got {self.centre}")
        if not 0 < self.scale < math.inf:
            raise ValueError(f"scale must be finite and above 0, got {self.scale}")

    def __call__(
        self, points: Tensor, weights: Tensor, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Transform each measure.

        Args:
            points: (..., n, d) floating, d at least the length of `centre`.
            weights: (..., n), 0 in padding.
            generator: Not used.

        Returns:
            Points, 0 in padding, and the weights as they were.

        Raises:
            ValueError: If the shapes do not fit.
        """
        check_shapes(points, weights)
        count = len(self.centre)
        if points.shape[-1] < count:
            raise ValueError(
                f"the frame has {count} coordinates, these points have {points.shape[-1]} columns"
            )
        moved = (points[..., :count] - points.new_tensor(self.centre)) / self.scale
        return clean(torch.cat([moved, points[..., count:]], -1), weights), weights
