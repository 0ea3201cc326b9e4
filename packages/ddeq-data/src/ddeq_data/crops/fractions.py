"""A fraction of the mass is missing: that which comes first in some order of the points."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from ddeq_data.counters import stream
from ddeq_data.crops.base import Crop
from ddeq_data.crops.draws import SHARE, directions, place_keys
from ddeq_data.measures.masses import cumulated, masses
from ddeq_data.transforms.normalise import UnitSphere

__all__ = ["HalfSpaceCrop", "UniformCrop", "ViewpointCrop"]

# Fractions are counted in millionths: the products of these integers with masses fit into 64 bits.
_FRACTION = 10**6
# Lengths (in units of the cloud's radius) that agree to this many bits count as equal: on grids
# of pixels many do, and rounding must not decide between them.
_LENGTH = 2.0**30
_LAST = torch.iinfo(torch.int64).max


@dataclass(frozen=True)
class _Fraction(Crop):
    # What the crops of a fraction share; `keys` says in which order points are taken away.
    fraction: float | tuple[float, float]

    def __post_init__(self) -> None:
        if isinstance(self.fraction, list):  # as it comes from a JSON or TOML file
            object.__setattr__(self, "fraction", tuple(self.fraction))
        low, high = self._range()
        if not 0 < low <= high < 1:
            raise ValueError(
                "fraction must be above 0 and below 1, or a pair of such numbers that rises, "
                f"got {self.fraction!r}"
            )

    def _range(self) -> tuple[float, float]:
        return self.fraction if isinstance(self.fraction, tuple) else (self.fraction,) * 2

    @abstractmethod
    def keys(self, points: Tensor, weights: Tensor, seeds: Tensor) -> Tensor:
        """Return (B, n) int64: the points of the least are taken away first."""

    def missing(self, points: Tensor, weights: Tensor, seeds: Tensor) -> Tensor:
        """Say which of (B, n, d) are among the first `fraction` of the mass: (B, n)."""
        low, high = (round(_FRACTION * bound) for bound in self._range())
        drawn = stream(seeds, SHARE)
        part = low + torch.remainder(drawn, high - low + 1)
        return _first(self.keys(points, weights, seeds), weights, part)


@dataclass(frozen=True)
class HalfSpaceCrop(_Fraction):
    """A half-space is missing: the points farthest in a direction uniform on the sphere.

    Attributes:
        fraction: Of the mass of the cloud, missing: rounded to whole points, those equally far
            taken together; at least one point, and never all. Or a pair (low, high): then each
            cloud draws its own, uniform between them.

    Raises:
        ValueError: If a fraction is not in 0..1 (both excluded), or a pair falls.
    """

    fraction: float | tuple[float, float] = 0.5

    def keys(self, points: Tensor, weights: Tensor, seeds: Tensor) -> Tensor:
        """Return (B, n) int64: how far against the direction."""
        scaled, _ = UnitSphere()(points, weights)
        direction = directions(seeds, points.shape[-1], points.dtype)
        return (-_dot(scaled, direction[:, None]) * _LENGTH).round().to(torch.int64)


@dataclass(frozen=True)
class ViewpointCrop(_Fraction):
    """The points nearest to a viewpoint are missing: the protocol of PoinTr.

    The viewpoint is drawn uniformly from the sphere around the cloud, in the units of `UnitSphere`,
    whatever those of the batch; or it is one of the 2^d corners (1 or -1 on each axis), fixed for
    tests. PoinTr trains with `ViewpointCrop((0.25, 0.75))` and tests with `ViewpointCrop(f, k)` for
    all corners k in 0..7 and f = 0.25 ("easy"), 0.5 ("median") and 0.75 ("hard").

    Source: X. Yu, Y. Rao, Z. Wang, Z. Liu, J. Lu and J. Zhou, "PoinTr: Diverse point cloud
    completion with geometry-aware transformers", ICCV 2021.

    Attributes:
        fraction: Of the mass of the cloud, missing: rounded to whole points, those equally near
            taken together; at least one point, and never all. Or a pair (low, high): then each
            cloud draws its own, uniform between them.
        corner: None, or the number of a corner: bit a of it is set where axis a has -1.

    Raises:
        ValueError: If a fraction is not in 0..1 (both excluded), a pair falls, or there is no such
            corner.
    """

    fraction: float | tuple[float, float] = 0.5
    corner: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.corner is not None and self.corner < 0:
            raise ValueError(f"corner must be None or at least 0, got {self.corner}")

    def keys(self, points: Tensor, weights: Tensor, seeds: Tensor) -> Tensor:
        """Return (B, n) int64: the distances from the viewpoint."""
        scaled, _ = UnitSphere()(points, weights)
        dim = points.shape[-1]
        if self.corner is None:
            viewpoint = directions(seeds, dim, points.dtype)
        elif self.corner < 2**dim:
            signs = [1.0 - 2 * (self.corner >> axis & 1) for axis in range(dim)]
            viewpoint = points.new_tensor(signs).expand(len(seeds), dim)
        else:
            raise ValueError(
                f"in dimension {dim} there are the corners 0..{2**dim - 1}, got {self.corner}"
            )
        return (_norm(scaled - viewpoint[:, None]) * _LENGTH).round().to(torch.int64)


@dataclass(frozen=True)
class UniformCrop(_Fraction):
    """Points drawn without replacement are missing, those at one place together.

    Attributes:
        fraction: Of the mass of the cloud, missing: rounded to whole points; at least one point,
            and never all. Or a pair (low, high): then each cloud draws its own, uniform between
            them.

    Raises:
        ValueError: If a fraction is not in 0..1 (both excluded), or a pair falls.
    """

    fraction: float | tuple[float, float] = 0.5

    def keys(self, points: Tensor, weights: Tensor, seeds: Tensor) -> Tensor:
        """Return (B, n) int64: random numbers, one for each place."""
        return place_keys(points, seeds)


def _first(keys: Tensor, weights: Tensor, part: Tensor) -> Tensor:
    # The points of the least keys that hold `part` (B,) millionths of the mass. A point is in it
    # if the middle of its mass is: for n points of one weight, the first n * part, rounded. Points
    # of one key are one: so a doubled weight is a duplicated point.
    inside = weights > 0
    keys = torch.where(inside, keys, _LAST)
    ordered, order = keys.sort(-1)
    mass = cumulated(masses(weights), order)
    below = mass.gather(-1, torch.searchsorted(ordered, keys))
    upto = mass.gather(-1, torch.searchsorted(ordered, keys, right=True))
    rounding = 2 * inside.sum(-1, keepdim=True)  # a unit for each mass, twice
    limit = 2 * part[:, None] * mass[:, -1:] + rounding * _FRACTION
    largest = torch.where(inside, keys, -_LAST).amax(-1, keepdim=True)
    least = ordered[:, :1]
    return ((keys == least) | ((below + upto) * _FRACTION <= limit)) & (keys < largest)


def _dot(first: Tensor, second: Tensor) -> Tensor:
    return (first * second).sum(-1)


def _norm(points: Tensor) -> Tensor:
    return points.square().sum(-1).sqrt()
