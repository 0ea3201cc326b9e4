"""Clouds of a given number of points."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ddeq_data.counters import mix
from ddeq_data.measures.masses import cumulated, exact, masses
from ddeq_data.measures.padding import check_shapes, clean, coordinates_of
from ddeq_data.measures.transform import NO_LABEL
from ddeq_data.transforms.base import RandomTransform, seeds_for, unit_of

__all__ = ["FarthestSample", "RandomSample", "farthest_points"]

_LARGEST = 2**22
# Squared distances that differ by so small a part of them count as equal.
_ROUNDING = 2.0**-12


@dataclass(frozen=True)
class RandomSample(RandomTransform):
    """Draw `count` points from each cloud, without replacement as far as there are enough.

    Systematic sampling in a random order: a point of weight w comes `count` w times on average,
    rounded up or down. So from points of one weight it draws without replacement, or repeats each
    about equally often where they are too few; and a point of a large weight comes several times.
    All points drawn weigh the same. A cloud without points remains so: `count` rows of padding.

    Attributes:
        count: Number of points m, in 1..4194304.

    Raises:
        ValueError: If `count` is out of range.
    """

    count: int

    def __post_init__(self) -> None:
        _check_count(self.count)

    def draw(self, points: Tensor, weights: Tensor, seeds: Tensor) -> tuple[Tensor, Tensor]:
        """Draw (..., m, d) from (..., n, d) by the draws that belong to `seeds` (...,)."""
        points, weights = _not_empty(points, weights)
        chosen, mass = self._choose(weights, seeds)
        return clean(points.take_along_dim(chosen[..., None], -2), mass), mass

    def with_labels(
        self,
        points: Tensor,
        weights: Tensor,
        labels: Tensor,
        generator: torch.Generator | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Draw the same points, and their labels (..., m); see `Transform`."""
        check_shapes(points, weights)
        seeds = seeds_for(self, points, generator)
        points, weights = _not_empty(points, weights)
        chosen, mass = self._choose(weights, seeds)
        taken = clean(points.take_along_dim(chosen[..., None], -2), mass)
        return taken, mass, _labels_of(labels, chosen)

    def _choose(self, weights: Tensor, seeds: Tensor) -> tuple[Tensor, Tensor]:
        chosen = _systematic(weights, self.count, seeds)
        mass = (weights > 0).any(-1, keepdim=True).to(weights.dtype) / self.count
        return chosen, mass.repeat_interleave(self.count, -1)


@dataclass(frozen=True)
class FarthestSample:
    """Choose `count` points of each cloud, each the farthest from those before; `farthest_points`.

    A cloud of fewer places than `count` keeps one point of each; the rows that are left over are
    padding.

    Attributes:
        count: Number of points m, in 1..4194304.
        weights: "nearest": the weight of every point goes to the nearest that was chosen, so that
            mass stays where it was. "equal": those that were chosen weigh the same, as is usual
            with networks that know no weights.
        at: "chosen": the points that were chosen. "mean": each is moved to the mean of the points
            that it is the nearest of, features included: a step of Lloyd's algorithm, after which
            no other place is nearer to them in the mean of squares. The mean of the cloud is kept
            if `weights` is "nearest".
        random: Draw the first point, by weight, and need a generator. Otherwise it is the point
            farthest from the mean, and the choice a function of the cloud.
        features: How many columns, the last ones, are no coordinates and have no part in distances.

    Raises:
        ValueError: If `count` is out of range, `weights` or `at` another word, or `features`
            negative or (when called) all columns that there are.
    """

    count: int
    weights: Literal["nearest", "equal"] = "nearest"
    random: bool = False
    features: int = 0
    at: Literal["chosen", "mean"] = "chosen"

    def __post_init__(self) -> None:
        _check_count(self.count)
        if self.at not in ("chosen", "mean"):
            raise ValueError(f'at must be "chosen" or "mean", got {self.at!r}')
        if self.weights not in ("nearest", "equal"):
            raise ValueError(f'weights must be "nearest" or "equal", got {self.weights!r}')
        if self.features < 0:
            raise ValueError(f"features must be at least 0, got {self.features}")

    def __call__(
        self, points: Tensor, weights: Tensor, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Choose points of each measure.

        Args:
            points: (..., n, d) floating.
            weights: (..., n), 0 in padding.
            generator: Source of the first points, if these are random.

        Returns:
            Points (..., m, d) and weights (..., m), those that were chosen first ahead.

        Raises:
            ValueError: If there is no generator and it is needed, or the shapes do not fit.
        """
        points, mass, _ = self._choose(points, weights, generator)
        return points, mass

    def with_labels(
        self,
        points: Tensor,
        weights: Tensor,
        labels: Tensor,
        generator: torch.Generator | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Choose the same points, and their labels (..., m); see `Transform`."""
        points, mass, chosen = self._choose(points, weights, generator)
        return points, mass, _labels_of(labels, chosen)

    def _choose(
        self, points: Tensor, weights: Tensor, generator: torch.Generator | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        # Points, weights, and which they are of all.
        check_shapes(points, weights)
        points, weights = _not_empty(points, weights)
        first = None
        if self.random:
            first = _systematic(weights, 1, seeds_for(self, points, generator))[..., 0]
        places = points[..., : coordinates_of(points, self.features)]
        chosen, owner = _farthest(places, weights, self.count, first)
        there = (chosen >= 0).to(weights.dtype)
        share = torch.where(weights > 0, weights, 0.0)
        if self.weights == "nearest":
            mass = torch.zeros_like(there).scatter_add(-1, owner, share)
        else:
            mass = there / there.sum(-1, keepdim=True).clamp(min=1)
        chosen = chosen.clamp(min=0)
        taken = points.take_along_dim(chosen[..., None], -2)
        if self.at == "mean":
            taken = _means(clean(points, weights), share, owner, taken)
        return clean(taken, mass), mass, chosen


def _means(points: Tensor, share: Tensor, owner: Tensor, chosen: Tensor) -> Tensor:
    # (..., m, d) the means of the points of each owner. In float64, of what each is away from the
    # point that was chosen, so that the order of the points and their place do not matter.
    places, wide = chosen.double(), share.double()
    apart = points.double() - places.take_along_dim(owner[..., None], -2)
    total = torch.zeros_like(places[..., 0]).scatter_add(-1, owner, wide)
    rows = owner[..., None].expand(apart.shape)
    moved = torch.zeros_like(places).scatter_add(-2, rows, apart * wide[..., None])
    return (places + moved / torch.where(total > 0, total, 1.0)[..., None]).to(chosen.dtype)


def farthest_points(
    points: Tensor, weights: Tensor, count: int, first: Tensor | None = None
) -> Tensor:
    """Choose points one by one, each the farthest from those that were chosen before.

    Of points equally far the first one is taken; squared distances that differ by less than 2⁻¹²
    of them count as equal, so that rounding decides nothing on a grid, where many are. What is
    chosen covers the cloud: but for that, no point is farther from it than its members are from
    each other. Source: Y. Eldar, M. Lindenbaum, M. Porat and Y. Y. Zeevi, "The farthest point
    strategy for progressive image sampling", IEEE Transactions on Image Processing 1997; for
    networks on point clouds C. R. Qi, L. Yi, H. Su and L. J. Guibas, "PointNet++", NeurIPS 2017.
    Time O(m n d), memory O(n d).

    Args:
        points: (..., n, d) floating.
        weights: (..., n), 0 in padding, which is never chosen.
        count: Number of points m to choose, at least 1.
        first: (...,) int64, the index of the first one, which must not be padding; None for the
            point farthest from the mean.

    Returns:
        (..., m) int64, the indices in the order of the choice; -1 where a cloud has no further
        place.

    Raises:
        ValueError: If the shapes do not fit or `count` is out of range.
    """
    check_shapes(points, weights)
    _check_count(count)
    if first is not None and (first.shape != points.shape[:-2] or first.dtype != torch.int64):
        raise ValueError(
            f"first must be torch.int64 of shape {tuple(points.shape[:-2])}, one index for each "
            f"cloud, got {first.dtype} of shape {tuple(first.shape)}"
        )
    if points.shape[-2] == 0:
        return torch.full((*points.shape[:-2], count), -1, device=points.device)
    return _farthest(points, weights, count, first)[0]


def _farthest(
    points: Tensor, weights: Tensor, count: int, first: Tensor | None
) -> tuple[Tensor, Tensor]:
    # The indices (..., m), and for each point the place (..., n) in them of the nearest.
    inside = weights > 0
    moved = clean(points.detach(), weights)
    moved = moved / unit_of(moved)
    axes = moved.movedim(-1, 0).contiguous()  # (d, ..., n)
    nearest = torch.where(inside, torch.inf, -1.0).to(moved.dtype)
    owner = torch.zeros_like(inside, dtype=torch.int64)
    index = _outermost(moved, weights) if first is None else first
    index = torch.where(inside.any(-1), index, -1)[..., None]
    chosen = []
    for step in range(count):
        chosen.append(index)
        there = index.clamp(min=0).expand(len(axes), *index.shape)
        apart = (axes - axes.gather(-1, there)).square_().sum(0)
        owner = torch.where(apart < nearest * (1 - _ROUNDING), step, owner)
        nearest = torch.minimum(nearest, apart)
        farthest = nearest.amax(-1, keepdim=True)
        index = torch.where(farthest > 0, _first_as_large(nearest, farthest), -1)
    return torch.cat(chosen, -1), owner


def _outermost(points: Tensor, weights: Tensor) -> Tensor:
    # (...,) the first of the points farthest from the mean.
    wide, mass = exact(points), exact(weights)
    mass = torch.where(mass > 0, mass, 0.0)
    total = mass.sum(-1, keepdim=True)
    mean = (wide * (mass / torch.where(total > 0, total, 1.0))[..., None]).sum(-2, keepdim=True)
    radius = torch.where(mass > 0, (wide - mean).square().sum(-1), -1.0)
    return _first_as_large(radius, radius.amax(-1, keepdim=True))[..., 0]


def _first_as_large(squares: Tensor, largest: Tensor) -> Tensor:
    # (..., 1) the first of (..., n) that is as large as the largest (..., 1).
    return (squares >= largest * (1 - _ROUNDING)).byte().argmax(-1, keepdim=True)


def _systematic(weights: Tensor, count: int, seeds: Tensor) -> Tensor:
    # (..., m) indices of points: `count` steps of one size through the masses in a random order.
    rank = (weights > 0).cumsum(-1)  # padding is not counted
    order = mix(seeds[..., None], rank).argsort(-1)
    total = cumulated(masses(weights), order)
    whole = total[..., -1:]
    steps = torch.arange(count, device=weights.device)
    start = torch.remainder(mix(seeds[..., None], steps[:1]), whole.clamp(min=1))
    at = (whole * steps + start) // count
    place = torch.searchsorted(total[..., 1:].contiguous(), at, right=True)
    return order.gather(-1, place.clamp(max=order.shape[-1] - 1))


def _not_empty(points: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    # With a row of padding where there is none, so that there is something to gather from.
    if points.shape[-2]:
        return points, weights
    shape = points.shape[:-2]
    return points.new_zeros(*shape, 1, points.shape[-1]), weights.new_zeros(*shape, 1)


def _labels_of(labels: Tensor, chosen: Tensor) -> Tensor:
    if not labels.shape[-1]:  # as `_not_empty` has it
        return torch.full_like(chosen, NO_LABEL)
    return labels.gather(-1, chosen)


def _check_count(count: int) -> None:
    if not 1 <= count <= _LARGEST:
        raise ValueError(f"count must be in 1..{_LARGEST}, got {count}")
