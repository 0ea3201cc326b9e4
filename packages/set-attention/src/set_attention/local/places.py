"""The one way of writing a measure down: its points in an order of their own, no place twice."""

import math

import torch
from torch import Tensor

from set_attention.measures import (
    check_features,
    check_tensor,
    check_weights,
    clear_padding,
    filling,
    host_may_look,
    summable,
)


def merge_points(
    x: Tensor, points: Tensor, weights: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    r"""Write a measure on places with features down in the one way that does not depend on how.

    Points in one place become one of their joint weight, whose features are the weighted mean of
    theirs; points come in the order of their places along one direction (``in_order``); what is
    left over is padding, at the end. So whatever follows, also if it counts points as neighbours
    do, is a function of the measure: of permuted points and of a point that was written down as
    two it gets the same.

    Args:
        x: Features (..., n, c).
        points: Their places (..., n, d).
        weights: (..., n), 0 for padding; None if all sets are full and uniform: 1 each.

    Returns:
        Features (..., n, c), places (..., n, d) and weights (..., n), these in float32 at least, so
        that they can count; of a set whose weights have no finite sum they are scaled down.

    Raises:
        ValueError: If shapes do not fit, or a weight is negative or infinite.
        TypeError: If something is no tensor of floating-point numbers.
    """
    check_places(points, weights)
    check_features(x)
    if x.shape[:-1] != points.shape[:-1]:
        raise ValueError(
            f"expected a row of features for each of the points of shape {tuple(points.shape)}, "
            f"but got features of shape {tuple(x.shape)}"
        )
    x = clear_padding(x, weights)
    if weights is None:
        weights = points.new_ones(
            points.shape[:-1], dtype=torch.promote_types(points.dtype, torch.float32)
        )
    points = clear_padding(points, weights)
    leading, n = points.shape[:-2], points.shape[-2]
    given, weights = weights.dtype, summable(weights)
    order = in_order(flat(points), flat(weights, 1))
    x, points = take_flat(flat(x), order), take_flat(flat(points), order)
    weights = flat(weights, 1).gather(-1, order)
    # Rows of padding are all in one place, and no reason to sum anything.
    again = (points == points.roll(1, 1)).all(-1) & (weights > 0)
    again = again & (torch.arange(n, device=again.device) > 0)
    if not (host_may_look(again) and not bool(again.any())):
        first = ~again
        number = first.cumsum(-1) - 1
        mass = torch.zeros_like(weights).scatter_add(-1, number, weights)
        whole = mass.gather(-1, number)
        share = weights / torch.where(whole > 0, whole, 1)
        precise = torch.promote_types(x.dtype, torch.float32)  # of many small parts
        x = _sum_rows(x.to(precise) * share.unsqueeze(-1).to(precise), number).to(x.dtype)
        # Equal rows: of the first one alone, so that no sum rounds a place.
        points = _sum_rows(torch.where(first.unsqueeze(-1), points, 0), number)
        # As precise as they came, if they are in that range: parts of a weight in 16 bits add up to
        # it, and what is chosen by it is the same.
        kept = mass.to(given).to(mass.dtype)
        weights = torch.where(kept.isinf(), mass, kept)
    return (
        x.view(*leading, *x.shape[1:]),
        points.view(*leading, *points.shape[1:]),
        weights.view(*leading, n),
    )


def in_order(points: Tensor, weights: Tensor | None = None) -> Tensor:
    r"""Indices of points in the order of their places along one direction, padding last.

    The direction is :math:`(\sqrt 2, \sqrt 3, \sqrt 5, \sqrt 7, \sqrt{11}, \ldots)`. The roots of
    primes are linearly independent over the rationals (Besicovitch 1940), so that two places have
    the same value only if they are the same, on a grid of pixels too. Values are float64.

    Args:
        points: (..., n, d).
        weights: (..., n), 0 for padding; None if there is none.

    Returns:
        (..., n) int64.

    Raises:
        ValueError: If shapes do not fit.
        TypeError: If something is no tensor of floating-point numbers.
    """
    check_places(points, weights)
    with torch.no_grad():
        along = torch.zeros_like(points[..., 0], dtype=torch.float64)
        for axis, prime in zip(points.unbind(-1), _primes(points.shape[-1]), strict=True):
            along = along.add(axis, alpha=math.sqrt(prime))  # numbers, which no device waits for
        if weights is not None:
            along = along.masked_fill(weights <= 0, torch.inf)
        return along.argsort(stable=True, dim=-1)


def check_places(points: Tensor, weights: Tensor | None) -> None:
    """Raise unless points are (..., n, d), d at least 1, and weights, if any, (..., n)."""
    check_tensor("points", points)
    if points.dim() < 2 or not points.shape[-1] or not points.is_floating_point():
        raise ValueError(
            f"expected floating-point places of shape (..., n, d), but got {points.dtype} of shape "
            f"{tuple(points.shape)}"
        )
    if weights is not None:
        check_weights(points, weights)


def flat(x: Tensor, trailing: int = 2) -> Tensor:
    """All leading axes as one."""
    shape = x.shape[-trailing:]
    return x.reshape(math.prod(x.shape[:-trailing]), *shape)


def take_flat(rows: Tensor, index: Tensor) -> Tensor:
    """Rows of (b, n, c) at indices (b, ...): (b, ..., c); 0 where there are no rows at all."""
    batch, n, width = rows.shape
    if not n:
        return rows.new_zeros(*index.shape, width)
    first = n * torch.arange(batch, device=index.device).view(-1, *[1] * (index.dim() - 1))
    taken = rows.reshape(batch * n, width).index_select(0, (index + first).flatten())
    return taken.view(*index.shape, width)


def show_negative(x: Tensor, weights: Tensor | None) -> Tensor:
    """A result (..., m, c) of a measure: NaN where a weight (..., n) is negative or NaN.

    Of checked weights there are none to be seen; see ``measures``.
    """
    if weights is None:
        return x
    fill = filling(weights, 0, x.dtype)
    return x + fill.sum(-2, keepdim=True) if isinstance(fill, Tensor) else x


def _sum_rows(x: Tensor, number: Tensor) -> Tensor:
    """Sums of the rows of (b, n, c) that have the same number (b, n)."""
    return torch.zeros_like(x).scatter_add(1, number.unsqueeze(-1).expand(x.shape), x)


def _primes(count: int) -> list[int]:
    found: list[int] = []
    candidate = 2
    while len(found) < count:
        if all(candidate % prime for prime in found):
            found.append(candidate)
        candidate += 1
    return found
