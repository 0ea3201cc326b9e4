"""Attention against a measure: the free function, and the multi-head module."""

import math

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from set_attention.context import Context, check_context, own_weights
from set_attention.measures import (
    as_bias,
    check_width,
    clear_padding,
    finite_log_weights,
    is_full,
)
from set_attention.ragged import where_cheap


def attend(
    queries: Tensor, keys: Tensor, values: Tensor, log_weights: Tensor | None = None
) -> Tensor:
    r"""Attention of queries to a weighted measure of keys and values.

    .. math::
        o_i = \sum_j w_j e^{q_i \cdot k_j / \sqrt h} v_j \Big/
              \sum_j w_j e^{q_i \cdot k_j / \sqrt h}

    This is the scaled dot-product attention of Vaswani et al. (2017) with the counting measure
    replaced by :math:`\sum_j w_j \delta_{(k_j, v_j)}`: the weights enter as :math:`\log w_j`, added
    to the logits. A point of weight 0 vanishes, whatever its key and value hold, and two equal
    points act as one of the sum of their weights. Attention to an empty set is 0.

    Runs on ``torch.nn.functional.scaled_dot_product_attention``; without log-weights no mask is
    passed, so that every fused kernel applies. Those kernels are differentiable once. For second
    derivatives run the forward pass under
    ``torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH)``.

    Args:
        queries: (..., n, h).
        keys: (..., m, h).
        values: (..., m, v).
        log_weights: (..., m), -inf for padding (see ``log_weights``), in any precision; None if
            all points count alike. All leading shapes are broadcast.

    Returns:
        (..., n, v).
    """
    if log_weights is None:
        return _attend(queries, keys, values, None)
    log_weights = as_bias(log_weights, queries)
    padding = log_weights.isneginf()
    if is_full(~padding, keys):
        return _attend(queries, keys, values, log_weights)
    row = padding.unsqueeze(-1)
    bias = torch.where(padding.all(-1, keepdim=True), 0, log_weights)
    return _attend(queries, torch.where(row, 0, keys), torch.where(row, 0, values), bias)


def attention_weights(queries: Tensor, keys: Tensor, log_weights: Tensor | None = None) -> Tensor:
    r"""The weights with which ``attend`` averages values, for a picture of what is looked at.

    .. math::
        a_{ij} = w_j e^{q_i \cdot k_j / \sqrt h} \Big/ \sum_l w_l e^{q_i \cdot k_l / \sqrt h},
        \qquad o_i = \sum_j a_{ij} v_j

    They sum to 1 over j. A point of weight 0 gets 0; of an empty set all are 0. All n m numbers are
    made, which the fused kernels of ``attend`` avoid: not for training.

    Args:
        queries: (..., n, h).
        keys: (..., m, h).
        log_weights: (..., m), -inf for padding; None if all points count alike. All leading shapes
            are broadcast.

    Returns:
        (..., n, m).
    """
    scale = 1 / math.sqrt(queries.shape[-1])
    if log_weights is None:
        return (scale * queries @ keys.mT).softmax(-1)
    padding = log_weights.isneginf().unsqueeze(-2)
    nothing = padding.all(-1, keepdim=True)
    bias = torch.where(nothing, 0, as_bias(log_weights, queries).unsqueeze(-2))
    logits = scale * queries @ torch.where(padding.mT, 0, keys).mT
    return torch.where(nothing, 0, (logits + bias).softmax(-1))


def _attend(queries: Tensor, keys: Tensor, values: Tensor, bias: Tensor | None) -> Tensor:
    """Attention to keys and values (..., m, h) that hold no padding an output could see.

    The fused kernels of torch take tensors (batch, heads, rows, h) of equal leading shape alone;
    whatever else comes is brought to that shape.
    """
    mask = None if bias is None else bias.unsqueeze(-2)
    leading = queries.shape[:-2]
    if len(leading) == 2 and leading == keys.shape[:-2] == values.shape[:-2]:
        return F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask)
    others = [x.shape[:-2] for x in (keys, values, mask) if x is not None]
    leading = torch.broadcast_shapes(leading, *others)  # type: ignore[no-untyped-call]
    out = F.scaled_dot_product_attention(
        _four_axes(queries, leading),
        _four_axes(keys, leading),
        _four_axes(values, leading),
        attn_mask=None if mask is None else _four_axes(mask, leading),
    )
    return out.reshape(*leading, *out.shape[-2:])


def _four_axes(x: Tensor, leading: torch.Size) -> Tensor:
    """Expand (..., n, h) to the leading shape, and make that two axes."""
    x = x.expand(*leading, *x.shape[-2:])
    heads = leading[-1] if leading else 1
    return x.reshape(math.prod(leading[:-1]), heads, *x.shape[-2:])


class SetAttention(nn.Module):
    r"""Multi-head attention of rows to a weighted measure, or of a measure to itself.

    With :math:`q = W_q x_i + b_q`, :math:`k_j = W_k y_j + b_k` and :math:`v_j = W_v y_j + b_v`
    split into heads, each head is ``attend`` (logits scaled by :math:`1/\sqrt{dim/heads}`), and
    :math:`W_o` maps the joined heads to the result. No residual, no normalisation. Vaswani et al.
    (2017); ``torch.nn.MultiheadAttention`` on full sets.

    The output map has no bias, so that attention to an empty set is exactly 0. Nothing is lost: the
    attention weights sum to 1, so a bias :math:`b_o` is the value bias :math:`W_o^{-1} b_o`.

    What the keys and values need to know of the measure is computed once by ``context`` and can be
    queried any number of times::

        context = attention.context(y, weights)
        for _ in range(steps):
            x = attention(x, context=context)

    Args:
        dim: Width of the rows x and of the result; a multiple of ``heads``.
        heads: Number of heads.
        context_dim: Width of the measure y. None (attention of a set to itself): ``dim``, with the
            three input projections in one matrix, applied in one product.
    """

    def __init__(self, dim: int, heads: int, context_dim: int | None = None) -> None:
        super().__init__()
        if dim < 1 or heads < 1 or dim % heads:
            raise ValueError(
                f"expected dim to be a positive multiple of heads, but got dim={dim} and "
                f"heads={heads}; choose heads among the divisors of dim"
            )
        self.dim = dim
        self.heads = heads
        self.context_dim = dim if context_dim is None else context_dim
        self.packed = context_dim is None
        if self.packed:
            self.query_key_value = nn.Linear(dim, 3 * dim)
        else:
            self.query = nn.Linear(dim, dim)
            self.key_value = nn.Linear(self.context_dim, 2 * dim)
        self.output = nn.Linear(dim, dim, bias=False)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw uniform matrices of variance 1 / fan-in, so that unit rows give unit logits."""
        for layer in self.children():
            assert isinstance(layer, nn.Linear)
            nn.init.kaiming_uniform_(layer.weight, nonlinearity="linear")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)

    def context(self, y: Tensor, weights: Tensor | None = None) -> Context:
        """Project a measure to keys and values, once for any number of queries.

        Args:
            y: (..., m, context_dim).
            weights: (..., m), 0 for padding; None if all sets are full and uniform.

        Returns:
            The context that ``forward`` takes.

        Raises:
            ValueError: If the shape of the weights is not that of the rows.
            TypeError: If the weights are not floating-point numbers.
        """
        keys, values = self._keys_values(clear_padding(y, weights))
        if weights is None:
            return Context(keys, values)
        # Of an empty set the softmax is uniform, so the bias in its values has to go as well.
        points = weights > 0
        if not is_full(points.any(-1), values):
            values = torch.where(points[..., None, :, None], values, 0)
        bias = as_bias(finite_log_weights(weights), keys)
        return Context(keys, values, bias.unsqueeze(-2))

    def forward(
        self, x: Tensor, context: Context | Tensor | None = None, weights: Tensor | None = None
    ) -> Tensor:
        """Attend from each row of x to the context, or to the measure x itself.

        Called as ``attention(x, weights)``, or with ``context=`` of another measure.

        Args:
            x: (..., n, dim).
            context: What is attended to, from this module's ``context``; its leading shape is
                broadcast against that of x. None, or the weights of x: the measure x itself.
            weights: (..., n), the weights of x, 0 for padding; None if all sets are full and
                uniform.

        Returns:
            (..., n, dim), 0 in padded rows, and 0 throughout for an empty context.

        Raises:
            TypeError: If what is given as context is features, not a context.
            ValueError: If shapes do not fit, or the context is another module's.
        """
        context, weights = own_weights(x, context, weights)
        if context is None:
            check_width(x, self.dim)
            return where_cheap(self, self._attend_self, x, weights)
        return clear_padding(self._attend(clear_padding(x, weights), context), weights)

    def attention_weights(
        self, x: Tensor, context: Context | Tensor | None = None, weights: Tensor | None = None
    ) -> Tensor:
        """How much each row looks at each point, head by head: for pictures.

        Args:
            x: (..., n, dim).
            context: As in ``forward``: from this module's ``context``, or the weights of x, or
                None.
            weights: (..., n), the weights of x, 0 for padding; None if all sets are full.

        Returns:
            (..., heads, n, m), summing to 1 over the points; 0 at padding and in padded rows. Of an
            empty context they are uniform: it holds values 0, and these are averaged.
        """
        context, weights = own_weights(x, context, weights)
        x = clear_padding(x, weights)
        context = self.context(x, weights) if context is None else context
        self._check_heads(context)
        out = attention_weights(self._queries(x), context.keys, context.log_weights)
        return out if weights is None else torch.where(weights[..., None, :, None] > 0, out, 0)

    def _attend(self, x: Tensor, context: Context) -> Tensor:
        self._check_heads(context)
        heads = _attend(self._queries(x), context.keys, context.values, context.log_weights)
        return self._join(heads)

    def _check_heads(self, context: Context) -> None:
        check_context(context, Context)
        keys = context.keys
        if keys.shape[-3] != self.heads or keys.shape[-1] * self.heads != self.dim:
            raise ValueError(
                f"expected a context of {self.heads} heads of width {self.dim // self.heads}, but "
                f"got keys of shape {tuple(keys.shape)}; use the context of this very module"
            )

    def _attend_self(self, x: Tensor, weights: Tensor | None) -> Tensor:
        if self.context_dim != self.dim:
            raise ValueError(
                f"expected a context, since context_dim={self.context_dim} differs from "
                f"dim={self.dim}, but got None; make one by this module's context method"
            )
        x = clear_padding(x, weights)
        bias = None
        if weights is not None:
            bias = as_bias(finite_log_weights(weights), x).unsqueeze(-2)
        if self.packed:
            parts = self.query_key_value(x).chunk(3, -1)
            queries, keys, values = (self._split(part) for part in parts)
        else:
            queries, (keys, values) = self._queries(x), self._keys_values(x)
        return clear_padding(self._join(_attend(queries, keys, values, bias)), weights)

    def _queries(self, x: Tensor) -> Tensor:
        check_width(x, self.dim)
        if self.packed:
            layer = self.query_key_value
            projected = F.linear(x, layer.weight[: self.dim], layer.bias[: self.dim])
        else:
            projected = self.query(x)
        return self._split(projected)

    def _keys_values(self, y: Tensor) -> tuple[Tensor, Tensor]:
        check_width(y, self.context_dim)
        if self.packed:
            layer = self.query_key_value
            projected = F.linear(y, layer.weight[self.dim :], layer.bias[self.dim :])
        else:
            projected = self.key_value(y)
        keys, values = projected.chunk(2, -1)
        return self._split(keys), self._split(values)

    def _split(self, rows: Tensor) -> Tensor:
        return rearrange(rows, "... n (head h) -> ... head n h", head=self.heads)

    def _join(self, heads: Tensor) -> Tensor:
        out: Tensor = self.output(rearrange(heads, "... head n h -> ... n (head h)"))
        return out

    def extra_repr(self) -> str:
        """Sizes, as they were given."""
        context = "" if self.packed else f", context_dim={self.context_dim}"
        return f"dim={self.dim}, heads={self.heads}{context}"
