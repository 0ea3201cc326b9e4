"""Vector attention: a weight for each feature, over the nearest neighbours of a point."""

import math

import torch
from torch import Tensor, nn

from set_attention.context import VectorContext, check_context, own_weights
from set_attention.feed_forward import FeedForward
from set_attention.local.neighbours import nearest_points
from set_attention.local.places import take_flat
from set_attention.measures import (
    as_bias,
    check_width,
    clear_padding,
    log_weights,
    sizes_may_decide,
)


class VectorAttention(nn.Module):
    r"""Attention of points to their nearest neighbours, with a weight for each feature.

    .. math::
        y_i = \sum_{j \in N(i)} \rho_{ij} \odot (v_j + \delta_{ij}), \qquad
        \rho_{ij} = \frac{w_j\, e^{\gamma(q_i - k_j + \delta_{ij})}}
                         {\sum_{l \in N(i)} w_l\, e^{\gamma(q_i - k_l + \delta_{il})}}, \qquad
        \delta_{ij} = \theta(p_i - p_j)

    with :math:`q_i = W_q x_i + b_q`, :math:`k_j` and :math:`v_j` alike, perceptrons of two layers
    (ReLU) :math:`\gamma` and :math:`\theta`, and the neighbours :math:`N(i)` of the place
    :math:`p_i`: the nearest points of the measure in Euclidean distance, a point being a neighbour
    of itself. The exponential and the quotient are taken for each feature; over neighbours the
    weights of each feature sum to 1. No scale, no residual, no normalisation, no output map. Zhao
    et al. (2021), "Point Transformer", equations 3 and 4, there without :math:`w_j`; the
    ``PointTransformerConv`` of PyTorch Geometric on a graph of neighbours, without biases. The code
    of Pointcept departs from it: one weight serves 8 features, and its perceptrons have norms.

    Padding is never a neighbour; a set with fewer points than ``neighbours`` has them all.
    Attention to an empty set is 0. Memory is O(n k dim) for n queries with k neighbours each:
    queries are taken ``chunk`` at a time, all at once in compiled and exported code, and only
    distances, there too a bounded number at a time, are ever made between all pairs.

    **Mass.** Weights enter as log-weights, so of the neighbours a doubled weight is a duplicated
    point. But ``neighbours`` counts points and not mass: a point that is written down as two takes
    two of the places. So the result is a function of the measure where nothing is cut off, that is
    for sets of at most ``neighbours`` points; beyond it depends on how the measure is written down,
    if and only if a copy pushes the farthest neighbour out. Merge duplicated points into one of
    their joint weight to be sure (``merge_points``). What is exactly as far at the cut is told
    apart by place, see ``nearest_points``.

    Args:
        dim: Width of the rows x and of the result.
        point_dim: Number of coordinates of the places p.
        neighbours: Number k of neighbours, at most.
        hidden: Hidden width of both perceptrons; None: ``dim``.
        context_dim: Width of the rows that are attended to; None: ``dim``.
        chunk: Number of queries of each set that are worked on at a time.
    """

    def __init__(
        self,
        dim: int,
        point_dim: int,
        neighbours: int = 16,
        *,
        hidden: int | None = None,
        context_dim: int | None = None,
        chunk: int = 256,
    ) -> None:
        super().__init__()
        hidden = dim if hidden is None else hidden
        context_dim = dim if context_dim is None else context_dim
        if min(dim, point_dim, neighbours, hidden, context_dim, chunk) < 1:
            raise ValueError(
                f"expected positive sizes, but got dim={dim}, point_dim={point_dim}, "
                f"neighbours={neighbours}, hidden={hidden}, context_dim={context_dim} and "
                f"chunk={chunk}"
            )
        self.dim = dim
        self.point_dim = point_dim
        self.neighbours = neighbours
        self.context_dim = context_dim
        self.chunk = chunk
        self.query = nn.Linear(dim, dim)
        self.key_value = nn.Linear(context_dim, 2 * dim)
        self.offset = nn.Sequential(nn.Linear(point_dim, hidden), nn.ReLU(), nn.Linear(hidden, dim))
        self.score = FeedForward(dim, hidden, activation="relu")
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw uniform matrices of variance 1 / fan-in; set the biases to 0."""
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.kaiming_uniform_(layer.weight, nonlinearity="linear")
                nn.init.zeros_(layer.bias)

    def context(self, y: Tensor, points: Tensor, weights: Tensor | None = None) -> VectorContext:
        """Project a measure on places with features, once for any number of queries.

        Args:
            y: Features (..., m, context_dim).
            points: Their places (..., m, point_dim).
            weights: (..., m), 0 for padding; None if all sets are full and uniform.

        Returns:
            The context that ``forward`` takes.

        Raises:
            ValueError: If shapes do not fit.
            TypeError: If the weights are not floating-point numbers.
        """
        check_width(y, self.context_dim)
        self._check_points(y, points)
        keys, values = self.key_value(clear_padding(y, weights)).chunk(2, -1)
        bias = None if weights is None else as_bias(log_weights(weights), keys)
        return VectorContext(keys, values, clear_padding(points, weights), bias)

    def forward(
        self,
        x: Tensor,
        points: Tensor,
        context: VectorContext | Tensor | None = None,
        weights: Tensor | None = None,
    ) -> Tensor:
        """Attend from each row to the context, or to the measure itself.

        Called as ``attention(x, points, weights)``, or with ``context=`` of another measure.

        Args:
            x: Features (..., n, dim).
            points: Their places (..., n, point_dim).
            context: What is attended to, from this module's ``context``; leading shapes are
                broadcast. None, or the weights of x: the measure itself.
            weights: (..., n), the weights of x, 0 for padding; None if all sets are full and
                uniform.

        Returns:
            (..., n, dim), 0 in padded rows, and 0 throughout for an empty context.

        Raises:
            TypeError: If what is given as context is features, not a context.
            ValueError: If shapes do not fit.
        """
        context, weights = own_weights(x, context, weights)
        check_width(x, self.dim)
        self._check_points(x, points)
        x, points = clear_padding(x, weights), clear_padding(points, weights)
        if context is None:
            context = self.context(x, points, weights)
        check_context(context, VectorContext)
        leading = torch.broadcast_shapes(  # type: ignore[no-untyped-call]
            x.shape[:-2], context.keys.shape[:-2]
        )
        bias = context.log_weights
        context = VectorContext(
            _flat(context.keys, leading),
            _flat(context.values, leading),
            _flat(context.points, leading),
            None if bias is None else _flat(bias.unsqueeze(-1), leading),
        )
        queries, places = _flat(self.query(x), leading), _flat(points, leading)
        there = None if context.log_weights is None else ~context.log_weights.isneginf()
        index, _ = nearest_points(
            places,
            context.points,
            None if there is None else there.squeeze(-1).to(places.dtype),
            count=self.neighbours,
        )
        if sizes_may_decide():
            parts = [slice(i, i + self.chunk) for i in range(0, max(1, x.shape[-2]), self.chunk)]
            out = torch.cat(
                [self._attend(queries[:, i], places[:, i], index[:, i], context) for i in parts], -2
            )
        else:  # a program with so many parts would be one for so many queries
            out = self._attend(queries, places, index, context)
        return clear_padding(out.reshape(*leading, *out.shape[-2:]), weights)

    def _attend(
        self, queries: Tensor, places: Tensor, index: Tensor, context: VectorContext
    ) -> Tensor:
        """Rows (b, c, dim) at places (b, c, point_dim) to the rows (b, c, k) of a context."""
        beside = places.unsqueeze(-2) - take_flat(context.points, index)
        offset = self.offset(beside.to(queries.dtype))  # places may be of another precision
        logits = self.score(queries.unsqueeze(-2) - take_flat(context.keys, index) + offset)
        nothing = None
        if context.log_weights is not None:
            bias = take_flat(context.log_weights, index)
            nothing = bias.isneginf().all(-2)
            # A softmax over nothing but -inf is 0/0; what comes of it is not used.
            logits = logits + torch.where(nothing.unsqueeze(-2), 0, bias)
        values = take_flat(context.values, index) + offset
        out = (logits.softmax(-2) * values).sum(-2)
        return out if nothing is None else torch.where(nothing, 0, out)

    def _check_points(self, x: Tensor, points: Tensor) -> None:
        check_width(points, self.point_dim)
        if points.shape[:-1] != x.shape[:-1]:
            raise ValueError(
                f"expected points of shape {(*x.shape[:-1], self.point_dim)}, one for each row of "
                f"features of shape {tuple(x.shape)}, but got {tuple(points.shape)}"
            )

    def extra_repr(self) -> str:
        """Sizes, as they were given."""
        context = "" if self.context_dim == self.dim else f", context_dim={self.context_dim}"
        return f"dim={self.dim}, point_dim={self.point_dim}, neighbours={self.neighbours}{context}"


def _flat(x: Tensor, leading: torch.Size) -> Tensor:
    """Expand (..., n, d) to the leading shape, and make that one axis."""
    return x.expand(*leading, *x.shape[-2:]).reshape(math.prod(leading), *x.shape[-2:])
