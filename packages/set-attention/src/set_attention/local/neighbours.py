"""Nearest neighbours in a measure."""

import torch
from torch import Tensor

from set_attention.local.places import check_places, flat, in_order, take_flat
from set_attention.local.sampling import ROUNDING, check_positive
from set_attention.measures import clear_padding, host_may_look, is_full, sizes_may_decide

# Distances that are made at a time: on the CPU they stay in its cache, elsewhere they fill it.
_PAIRS = 2**18
_MORE_PAIRS = 2**24
# Positions in a program, which does not know how many points there are. What a float64 has beyond a
# float32 would hold one bit more.
_MOST = (1 << 28) - 1
# Numbers in a block, and from how many numbers for each that is looked for it is faster to look for
# blocks first.
_BLOCK = 8
_MANY = 32
# Up to so many coordinates, distances are made coordinate by coordinate.
_FEW = 8


def nearest_points(
    places: Tensor,
    points: Tensor,
    weights: Tensor | None = None,
    *,
    count: int,
    radius: float | None = None,
) -> tuple[Tensor, Tensor]:
    r"""The nearest points of a measure, seen from each of some places, as measures.

    In Euclidean distance. Padding is never a neighbour. Of points that are equally far at the cut
    those come in that are first along the direction of ``in_order``: a function of the measure, not
    of how its points stand in the tensor. Squares that differ by less than 2⁻¹² of them count as
    equal there, so that rounding decides nothing where many are, on a grid. A count of points, not
    of mass: a point that is written down as two takes two of the places, unless ``merge_points``
    was called before.

    Distances are differences squared and summed in float32 at least, not
    :math:`|a|^2 + |b|^2 - 2 a \cdot b`, which far from the origin is all rounding. With more than
    8 coordinates they are that, in float64 and seen from one of the points, and squares are rounded
    to 2⁻³⁶ of that of the point which is farthest from it: points that are nearer to each other
    than 2⁻¹⁸, 4e-6, of the extent of their set are in one place, so a single outlier coarsens all
    neighbourhoods of its set. Time O(c n d), memory O(c count) beyond blocks of a
    bounded number of distances. No gradient.

    Args:
        places: (..., c, d).
        points: (..., n, d), of the same leading shape.
        weights: (..., n), 0 for padding; None if all sets are full and uniform: 1 each.
        count: Number k of neighbours, at most; if there are only n rows, then n.
        radius: Points that are farther away are none, unless by rounding; None: all are near
            enough.

    Returns:
        Indices (..., c, min(k, n)), in no order, and the weights (..., c, min(k, n)) of the
        neighbours: 0 where there is none.

    Raises:
        ValueError: If shapes do not fit, or a size is not positive.
        TypeError: If something is no tensor of floating-point numbers.
    """
    check_places(points, weights)
    check_places(places, None)
    check_positive(count=count, radius=radius)
    if places.shape[:-2] != points.shape[:-2] or places.shape[-1] != points.shape[-1]:
        raise ValueError(
            f"expected places of leading shape {tuple(points.shape[:-2])} and of "
            f"{points.shape[-1]} coordinates, as the points have, but got shape "
            f"{tuple(places.shape)}"
        )
    leading, n = points.shape[:-2], points.shape[-2]
    points = flat(clear_padding(points, weights))
    mass = None if weights is None else flat(weights, 1)
    order = in_order(points, mass)
    mass = None if mass is None else mass.gather(-1, order)
    place, near = nearest(flat(places), take_flat(points, order), mass, min(count, n), radius)
    index = order.gather(-1, place.flatten(1)).view(place.shape)
    shape = (*leading, places.shape[-2], min(count, n))
    return index.view(shape), near.view(shape)


def nearest(
    places: Tensor, points: Tensor, weights: Tensor | None, count: int, radius: float | None = None
) -> tuple[Tensor, Tensor]:
    """Neighbours (b, c, k) among points (b, n, d) in order, 0 in padding, and their weights."""
    batch, n, _ = points.shape
    if not sizes_may_decide():  # of any number of measures and points, in one block
        return _nearest_in_one(places, points, weights, count, radius)
    count = min(count, n)
    if not batch * n * places.shape[-2]:
        index = torch.zeros(batch, places.shape[-2], count, dtype=torch.int64, device=points.device)
        return index, (points if weights is None else weights).new_zeros(index.shape)
    with torch.no_grad():
        full = weights is None or is_full(weights > 0, points)
        outside = None if full or weights is None else (weights <= 0).unsqueeze(1)
        pairs = _PAIRS if host_may_look(points) else _MORE_PAIRS
        some, rows = max(1, pairs // (n * places.shape[1])), max(1, pairs // n)
        # Blocks of whole measures, or of the places of one.
        found, squares = zip(
            *(
                _nearest(
                    places[i : i + some],
                    points[i : i + some],
                    None if outside is None else outside[i : i + some],
                    count,
                    rows,
                )
                for i in range(0, batch, some)
            ),
            strict=True,
        )
        index = torch.cat(found)
        far = None if radius is None else torch.cat(squares) > (1 + ROUNDING) * radius**2
    return index, _weights_at(index, points, weights, far)


def _nearest_in_one(
    places: Tensor, points: Tensor, weights: Tensor | None, count: int, radius: float | None
) -> tuple[Tensor, Tensor]:
    """The same for a program, which is for measures of any size from ``count`` rows on."""
    with torch.no_grad():
        outside = None if weights is None else (weights <= 0).unsqueeze(1)
        index, squares = _nearest(places, points, outside, count, None)
        far = None if radius is None else squares > (1 + ROUNDING) * radius**2
    return index, _weights_at(index, points, weights, far)


def _weights_at(
    index: Tensor, points: Tensor, weights: Tensor | None, far: Tensor | None
) -> Tensor:
    """Weights (b, c, k) of neighbours, 0 of those too far."""
    if weights is None:
        near = points.new_ones(index.shape)
    else:
        near = weights.gather(-1, index.flatten(1)).view(index.shape)
    return near if far is None else near.masked_fill(far, 0)


def _nearest(
    places: Tensor, points: Tensor, outside: Tensor | None, count: int, rows: int | None
) -> tuple[Tensor, Tensor]:
    """Indices (b, c, k) of neighbours and their squared distances, made for some rows at a time.

    All at once if ``rows`` is None.
    """
    precise = torch.promote_types(points.dtype, torch.float32)
    places, points = places.detach().to(precise), points.detach().to(precise)
    many = points.shape[-1] > _FEW
    if many:
        # Seen from the first of the points in order, so that no square is large.
        origin = points[:, :1].double()
        places, points = places.double() - origin, points.double() - origin
        points = points if outside is None else points.masked_fill(outside.mT, 0)
    found = []
    for some in (places,) if rows is None else torch.split(places, rows, 1):
        apart = (_by_products if many else _by_differences)(some, points)
        if outside is not None:
            apart = apart.masked_fill_(outside, torch.finfo(apart.dtype).max)
        found.append(_smallest(apart, count))
    index, squares = zip(*found, strict=True)
    return torch.cat(index, 1), torch.cat(squares, 1)


def _smallest(apart: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Positions (b, c, k) of the smallest of numbers (b, c, n) >= 0, and these, in float64.

    Bits of such numbers are in the order of the numbers. The last ones of a float64, which a
    float32 does not have, give way to the position: of equals the first is taken, and the
    selection of integers is the fastest that there is. ``apart`` may be overwritten.
    """
    n = apart.shape[-1]
    low = (1 << (n - 1).bit_length()) - 1 if sizes_may_decide() else _MOST
    position = torch.arange(n, device=apart.device)
    looks = host_may_look(apart)
    if looks and n >= _MANY * count:
        some, at, least = _promising(apart, count)
    else:
        some, at, least = apart, position, None
    key = _keys(some, at, low)
    chosen = key.topk(count, largest=False, sorted=False).values
    last = (chosen & ~low).view(torch.float64).amax(-1, keepdim=True)
    outer = last * (1 + ROUNDING)
    bound = outer.view(torch.int64).bitwise_or(low)
    # Where more are as near as the last one is: those that are nearer, and the first of these.
    more = (key <= bound).sum(-1) != count
    if least is not None:  # some of them may be in other blocks
        more |= (least <= outer).sum(-1) > count
    rows = more if looks else slice(None)
    key = key[rows] if least is None else _keys(apart[rows], position, low)
    near = key <= bound[rows]
    inner = (last[rows] * (1 - ROUNDING)).view(torch.int64)
    rank = (key >= inner).long().sub_(near.long()).mul_(low + 1)
    first = rank.bitwise_or_(key & low).topk(count, largest=False, sorted=False).values & low
    chosen[rows] = key.gather(-1, first)
    return chosen & low, (chosen & ~low).view(torch.float64)


def _promising(apart: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Numbers among which the ``count`` smallest of (b, c, n) are, their positions, all minima.

    Of blocks of some numbers each, those of the smallest minima: what is in another one is no less
    than ``count`` numbers are.
    """
    n = apart.shape[-1]
    blocks = n // _BLOCK
    whole = blocks * _BLOCK
    # A block is every so manieth number: minima of whole rows are the faster ones.
    least = torch.unflatten(apart[..., :whole], -1, (_BLOCK, blocks)).amin(-2)
    block = least.topk(count, largest=False, sorted=False).indices
    inside = torch.arange(0, whole, blocks, device=apart.device).unsqueeze(-1)
    at = (block.unsqueeze(-2) + inside).flatten(-2)
    some = apart.gather(-1, at)
    if whole < n:  # what is left over is no block
        rest = torch.arange(whole, n, device=apart.device).expand(*at.shape[:-1], -1)
        some, at = torch.cat([some, apart[..., whole:]], -1), torch.cat([at, rest], -1)
    return some, at, least


def _keys(squares: Tensor, position: Tensor, low: int) -> Tensor:
    """Integers in the order of squares, and of positions among equals. May overwrite squares."""
    return squares.double().view(torch.int64).bitwise_and_(~low).bitwise_or_(position)


def _by_differences(places: Tensor, points: Tensor) -> Tensor:
    """Squared distances (b, c, n), of the same numbers wherever these stand."""
    apart: Tensor | None = None
    places, points = places.mT.contiguous(), points.mT.contiguous()
    for place, axis in zip(places.unbind(-2), points.unbind(-2), strict=True):
        offset = place.unsqueeze(-1) - axis.unsqueeze(-2)
        apart = offset.square_() if apart is None else apart.addcmul_(offset, offset)
    assert apart is not None
    return apart


def _by_products(places: Tensor, points: Tensor) -> Tensor:
    """The same by a product of matrices in float64, ten times as fast with many coordinates.

    Rounded to what the order of its sums cannot change: 2⁻³⁶ of the largest square, where float32
    has 2⁻²⁴ of its root.
    """
    own, other = places.square().sum(-1, keepdim=True), points.square().sum(-1, keepdim=True)
    square = torch.baddbmm(own + other.mT, places, points.mT, alpha=-2)
    grid = (2.0**-36 * other.amax(-2, keepdim=True)).clamp(min=1e-300)
    return square.div_(grid).round_().clamp_(min=0).abs_().mul_(grid)  # -0 has other bits than 0
