"""Groups of neighbours in a measure, about points that cover it."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from set_attention.local.neighbours import nearest
from set_attention.local.places import check_places, flat, in_order, take_flat
from set_attention.local.sampling import check_positive, farthest
from set_attention.measures import (
    check_tensor,
    clear_padding,
    host_may_look,
    sizes_may_decide,
    summable,
)


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
