"""What all transforms share, and those that draw."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from ddeq_data.measures.padding import check_shapes
from ddeq_data.measures.transform import Transform

__all__ = ["RandomTransform", "Transform", "is_random"]


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
            Points (..., m, d) and weights (..., m); m is n but for transforms that resample. Rows
            of weight 0 hold the point 0.

        Raises:
            ValueError: If there is no generator, or the shapes do not fit.
        """
        check_shapes(points, weights)
        return self.draw(points, weights, seeds_for(self, points, generator))

    @abstractmethod
    def draw(self, points: Tensor, weights: Tensor, seeds: Tensor) -> tuple[Tensor, Tensor]:
        """Transform (..., n, d) and (..., n) by the draws that belong to `seeds` (...,)."""


def seeds_for(transform: Transform, points: Tensor, generator: torch.Generator | None) -> Tensor:
    """Draw one 64-bit seed for each measure of (..., n, d), on the device of `points`.

    Raises:
        ValueError: If there is no generator, naming the transform.
    """
    if generator is None:
        raise ValueError(
            f"{transform} is random and needs a torch.Generator: call "
            "transform(points, weights, generator), or batch.map(transform, generator)"
        )
    return draw_seeds(points.shape[:-2], generator).to(points.device)


def draw_seeds(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Draw 64-bit seeds of a shape, on the device of the generator."""
    seeds = torch.empty(shape, dtype=torch.int64, device=generator.device)
    return seeds.random_(-(2**63), None, generator=generator)


def is_random(transform: Transform) -> bool:
    """Whether a transform says, by an attribute `random`, that it needs a generator."""
    return bool(getattr(transform, "random", False))


def largest(values: Tensor) -> Tensor:
    """Return the largest of (..., n, 1) values >= 0 as (..., 1, 1); 0 for none."""
    return torch.cat([values, values.new_zeros(*values.shape[:-2], 1, 1)], -2).amax(-2, True)


def unit_of(points: Tensor) -> Tensor:
    """Return a power of two near the largest coordinate of each cloud, (..., 1, 1).

    In this unit no square overflows or vanishes, and the division loses no bit.

    Args:
        points: (..., n, d), 0 in padding.
    """
    top = largest(points.abs().amax(-1, keepdim=True))
    top = torch.where(top > 0, top, 1.0)
    return top / (2 * torch.frexp(top).mantissa)
