"""Random affine maps: one for each cloud, about the origin."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ddeq_data.counters import normal, uniform
from ddeq_data.measures.padding import clean
from ddeq_data.transforms.base import RandomTransform

__all__ = ["RandomRotation", "RandomScale", "RandomShear", "RandomShift"]


@dataclass(frozen=True)
class RandomRotation(RandomTransform):
    """Rotate each cloud about the origin by an angle uniform in [-degrees, degrees].

    Points have dimension 2 or 3. In 3 dimensions the rotation is about a coordinate axis, or with
    `axis=None` about an axis drawn uniformly from the sphere (which, even for 180 degrees, is not
    the uniform distribution on rotations). To turn a cloud about its mean, normalise it first.

    Attributes:
        degrees: Largest angle, in 0..180.
        axis: 0, 1 or 2, or None.

    Raises:
        ValueError: If an attribute is out of range, or the dimension of points is not fit.
    """

    degrees: float
    axis: int | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.degrees <= 180:
            raise ValueError(f"degrees must be in 0..180, got {self.degrees}")
        if self.axis not in (None, 0, 1, 2):
            raise ValueError(f"axis must be 0, 1, 2 or None, got {self.axis!r}")

    def draw(self, points: Tensor, weights: Tensor, seeds: Tensor) -> tuple[Tensor, Tensor]:
        """Rotate (..., n, d) by the draws that belong to `seeds` (...,)."""
        dim = points.shape[-1]
        if dim not in (2, 3) or (dim == 2 and self.axis is not None):
            raise ValueError(
                "RandomRotation turns points of dimension 3, or of dimension 2 with axis=None; "
                f"got dimension {dim} and axis={self.axis}"
            )
        counter = torch.arange(4, device=points.device)
        angle = math.radians(self.degrees) * _symmetric(seeds, counter[0], points.dtype)
        if dim == 2:
            cos, sin = angle.cos(), angle.sin()
            matrix = torch.stack([cos, -sin, sin, cos], -1).reshape(*angle.shape, 2, 2)
        elif self.axis is not None:
            unit = torch.eye(3, dtype=points.dtype, device=points.device)[self.axis]
            matrix = _about(unit.expand(*angle.shape, 3), angle)
        else:
            direction = normal(seeds[..., None], counter[1:], points.dtype)
            matrix = _about(torch.nn.functional.normalize(direction, dim=-1), angle)
        return clean(points, weights) @ matrix.mT, weights


@dataclass(frozen=True)
class RandomScale(RandomTransform):
    """Multiply each cloud by a factor uniform in [low, high], or each of its axes by its own.

    Attributes:
        low: Smallest factor, positive.
        high: Largest factor.
        per_axis: Draw a factor for each axis of each cloud.

    Raises:
        ValueError: If not 0 < low <= high.
    """

    low: float
    high: float
    per_axis: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.low <= self.high < math.inf:
            raise ValueError(f"expected 0 < low <= high, got low={self.low}, high={self.high}")

    def draw(self, points: Tensor, weights: Tensor, seeds: Tensor) -> tuple[Tensor, Tensor]:
        """Scale (..., n, d) by the draws that belong to `seeds` (...,)."""
        axes = torch.arange(points.shape[-1] if self.per_axis else 1, device=points.device)
        share = uniform(seeds[..., None], axes, points.dtype)
        factor = self.low + (self.high - self.low) * share
        return clean(points, weights) * factor[..., None, :], weights


@dataclass(frozen=True)
class RandomShear(RandomTransform):
    """Multiply each cloud by a matrix of ones on the diagonal and small entries elsewhere.

    The entries off the diagonal are uniform in [-limit, limit].

    Attributes:
        limit: Largest entry off the diagonal.

    Raises:
        ValueError: If `limit` is negative or not finite.
    """

    limit: float

    def __post_init__(self) -> None:
        _check_limit("limit", self.limit)

    def draw(self, points: Tensor, weights: Tensor, seeds: Tensor) -> tuple[Tensor, Tensor]:
        """Shear (..., n, d) by the draws that belong to `seeds` (...,)."""
        dim = points.shape[-1]
        counter = torch.arange(dim * dim, device=points.device).reshape(dim, dim)
        entries = self.limit * _symmetric(seeds[..., None, None], counter, points.dtype)
        identity = torch.eye(dim, dtype=points.dtype, device=points.device)
        matrix = identity + entries * (1 - identity)
        return clean(points, weights) @ matrix.mT, weights


@dataclass(frozen=True)
class RandomShift(RandomTransform):
    """Move each cloud by a vector whose components are uniform in [-limit, limit].

    Attributes:
        limit: Largest component.

    Raises:
        ValueError: If `limit` is negative or not finite.
    """

    limit: float

    def __post_init__(self) -> None:
        _check_limit("limit", self.limit)

    def draw(self, points: Tensor, weights: Tensor, seeds: Tensor) -> tuple[Tensor, Tensor]:
        """Shift (..., n, d) by the draws that belong to `seeds` (...,)."""
        axes = torch.arange(points.shape[-1], device=points.device)
        shift = self.limit * _symmetric(seeds[..., None], axes, points.dtype)
        return clean(points + shift[..., None, :], weights), weights


def _symmetric(seeds: Tensor, counter: Tensor, dtype: torch.dtype) -> Tensor:
    # Uniform on [-1, 1).
    return 2 * uniform(seeds, counter, dtype) - 1


def _check_limit(name: str, value: float) -> None:
    if not 0 <= value < math.inf:
        raise ValueError(f"{name} must be finite and at least 0, got {value}")


def _about(unit: Tensor, angle: Tensor) -> Tensor:
    # Rotation by angle (...) about unit (..., 3); Rodrigues' formula I + sin K + (1 - cos) K^2.
    x, y, z = unit.unbind(-1)
    zero = torch.zeros_like(x)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1)
    cross = cross.reshape(*angle.shape, 3, 3)
    sin, cos = angle.sin()[..., None, None], angle.cos()[..., None, None]
    identity = torch.eye(3, dtype=unit.dtype, device=unit.device)
    return identity + sin * cross + (1 - cos) * (cross @ cross)
