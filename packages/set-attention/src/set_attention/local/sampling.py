"""Farthest-point sampling: a few points of a measure that cover it."""

import torch
from torch import Tensor

from set_attention.local.places import check_places, flat, in_order, take_flat
from set_attention.measures import clear_padding, shares, sizes_may_decide

# Squared distances that differ by so small a part of them count as equal. On a grid many are, but
# for what the places were rounded to: that of float32, scaled to a frame, moves the square between
# neighbours in an image of a hundred pixels a side by 1e-5 of itself.
ROUNDING = 2.0**-12
# Up to so many, float32 counts. What is compiled or exported is for any number.
_COUNTED = 2**24


def farthest_points(points: Tensor, weights: Tensor | None = None, *, count: int) -> Tensor:
    r"""Choose points one by one, each the farthest from those that were chosen before.

    .. math:: i_1 = \arg\max_i |x_i - \bar x|, \qquad
        i_{s+1} = \arg\max_i \min_{r \le s} |x_i - x_{i_r}|

    with the weighted mean :math:`\bar x`. What is chosen covers the measure: no point is farther
    from it than its members are from each other, to a part in 4,096: squares that differ by less
    than 2⁻¹² of them count as equal, so that rounding decides nothing where many are, on a grid. A
    function of the measure, since points that are equally far are told apart by their places
    (``in_order``) and not by where they stand in the tensor, and weights enter by the mean alone.
    Eldar, Lindenbaum, Porat and Zeevi, "The farthest point strategy for progressive image sampling"
    (1997); for networks on point clouds Qi et al. (2017), "PointNet++", where the first point is
    drawn by chance.

    Distances are sums of squared differences in float32 at least. Time O(count n d), memory O(n d);
    nothing is read by the host. No gradient: an index has none.

    Args:
        points: (..., n, d).
        weights: (..., n), 0 for padding, which is never chosen; None if all sets are full.
        count: Number m of points.

    Returns:
        Indices (..., m), int64, in the order of the choice; -1 where a measure has no further
        place.

    Raises:
        ValueError: If shapes do not fit, or the count is not positive.
        TypeError: If something is no tensor of floating-point numbers.
    """
    check_places(points, weights)
    check_positive(count=count)
    leading, n = points.shape[:-2], points.shape[-2]
    if not n:
        return torch.full((*leading, count), -1, device=points.device)
    points = flat(clear_padding(points, weights))
    weights = points.new_ones(points.shape[:-1]) if weights is None else flat(weights, 1)
    order = in_order(points, weights)
    chosen, _ = farthest(take_flat(points, order), weights.gather(-1, order), count)
    index = torch.where(chosen < 0, chosen, order.gather(-1, chosen.clamp(min=0)))
    return index.view(*leading, count)


@torch.no_grad()
def farthest(points: Tensor, weights: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The choice among points in order, and who of the chosen is nearest to each of all.

    Args:
        points: (b, n, d), n at least 1, in the order of ``in_order``, 0 in padding.
        weights: (b, n), 0 for padding.
        count: Number m of points.

    Returns:
        Indices (b, m), -1 where there is no further place; and for each point the position (b, n)
        in them of the nearest, the first of equally near ones. Both to ``ROUNDING``.
    """
    points = points.detach().to(torch.promote_types(points.dtype, torch.float32))
    axes = [axis.contiguous() for axis in points.unbind(-1)]
    inside = weights > 0
    nearest = torch.where(inside, torch.inf, -1.0).to(points.dtype)
    owner = torch.zeros_like(nearest)  # and masks of 0 and 1, as numbers: the processor compares
    behind = _behind(nearest)  # and multiplies several of these at a time, but not truth values
    index = _outermost(points, weights)
    chosen, left = [], [inside.any(-1, keepdim=True).to(points.dtype)]
    apart, offset = torch.empty_like(nearest), torch.empty_like(nearest)
    mask = torch.empty_like(behind)
    for step in range(count):
        chosen.append(index)
        torch.sub(axes[0], axes[0].gather(-1, index), out=apart).square_()
        for axis in axes[1:]:
            torch.sub(axis, axis.gather(-1, index), out=offset)
            apart.addcmul_(offset, offset)
        closer = torch.mul(nearest, 1 - ROUNDING, out=mask).gt_(apart)
        torch.maximum(owner, closer.mul_(step), out=owner)  # the last that was closer
        torch.minimum(nearest, apart, out=nearest)
        largest = nearest.amax(-1, keepdim=True)
        left.append(largest)
        index = _first_as_large(nearest, largest, behind, out=mask)
    further = torch.cat(left[:-1], -1) > 0  # else all places are chosen
    return torch.where(further, torch.cat(chosen, -1), -1), owner.long()


def _outermost(points: Tensor, weights: Tensor) -> Tensor:
    """The first (b, 1) of the points that are farthest from the mean."""
    points = points.double()
    mean = (shares(weights.detach().double()).unsqueeze(-1) * points).sum(-2, keepdim=True)
    radius = (points - mean).square().sum(-1).masked_fill(weights <= 0, -1)
    largest = radius.amax(-1, keepdim=True)
    behind = _behind(radius)
    return _first_as_large(radius, largest, behind, out=torch.empty_like(behind))


def _behind(like: Tensor) -> Tensor:
    """How many of (b, n) numbers are behind each one: (b, n) of n - 1, ..., 0, as numbers."""
    n = like.shape[-1]
    counted = sizes_may_decide() and n <= _COUNTED
    behind = torch.arange(n - 1, -1, -1, device=like.device)
    return behind.to(like.dtype if counted else torch.float64).expand(like.shape)


def _first_as_large(squares: Tensor, largest: Tensor, behind: Tensor, out: Tensor) -> Tensor:
    """Position (b, 1) of the first of (b, n) that is as large as (b, 1), to ``ROUNDING``.

    Of NaN some position. ``out`` (b, n) is overwritten.
    """
    as_large = torch.ge(squares, largest * (1 - ROUNDING), out=out)
    return (squares.shape[-1] - 1 - as_large.mul_(behind).amax(-1, keepdim=True)).long()


def check_positive(**sizes: int | float | None) -> None:
    """Raise unless all that is given is a positive number."""
    for name, size in sizes.items():
        if size is not None and not size > 0:
            raise ValueError(f"expected a positive {name}, but got {name}={size}")
