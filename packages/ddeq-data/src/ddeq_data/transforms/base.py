"""What a transform is, and what all of them share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Protocol

import torch
from torch import Tensor

__all__ = ["RandomTransform", "Transform", "is_random"]


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
            Points and weights of the same shapes. Rows of weight 0 hold the point 0.
        """
        ...


class RandomTransform(ABC):
    """Base of the transforms that draw. Each measure of a batch gets draws of its own.

    From the generator comes one 64-bit seed per measure; all else is looked up by counters, the
    points being counted without padding. So what happens to a cloud depends on its own seed only:
    not on padding, on the sizes of the other clouds, or on the device.
    """

    random: ClassVar[bool] = True

    def __call__(
        self, points: Tensor, weights: Tensor, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Transform each measure of a batch by its own draw.

        Args:
            points: (..., n, d) floating.
            weights: (..., n), 0 in padding.
            generator: Source of the draw, on any device.

        Returns:
            Points and weights of the same shapes. Rows of weight 0 hold the point 0.

        Raises:
            ValueError: If there is no generator, or the shapes do not fit.
        """
        check(points, weights)
        if generator is None:
            raise ValueError(
                f"{self} is random and needs a torch.Generator: call "
                "transform(points, weights, generator), or batch.map(transform, generator)"
            )
        seeds = torch.empty(points.shape[:-2], dtype=torch.int64, device=generator.device)
        seeds.random_(-(2**63), None, generator=generator)
        return self.draw(points, weights, seeds.to(points.device))

    @abstractmethod
    def draw(self, points: Tensor, weights: Tensor, seeds: Tensor) -> tuple[Tensor, Tensor]:
        """Transform (..., n, d) and (..., n) by the draws that belong to `seeds` (...,)."""


def is_random(transform: Transform) -> bool:
    """Whether a transform says, by an attribute `random`, that it needs a generator."""
    return bool(getattr(transform, "random", False))


def check(points: Tensor, weights: Tensor) -> None:
    """Check that points are (..., n, d) and weights (..., n).

    Raises:
        ValueError: Naming what was expected and what came.
    """
    if points.ndim < 2 or not points.is_floating_point():
        raise ValueError(
            "points must be floating of shape (..., n, d), "
            f"got {points.dtype} of shape {tuple(points.shape)}"
        )
    if weights.shape != points.shape[:-1]:
        raise ValueError(
            f"weights must have shape {tuple(points.shape[:-1])} like the points, "
            f"got {tuple(weights.shape)}"
        )


def clean(points: Tensor, weights: Tensor) -> Tensor:
    """Put 0 in the padded rows, whatever stood there; no gradient flows to them."""
    return torch.where((weights > 0)[..., None], points, 0.0)
