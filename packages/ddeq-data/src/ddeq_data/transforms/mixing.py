"""Measures made of two: a part of one and a part of another."""

from __future__ import annotations

import torch
from torch import Tensor

from ddeq_data.counters import normal, uniform
from ddeq_data.measures.padding import check_shapes, clean
from ddeq_data.transforms.base import draw_seeds

__all__ = ["cut_mix"]


def cut_mix(
    points: Tensor,
    weights: Tensor,
    generator: torch.Generator,
    *,
    odds: float = 0.5,
    features: int = 0,
) -> tuple[Tensor, Tensor, Tensor]:
    """Put a part of the next measure of the batch in the place of a part of each.

    For each measure, with probability `odds`, a share s is drawn uniformly from [0, 1] and a
    direction from the sphere. Kept is the part that is first along the direction and has the mass
    s; the rest is that of the next measure (of the last one: the first), the part that is last
    along the same direction and has the mass 1 - s. Both are counted in whole points. A network
    that learns from such measures and from their labels, in the same shares, must find a class in
    each part of a cloud, and is sure of itself no more than there is reason to.

    Sources: S. Yun et al., "CutMix: regularization strategy to train strong classifiers with
    localizable features", ICCV 2019; for point clouds J. Zhang et al., "PointCutMix: regularization
    strategy for point cloud classification", Neurocomputing 2022, where the part is a ball and both
    clouds have the same number of points. Here it is a half-space, that is, a quantile of the
    measure: it needs no numbers of points, and shares are those of the mass.

    The host reads one number: how many rows the result has.

    Args:
        points: (B, n, d) floating.
        weights: (B, n), 0 in padding.
        generator: Source of the draws: one 64-bit seed for each measure, in their order.
        odds: Probability that a measure is mixed, in 0..1.
        features: How many columns, the last ones, are no coordinates.

    Returns:
        Points (B, m, d), weights (B, m) with the sums of those given, and (B,) the share of each
        that is its own.

    Raises:
        ValueError: If `odds` or `features` is out of range, or the shapes do not fit.
    """
    check_shapes(points, weights)
    if points.dim() != 3:
        raise ValueError(f"points must be (B, n, d), got shape {tuple(points.shape)}")
    if not 0 <= odds <= 1:
        raise ValueError(f"odds must be in 0..1, got {odds}")
    dim = points.shape[-1] - features
    if not 0 <= features < points.shape[-1]:
        raise ValueError(f"features must be in 0..{points.shape[-1] - 1}, got {features}")
    seeds = draw_seeds(points.shape[:1], generator).to(points.device)[:, None]
    counter = torch.arange(2 + dim, device=points.device)
    cut = uniform(seeds, counter[:1], points.dtype)
    mixes = uniform(seeds, counter[1:2], points.dtype) < odds
    direction = normal(seeds, counter[2:], points.dtype)
    points, mass = clean(points, weights), torch.where(weights > 0, weights, 0)
    total = mass.sum(-1, keepdim=True)
    own = mass / torch.where(total > 0, total, 1)
    other_points, other = points.roll(-1, 0), own.roll(-1, 0)
    # A measure that has no mass takes no part, neither as the one nor as the other.
    mixes = mixes & (total > 0) & (total.roll(-1, 0) > 0)
    place = _quantile(points[..., :dim], own, direction)
    other_place = _quantile(other_points[..., :dim], other, direction)
    own = own * ((place < cut) | ~mixes)
    other = other * ((other_place >= cut) & mixes)
    both = torch.cat([own, other], -1)
    whole = both.sum(-1, keepdim=True)
    whole = torch.where(whole > 0, whole, 1)
    # What is left goes to the front, as it stood.
    there = both > 0
    width = int(there.sum(-1).amax()) if len(there) else 0
    first = there.byte().argsort(stable=True, dim=-1, descending=True)[:, :width]
    mixed = torch.cat([points, other_points], -2).take_along_dim(first[..., None], -2)
    as_it_was = torch.cat([mass, torch.zeros_like(mass)], -1)
    mixed_mass = torch.where(mixes, total * both / whole, as_it_was).gather(-1, first)
    share = torch.where(mixes, own.sum(-1, keepdim=True) / whole, 1)
    return clean(mixed, mixed_mass), mixed_mass, share[:, 0]


def _quantile(points: Tensor, share: Tensor, direction: Tensor) -> Tensor:
    # (B, n) how much of the mass comes before the middle of each point along a direction (B, d).
    along = (points * direction[:, None]).sum(-1).masked_fill(share <= 0, torch.inf)
    order = along.argsort(stable=True, dim=-1)
    mass = share.gather(-1, order)
    before = mass.cumsum(-1) - mass / 2
    return torch.zeros_like(share).scatter(-1, order, before)
