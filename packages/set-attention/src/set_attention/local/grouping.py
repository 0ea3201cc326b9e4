"""Nearest neighbours in a measure, and groups of them about points that cover it."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from set_attention.local.places import check_places, flat, in_order, take_flat
from set_attention.local.sampling import ROUNDING, check_positive, farthest
from set_attention.measures import (
    check_tensor,
    clear_padding,
    host_may_look,
    is_full,
    sizes_may_decide,
    summable,
)

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


@dataclass(frozen=True, eq=False)
class LocalGroups:
    """Groups of near points about some points of a measure; made by ``group_points``.

    Attributes:
        places: Where the groups are, (..., m, d), 0 in those that there are not.
        masses: The weight of the points that are nearest to each place, (..., m): m tokens of
            these weights are a measure of the mass of the whole, 0 for padding. As all weights here
            in float32 at least, and scaled down if the sum of those of a set is infinite.
        centres: Index of the point in the middle of each, (..., m); 0 where there is no group.
        index: Indices of the neighbours, (..., m, k).
        weights: Weights of the neighbours, (..., m, k), 0 where there is none: each group is a
            measure, and what takes one takes m at a time.
        offsets: From the place of each group to its neighbours, (..., m, k, d), 0 for none.
    """

    places: Tensor
    masses: Tensor
    centres: Tensor
    index: Tensor
    weights: Tensor
    offsets: Tensor

    def neighbours(self, x: Tensor) -> Tensor:
        """Rows (..., m, k, c) of the neighbours, from those (..., n, c) of all; 0 for none."""
        return clear_padding(_take(x, self.index), self.weights)

    def middles(self, x: Tensor) -> Tensor:
        """Rows (..., m, c) of the middle points, from those (..., n, c) of all; 0 for none."""
        return clear_padding(_take(x, self.centres), self.masses)

    def shares(self) -> Tensor:
        """Weights (..., m, k) of the pairs of a group and a neighbour.

        The mass of each group, spread over its neighbours by their weights.
        """
        whole = self.weights.sum(-1, keepdim=True)
        whole = torch.where(whole > 0, whole, 1)
        # The product first, but where it might be beyond a float32.
        usual = (whole > 2.0**-60) & (whole < 2.0**60)
        part = torch.where(usual, self.weights, self.weights / whole)
        return self.masses.unsqueeze(-1) * part / torch.where(usual, whole, 1)


def take_points(x: Tensor, index: Tensor) -> Tensor:
    """Rows of a measure at the indices of some of its points.

    Args:
        x: (..., n, c).
        index: (..., m, k), or (..., m), int64, of the same leading shape; from ``nearest_points``
            or ``farthest_points``. -1: none.

    Returns:
        (..., m, k, c), or (..., m, c); 0 where the index is -1, with a gradient of 0.

    Raises:
        ValueError: If an index is below -1, or there are not so many rows. Seen on the CPU alone:
            elsewhere a look would wait for the device.
        TypeError: If something is no tensor.
    """
    check_tensor("features", x)
    check_tensor("indices", index)
    if host_may_look(index) and index.numel():
        least, most = map(int, index.aminmax())
        if least < -1 or most >= x.shape[-2]:
            raise ValueError(
                f"expected indices from -1, for none, to {x.shape[-2] - 1}, the last row of "
                f"features of shape {tuple(x.shape)}, but got {least if least < -1 else most}"
            )
        if least >= 0:
            return _take(x, index)
    return torch.where((index < 0).unsqueeze(-1), 0, _take(x, index.clamp(min=0)))


def _take(x: Tensor, index: Tensor) -> Tensor:
    """The same for indices of rows that there are, and 0 if there is no row at all."""
    trailing = index.dim() - x.dim() + 2
    return take_flat(flat(x), flat(index, trailing)).view(*index.shape, x.shape[-1])


def group_points(
    points: Tensor,
    weights: Tensor | None = None,
    *,
    groups: int,
    neighbours: int,
    radius: float | None = None,
    merged: bool = False,
) -> LocalGroups:
    """Groups of nearest neighbours about the farthest points of a measure.

    The middles are ``farthest_points``, the members ``nearest_points``; see there. A function of
    the measure where no place is written down twice: call ``merge_points`` before if one may be,
    and say so.

    Args:
        points: (..., n, d).
        weights: (..., n), 0 for padding; None if all sets are full and uniform: 1 each.
        groups: Number m of groups; a measure of fewer places has fewer, and empty ones of mass 0.
        neighbours: Number k of points in a group, at most, its middle among them.
        radius: Points that are farther from the middle are none of the group; None: all may be.
        merged: Whether the points come from ``merge_points``, so that they are in order already.

    Returns:
        The groups.

    Raises:
        ValueError: If shapes do not fit, or a size is not positive.
        TypeError: If something is no tensor of floating-point numbers.
    """
    check_places(points, weights)
    check_positive(groups=groups, neighbours=neighbours, radius=radius)
    leading, n = points.shape[:-2], points.shape[-2]
    points = flat(clear_padding(points, weights))
    weights = points.new_ones(points.shape[:-1]) if weights is None else flat(weights, 1)
    weights = summable(weights)
    # Rows of padding, so that there is something to take; to a program, as much as it may want.
    rows = neighbours if not sizes_may_decide() else 0 if n else 1
    if rows:
        points, weights = F.pad(points, (0, 0, 0, rows)), F.pad(weights, (0, rows))
    order = None if merged else in_order(points, weights)
    in_place, mass = points, weights
    if order is not None:
        in_place, mass = take_flat(points, order), weights.gather(-1, order)
    some = min(groups, points.shape[-2]) if sizes_may_decide() else groups
    chosen, owner = farthest(in_place, mass, some)
    there = chosen >= 0
    masses = mass.new_zeros(mass.shape[0], some).scatter_add(
        -1, owner, torch.where(mass > 0, mass, 0)
    )
    chosen = chosen.clamp(min=0)
    places = clear_padding(take_flat(in_place, chosen), masses)
    near, near_weights = nearest(places, in_place, mass, neighbours, radius)
    near_weights = near_weights * there.unsqueeze(-1)
    offsets = clear_padding(take_flat(in_place, near) - places.unsqueeze(-2), near_weights)
    if order is not None:
        chosen, near = order.gather(-1, chosen), order.gather(-1, near.flatten(1)).view(near.shape)
    if rows:  # whose points nobody has
        chosen, near = (index.clamp(max=n - 1).clamp(min=0) for index in (chosen, near))
    parts = places, masses, chosen, near, near_weights, offsets
    more = groups - some
    padded = [F.pad(part, (0, 0) * (part.dim() - 2) + (0, more)) for part in parts]
    return LocalGroups(*(part.reshape(*leading, *part.shape[1:]) for part in padded))
