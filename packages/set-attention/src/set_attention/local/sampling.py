"""Farthest-point sampling: a few points of a measure that cover it."""

import torch
from torch import Tensor

from set_attention.local.places import check_places, flat, in_order, take_flat
from set_attention.measures import clear_padding, shares

# Squared distances that differ by so small a part of them count as equal. On a grid many are, but
# for what the places were rounded to: that of float32, scaled to a frame, moves the square between
# neighbours in an image of a hundred pixels a side by 1e-5 of itself.
ROUNDING = 2.0**-12


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
    inside = weights > 0
    points = points.detach().to(torch.promote_types(points.dtype, torch.float32))
    axes = [axis.contiguous() for axis in points.unbind(-1)]
    nearest = torch.where(inside, torch.inf, -1.0).to(points.dtype)
    owner = torch.zeros_like(nearest)  # and masks of 0 and 1, as numbers: the processor compares
    ahead = _backwards(nearest)  # and multiplies several of these at a time, but not truth values
    index = torch.where(inside.any(-1, keepdim=True), _outermost(points, weights), -1)
    chosen = []
    for step in range(count):
        chosen.append(index)
        at = index.clamp(min=0)
        apart = (axes[0] - axes[0].gather(-1, at)).square_()
        for axis in axes[1:]:
            offset = axis - axis.gather(-1, at)
            apart = apart.addcmul_(offset, offset)
        closer = (nearest * (1 - ROUNDING)).gt_(apart)
        owner = torch.maximum(owner, closer.mul_(step))  # the last that was closer
        nearest = torch.minimum(nearest, apart)
        largest = nearest.amax(-1, keepdim=True)
        index = torch.where(largest > 0, _first_as_large(nearest, largest, ahead), -1)
    return torch.cat(chosen, -1), owner.long()


def _outermost(points: Tensor, weights: Tensor) -> Tensor:
    """The first (b, 1) of the points that are farthest from the mean."""
    points = points.double()
    mean = (shares(weights.detach().double()).unsqueeze(-1) * points).sum(-2, keepdim=True)
    radius = (points - mean).square().sum(-1).masked_fill(weights <= 0, -1)
    return _first_as_large(radius, radius.amax(-1, keepdim=True), _backwards(radius))


def _backwards(like: Tensor) -> Tensor:
    """The numbers n, ..., 1, of the kind of (b, n)."""
    n = like.shape[-1]
    return torch.arange(n, 0, -1, device=like.device).to(like.dtype)


def _first_as_large(squares: Tensor, largest: Tensor, ahead: Tensor) -> Tensor:
    """Position (b, 1) of the first of (b, n) that is as large as (b, 1), to ``ROUNDING``.

    Of NaN some position.
    """
    n = squares.shape[-1]
    as_large = squares.clone().ge_(largest * (1 - ROUNDING))
    return (n - as_large.mul_(ahead).amax(-1, keepdim=True).long()).clamp(max=n - 1)


def check_positive(**sizes: int | float | None) -> None:
    """Raise unless all that is given is a positive number."""
    for name, size in sizes.items():
        if size is not None and not size > 0:
            raise ValueError(f"expected a positive {name}, but got {name}={size}")
