"""From a measure of many points to one of a few tokens that each know what lies about them."""

from typing import Literal

import torch
from torch import Tensor, nn

from set_attention.feed_forward import Activation, activate, check_activation
from set_attention.local.grouping import LocalGroups, group_points
from set_attention.local.places import merge_points, show_negative
from set_attention.local.residual import ResidualMap, RowMap, RowNorm
from set_attention.local.sampling import check_positive
from set_attention.measures import check_width, clear_padding
from set_attention.pooling import max_pool, mean_pool


class LocalPool(nn.Module):
    r"""Tokens at points that cover a measure, each pooled from its nearest neighbours.

    The middles c of the groups are ``farthest_points``, the members j of each the ``neighbours``
    nearest points. With :math:`f = (x, p)`, features and place of a point, each group is seen from
    its middle, in the unit of its spread about the middles, and mapped to a token:

    .. math::
        g_{cj} = \alpha \odot \frac{f_j - f_c}{\sqrt{\sigma^2 + \epsilon}} + \beta, \qquad
        h_{cj} = R\big(\phi(N(W g_{cj} + V x_c))\big), \qquad
        t_c = S\big(\mathrm{pool}_j\, h_{cj}\big), \qquad
        \sigma^2 = \sum_c \bar m_c \sum_j \bar w_{cj} (f_j - f_c)^2

    with residual maps R and S of single rows (``before`` and ``after`` the pooling), norms N, and
    ReLU or GELU :math:`\phi`. Ma et al. (2022), "Rethinking network design and local geometry in
    point cloud: a simple residual MLP framework" (PointMLP): its geometric affine module with the
    middle as the anchor, there with one :math:`\sigma` for all channels of a cloud; here each
    channel has its own, since places and features have different units, and groups and neighbours
    count by mass. :math:`\bar m_c` is the share of the mass that is nearest to c, and it is the
    weight of the token: m tokens are a measure of the mass of the whole, and stages compose::

        x, points, weights = first(embed(points), points, weights)
        x, points, weights = second(x, points, weights)

    Padding is never in a group; a measure of fewer places than ``tokens`` has fewer of them, and
    padding for the rest; one of fewer than ``neighbours`` has them all in each group; an empty one
    has no token. The result does not depend on how the points stand in the tensor, since what is
    equally far is told apart by place.

    **Mass.** Points in one place become one before anything is counted (``merge_points``), so that
    a point which is split into two changes nothing. But the number of neighbours counts places and
    not mass: with a group cut off at its k-th neighbour, a point of little weight there counts as
    one of much, and a small shift of a point may put another one in its place. And the number of
    tokens is fixed: a measure of twice the points has groups of half the width.

    The law of the batch: in training, ``norm="batch"`` normalises by the statistics of the whole
    batch, by mass, as every batch norm; in evaluation a measure does not know its batch.

    Args:
        dim: Width of the features.
        point_dim: Number of coordinates of the places.
        tokens: Number m of tokens, at most.
        neighbours: Number k of points in a group, at most, its middle among them.
        out_dim: Width of the tokens; None: ``dim``.
        before: Number of residual maps on the members of the groups.
        after: Number of residual maps on the tokens.
        expansion: Hidden width of the residual maps, by ``out_dim``.
        pool: ``"max"`` over the members of positive weight, or ``"mean"`` by weight.
        norm: ``"batch"``: ``MeasureBatchNorm``; ``"layer"``: ``torch.nn.LayerNorm``.
        activation: ``"relu"`` or ``"gelu"``.
        epsilon: Added to the squared spread.
    """

    def __init__(
        self,
        dim: int,
        point_dim: int,
        tokens: int,
        neighbours: int = 24,
        *,
        out_dim: int | None = None,
        before: int = 1,
        after: int = 1,
        expansion: float = 1.0,
        pool: Literal["max", "mean"] = "max",
        norm: RowNorm = "batch",
        activation: Activation = "relu",
        epsilon: float = 1e-5,
    ) -> None:
        super().__init__()
        out_dim = dim if out_dim is None else out_dim
        check_positive(
            dim=dim,
            point_dim=point_dim,
            tokens=tokens,
            neighbours=neighbours,
            out_dim=out_dim,
            expansion=expansion,
            epsilon=epsilon,
        )
        if before < 0 or after < 0:
            raise ValueError(
                f"expected numbers of residual maps, but got before={before} and after={after}"
            )
        if pool not in ("max", "mean"):
            raise ValueError(f'expected pool "max" or "mean", but got {pool!r}')
        check_activation(activation)
        self.activation = activation
        self.dim = dim
        self.point_dim = point_dim
        self.tokens = tokens
        self.neighbours = neighbours
        self.pool = pool
        self.epsilon = epsilon
        hidden = max(1, round(expansion * out_dim))
        self.gain = nn.Parameter(torch.empty(dim + point_dim))
        self.shift = nn.Parameter(torch.empty(dim + point_dim))
        self.members = RowMap(dim + point_dim, out_dim, norm)
        self.middle = nn.Linear(dim, out_dim, bias=False)
        self.before, self.after = (
            nn.ModuleList(ResidualMap(out_dim, hidden, norm, activation) for _ in range(count))
            for count in (before, after)
        )
        self.reset_parameters()

    @property
    def out_dim(self) -> int:
        """Width of the tokens."""
        return self.middle.out_features

    def reset_parameters(self) -> None:
        """Set the gain to 1 and the shift to 0; reset each map."""
        nn.init.ones_(self.gain)
        nn.init.zeros_(self.shift)
        self.members.reset_parameters()
        nn.init.kaiming_uniform_(self.middle.weight, nonlinearity="linear")
        for part in (*self.before, *self.after):
            part.reset_parameters()

    def forward(
        self, x: Tensor, points: Tensor, weights: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Pool a measure on places with features.

        Args:
            x: Features (..., n, dim).
            points: Their places (..., n, point_dim).
            weights: (..., n), 0 for padding; None if all sets are full and uniform: 1 each.

        Returns:
            Tokens (..., m, out_dim), their places (..., m, point_dim) and their weights (..., m), 0
            for padding, whose sum is that of ``weights``.

        Raises:
            ValueError: If shapes do not fit, or a weight is negative.
            TypeError: If something is no tensor of floating-point numbers.
        """
        check_width(x, self.dim)
        check_width(points, self.point_dim)
        given = weights
        x, points, weights = merge_points(x, points, weights)
        groups = group_points(
            points, weights, groups=self.tokens, neighbours=self.neighbours, merged=True
        )
        pooled = self._pooled(self._members(x, groups), groups)
        for part in self.after:
            pooled = part(pooled, groups.masses)
        tokens = show_negative(clear_padding(pooled, groups.masses), given)
        return tokens, groups.places, groups.masses

    def _members(self, x: Tensor, groups: LocalGroups) -> Tensor:
        """Normalised rows (..., m k, out_dim) of the members of the groups."""
        middles = groups.middles(x)
        beside = groups.neighbours(x) - middles.unsqueeze(-2)
        seen = torch.cat([beside, groups.offsets.to(x.dtype)], -1)
        pairs = groups.weights.shape[-2:]
        weights = groups.shares().flatten(-2)  # a measure of m k pairs
        seen = clear_padding(seen.flatten(-3, -2), weights)
        precise = seen.to(torch.promote_types(seen.dtype, torch.float32))
        variance = mean_pool(precise.square(), weights).unsqueeze(-2)
        scale = ((variance + self.epsilon).rsqrt() * self.gain).to(seen.dtype)
        # W (scale * seen + shift), of which the few weights are scaled and not the many rows.
        linear = self.members.linear.weight
        rows = seen @ (linear * scale).mT
        of_middle = self.middle(middles) + self.shift @ linear.mT
        rows = (torch.unflatten(rows, -2, pairs) + of_middle.unsqueeze(-2)).flatten(-3, -2)
        return self.members.normalise(rows, weights)

    def _pooled(self, rows: Tensor, groups: LocalGroups) -> Tensor:
        """Tokens (..., m, out_dim), before the maps of single tokens."""
        pairs = groups.weights.shape[-2:]
        if self.pool == "max" and self.activation == "relu" and not self.before:
            # ReLU rises, so that it may be taken of the largest alone.
            return activate(
                self.activation, max_pool(torch.unflatten(rows, -2, pairs), groups.weights)
            )
        rows, weights = activate(self.activation, rows), groups.shares().flatten(-2)
        for part in self.before:
            rows = part(rows, weights)
        pool = max_pool if self.pool == "max" else mean_pool
        return pool(torch.unflatten(rows, -2, pairs), groups.weights)

    def extra_repr(self) -> str:
        """Sizes, as they were given."""
        return (
            f"dim={self.dim}, point_dim={self.point_dim}, tokens={self.tokens}, "
            f"neighbours={self.neighbours}, out_dim={self.out_dim}, pool={self.pool}, "
            f"activation={self.activation}"
        )
