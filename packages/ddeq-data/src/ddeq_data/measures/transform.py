"""What maps a measure to another one."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

__all__ = ["Transform"]


class Transform(Protocol):
    """A map of measures: `transform(points, weights, generator) -> (points, weights)`."""

    def __call__(
        self, points: Tensor, weights: Tensor, generator: torch.Generator | None = None, /
    ) -> tuple[Tensor, Tensor]:
        """Transform each measure of a batch by itself.

        Args:
            points: (..., n, d) floating.
            weights: (..., n), 0 in padding.
            generator: Source of chance; ignored by transforms that need none.

        Returns:
            Points (..., m, d) and weights (..., m); m is n but for transforms that resample. Rows
            of weight 0 hold the point 0.
        """
        ...
