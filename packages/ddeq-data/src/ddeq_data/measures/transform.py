"""What maps a measure to another one."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

__all__ = ["NO_LABEL", "Transform", "with_labels"]

NO_LABEL = -1
"""The label of padding, in whose place no point is."""


class Transform(Protocol):
    """A map of measures: `transform(points, weights, generator) -> (points, weights)`.

    One that puts points into other rows has a method `with_labels(points, weights, labels,
    generator) -> (points, weights, labels)` beside it, by which a label of each point follows.
    """

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


def with_labels(
    transform: Transform,
    points: Tensor,
    weights: Tensor,
    labels: Tensor,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Transform measures of points that have a label each; the same points as without.

    Args:
        transform: The transform.
        points: (..., n, d) floating.
        weights: (..., n), 0 in padding.
        labels: (..., n) int64.
        generator: Source of chance.

    Returns:
        Points (..., m, d), weights (..., m) and labels (..., m), -1 in padding.

    Raises:
        ValueError: If the transform takes some points of all and does not say which.
    """
    follow = getattr(transform, "with_labels", None)
    if follow is not None:
        points, masses, labels = follow(points, weights, labels, generator)
    else:
        points, masses = transform(points, weights, generator)
        if masses.shape != weights.shape:
            raise ValueError(
                f"{transform} takes some points of all and has no method with_labels, so that "
                "labels and features of the points cannot follow; give it one, or leave it out"
            )
    return points, masses, torch.where(masses > 0, labels, NO_LABEL)
