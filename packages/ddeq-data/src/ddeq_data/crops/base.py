"""Protocols of point-cloud completion: named rules that cut clouds into what is seen and the rest.

Each is a frozen dataclass whose `repr` tells all there is to it, so that no two are mixed up. What
happens to a cloud is a function of the cloud and of one 64-bit seed: not of the other clouds of
its batch, of padding, or of the order of its points.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from ddeq_data.counters import mix, normal, stream
from ddeq_data.measures.batch import PointBatch
from ddeq_data.measures.masses import cumulated, exact, masses
from ddeq_data.transforms.base import clean
from ddeq_data.transforms.normalise import UnitSphere, ZScore

__all__ = [
    "Completion",
    "Crop",
    "DDEQsCrop",
    "HalfSpaceCrop",
    "UniformCrop",
    "ViewpointCrop",
]

# Fractions are counted in millionths: the products of these integers with masses fit into 64 bits.
_FRACTION = 10**6
# Lengths (in units of the cloud's radius) that agree to this many bits count as equal: on grids
# of pixels many do, and rounding must not decide between them.
_LENGTH = 2.0**30
_LAST = torch.iinfo(torch.int64).max
# What a cloud's seed is mixed with, for draws that are independent of each other.
_DIRECTION, _SHARE, _ORDER, _CENTRE = range(4)


@dataclass(frozen=True, eq=False)
class Completion:
    """Clouds cut in two: what is seen, and what is to be found.

    Row i of `visible` and row i of `missing` belong to row i of the batch that was cut: each of
    its points is in exactly one of them, and is padding (weight 0, point 0) in the other. The
    weights of either part sum to 1; `share` of the mass is missing, so that the whole cloud is
    (1 - share) visible + share missing. Both keep the labels. `PointBatch.compact` leaves out the
    padding.

    Attributes:
        visible: The part that is seen; it has points wherever the cloud has any.
        missing: The part that was taken away. Without points (weights that are all 0) where the
            protocol cannot divide a cloud, above all where this is empty or a single place.
        share: (B,) the mass of the cloud that is missing, in 0..1 (1 excluded).
        seeds: (B,) int64, by which `Crop.repeat` makes this again.
    """

    visible: PointBatch
    missing: PointBatch
    share: Tensor
    seeds: Tensor

    def __len__(self) -> int:
        return len(self.seeds)

    def to(
        self,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        non_blocking: bool = False,
    ) -> Completion:
        """Return it on `device`, points, weights and shares in `dtype`; seeds remain int64."""
        return Completion(
            self.visible.to(device, dtype, non_blocking=non_blocking),
            self.missing.to(device, dtype, non_blocking=non_blocking),
            self.share.to(device=device, dtype=dtype, non_blocking=non_blocking),
            self.seeds.to(device=device, non_blocking=non_blocking),
        )


class Crop(ABC):
    """Base of the protocols: `crop(batch, generator)`, and again `crop.repeat(batch, seeds)`."""

    def __call__(self, batch: PointBatch, generator: torch.Generator) -> Completion:
        """Cut each cloud in two, by a seed of its own.

        Args:
            batch: The clouds, on any device.
            generator: Source of the seeds, on any device: B numbers are drawn from it.
        """
        seeds = torch.empty(len(batch), dtype=torch.int64, device=generator.device)
        seeds.random_(-(2**63), None, generator=generator)
        return self.repeat(batch, seeds)

    def repeat(self, batch: PointBatch, seeds: Tensor) -> Completion:
        """Cut each cloud by the seed that is given.

        Args:
            batch: The clouds.
            seeds: (B,) int64, one for each cloud, such as the `seeds` of a `Completion`.

        Raises:
            ValueError: If the seeds do not fit the batch.
        """
        if seeds.shape != batch.labels.shape or seeds.dtype != torch.int64:
            raise ValueError(
                f"seeds must be torch.int64 of shape {tuple(batch.labels.shape)}, one for each "
                f"cloud, got {seeds.dtype} of shape {tuple(seeds.shape)}"
            )
        seeds = seeds.to(batch.points.device)
        inside = clean(batch.points.detach(), batch.weights)
        # Exact, so that the rounding of a mean, which depends on padding and on the order of
        # points, decides nothing.
        taken = batch.mask
        if taken.numel():
            taken = taken & self.missing(exact(inside), exact(batch.weights), seeds)
        total = batch.weights.sum(-1)
        lost = torch.where(taken, batch.weights, 0.0).sum(-1)
        return Completion(
            _part(batch, ~taken),
            _part(batch, taken),
            lost / torch.where(total > 0, total, 1.0),
            seeds,
        )

    @abstractmethod
    def missing(self, points: Tensor, weights: Tensor, seeds: Tensor) -> Tensor:
        """Say which points are taken away, by the draws that belong to `seeds`.

        Args:
            points: (B, n, d), 0 in padding.
            weights: (B, n), 0 in padding.
            seeds: (B,) int64.

        Returns:
            (B, n) bool, of no meaning in padding; never all the points of a cloud.
        """


@dataclass(frozen=True)
class DDEQsCrop(Crop):
    """Balls around points of the cloud are missing: the protocol of the DDEQ paper.

    The centres are drawn one after another from the points that are still visible, each with the
    probability of its weight; all points at a distance up to `radius` of one are missing. Distances
    are those between z-scored points (`ZScore`), whatever the units of the batch. A ball that would
    leave nothing visible is not taken away.

    Source: J. Geuter, C. Bonet, A. Korba and D. Alvarez-Melis, "DDEQs: Distributional Deep
    Equilibrium Models through Wasserstein Gradient Flows", arXiv 2503.01140.

    Attributes:
        radius: Of the balls, positive.
        balls: Number of balls, at least 1.

    Raises:
        ValueError: If an attribute is out of range.
    """

    radius: float = 0.6
    balls: int = 2

    def __post_init__(self) -> None:
        if not 0 < self.radius < math.inf or self.balls < 1:
            raise ValueError(
                "expected a finite radius above 0 and at least 1 ball, "
                f"got radius={self.radius} and balls={self.balls}"
            )

    def missing(self, points: Tensor, weights: Tensor, seeds: Tensor) -> Tensor:
        """Say which of (B, n, d) are in one of the balls: (B, n)."""
        scaled, _ = ZScore()(points, weights)
        order = _scattered(points, seeds).argsort(-1)  # the same for any order of the points
        visible, mass, own = weights > 0, masses(weights), stream(seeds, _CENTRE)
        for ball in range(self.balls):
            drawn = stream(own, ball)
            centre = _atom(torch.where(visible, mass, 0), order, drawn)
            apart = scaled - scaled.take_along_dim(centre[:, None, None], 1)
            outside = visible & (_norm(apart) > self.radius)
            visible = torch.where(outside.any(-1, keepdim=True), outside, visible)
        return ~visible


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
        drawn = stream(seeds, _SHARE)
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
        direction = _direction(seeds, points.shape[-1], points.dtype)
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
            viewpoint = _direction(seeds, dim, points.dtype)
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
        return _scattered(points, seeds)


def _part(batch: PointBatch, chosen: Tensor) -> PointBatch:
    weights = torch.where(chosen, batch.weights, 0.0)
    total = weights.sum(-1, keepdim=True)
    weights = weights / torch.where(total > 0, total, 1.0)
    return PointBatch(clean(batch.points, weights), weights, batch.labels)


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


def _atom(mass: Tensor, order: Tensor, drawn: Tensor) -> Tensor:
    # (B,) the index of one point, drawn with the probability of its mass from 64 random bits.
    total = cumulated(mass, order)[:, 1:].contiguous()
    below = torch.remainder(drawn, total[:, -1].clamp(min=1))
    place = torch.searchsorted(total, below[:, None], right=True).clamp(max=mass.shape[-1] - 1)
    return order.gather(-1, place)[:, 0]


def _scattered(points: Tensor, seeds: Tensor) -> Tensor:
    # (B, n) random numbers >= 0 for the places of points, looked up by their coordinates.
    bits = stream(seeds, _ORDER)[:, None]
    number = torch.int64 if points.dtype == torch.float64 else torch.int32
    for axis in range(points.shape[-1]):
        # Adding 0 turns -0 into 0, which is the same place.
        own = (points[..., axis] + 0.0).contiguous().view(number).to(torch.int64)
        bits = mix(bits, own)
    return bits.expand(points.shape[:-1]) & (_LAST >> 1)


def _direction(seeds: Tensor, dim: int, dtype: torch.dtype) -> Tensor:
    # (B, d) uniform on the sphere.
    own = stream(seeds, _DIRECTION)[:, None]
    axes = torch.arange(dim, device=seeds.device)
    return torch.nn.functional.normalize(normal(own, axes, dtype), dim=-1)


def _dot(first: Tensor, second: Tensor) -> Tensor:
    return (first * second).sum(-1)


def _norm(points: Tensor) -> Tensor:
    return points.square().sum(-1).sqrt()
