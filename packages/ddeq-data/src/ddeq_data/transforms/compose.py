"""Transforms one after another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ddeq_data.measures.transform import Transform, with_labels
from ddeq_data.transforms.base import is_random

__all__ = ["Compose"]


@dataclass(frozen=True)
class Compose:
    """Apply transforms one after another; with none, return the measure as it is.

    Attributes:
        transforms: The transforms, the first applied first; kept as a tuple.

    Raises:
        TypeError: If one of them cannot be called.
    """

    transforms: Sequence[Transform]

    def __post_init__(self) -> None:
        object.__setattr__(self, "transforms", tuple(self.transforms))
        for transform in self.transforms:
            if not callable(transform):
                raise TypeError(f"a transform must be callable, got {transform!r}")

    @property
    def random(self) -> bool:
        """Whether one of the transforms draws, and a generator is needed."""
        return any(is_random(transform) for transform in self.transforms)

    def __call__(
        self, points: Tensor, weights: Tensor, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Transform each measure.

        Args:
            points: (..., n, d) floating.
            weights: (..., n), 0 in padding.
            generator: Source of chance, handed to each transform in turn.

        Returns:
            What the last transform returns.
        """
        for transform in self.transforms:
            points, weights = transform(points, weights, generator)
        return points, weights

    def with_labels(
        self,
        points: Tensor,
        weights: Tensor,
        labels: Tensor,
        generator: torch.Generator | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Transform measures of points that have a label each; see `Transform`."""
        for transform in self.transforms:
            points, weights, labels = with_labels(transform, points, weights, labels, generator)
        return points, weights, labels
