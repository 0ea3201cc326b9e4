"""Residual blocks of a transformer, on measures."""

from collections.abc import Callable
from typing import Literal, TypedDict

from torch import Tensor, nn

from set_attention.attention import SetAttention
from set_attention.context import Context, check_context
from set_attention.dropout import RowDropout
from set_attention.feed_forward import Activation, FeedForward
from set_attention.measures import check_width, clear_padding
from set_attention.norm import Normalisation, apply_norm, build_norm
from set_attention.ragged import where_cheap

Norm = Literal["pre", "post"]


class BlockOptions(TypedDict, total=False):
    """What the blocks of the Set Transformer, SAB, MAB, ISAB and PMA, share, given by name.

    Attributes:
        norm: ``"post"`` (the default there) or ``"pre"``.
        dropout: Probability of the ``RowDropout`` on each branch and within the feed-forward maps;
            0 by default.
        activation: ``"relu"`` (the default there) or ``"gelu"``.
        normalisation: ``"layer"`` (the default): each row by itself; ``"set"``: ``SetNorm``.
    """

    norm: Norm
    dropout: float
    activation: Activation
    normalisation: Normalisation


class _ResidualBlock(nn.Module):
    """What the two blocks share: the parts, and the order of residual and normalisation."""

    def __init__(
        self,
        attention: SetAttention,
        hidden: int,
        norm: Norm,
        dropout: float,
        activation: Activation,
        normalisation: Normalisation,
    ) -> None:
        super().__init__()
        if norm not in ("pre", "post"):
            raise ValueError(f'expected norm "pre" or "post", but got {norm!r}')
        self.norm = norm
        self.attention = attention
        self.attention_norm = build_norm(normalisation, attention.dim)
        self.attention_dropout = RowDropout(dropout)
        self.feed_forward = FeedForward(attention.dim, hidden, dropout, activation=activation)
        self.feed_forward_norm = build_norm(normalisation, attention.dim)
        self.feed_forward_dropout = RowDropout(dropout)

    def reset_parameters(self) -> None:
        """Reset each part: matrices of variance 1 / fan-in, biases 0, normalisations 1 and 0."""
        self.attention.reset_parameters()
        self.attention_norm.reset_parameters()
        self.feed_forward.reset_parameters()
        self.feed_forward_norm.reset_parameters()

    def _residual(
        self, x: Tensor, weights: Tensor | None, attend: Callable[[Tensor], Tensor]
    ) -> Tensor:
        check_width(x, self.attention.dim)
        first, second = self.attention_norm, self.feed_forward_norm
        if self.norm == "pre":
            x = x + self.attention_dropout(attend(apply_norm(first, x, weights)))
            rows: Tensor = self.feed_forward(apply_norm(second, x, weights))
            out: Tensor = x + self.feed_forward_dropout(rows)
            return out
        x = apply_norm(first, x + self.attention_dropout(attend(x)), weights)
        return apply_norm(second, x + self.feed_forward_dropout(self.feed_forward(x)), weights)

    def extra_repr(self) -> str:
        """Order of residual and normalisation, as it was given."""
        return f"norm={self.norm}"


class TransformerBlock(_ResidualBlock):
    r"""Self-attention of a measure and a feed-forward map, each with residual and normalisation.

    With A = ``SetAttention``, M = ``FeedForward``, N and N' = ``torch.nn.LayerNorm`` on each row
    (or ``SetNorm``):

    .. math::
        \text{pre:}\quad  h = x + A(N(x)), \quad y = h + M(N'(h)) \\
        \text{post:}\quad h = N(x + A(x)), \quad y = N'(h + M(h))

    Post-norm is the block of Vaswani et al. (2017) and of the paper on the Set Transformer (Lee et
    al. 2019, SAB); pre-norm that of Xiong et al. (2020), and with ``normalisation="set"`` that of
    Zhang et al. (2022), whose residual path no norm interrupts.

    Args:
        dim: Width of the rows, in and out; a multiple of ``heads``.
        heads: Number of attention heads.
        hidden: Hidden width of the feed-forward map.
        norm: ``"pre"`` or ``"post"``.
        dropout: Probability of the ``RowDropout`` on each branch and within the feed-forward map.
        activation: ``"gelu"`` or ``"relu"``.
        normalisation: ``"layer"``: each row by itself; ``"set"``: ``SetNorm``.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        hidden: int,
        *,
        norm: Norm = "pre",
        dropout: float = 0.0,
        activation: Activation = "gelu",
        normalisation: Normalisation = "layer",
    ) -> None:
        super().__init__(SetAttention(dim, heads), hidden, norm, dropout, activation, normalisation)

    def forward(self, x: Tensor, weights: Tensor | None = None) -> Tensor:
        """Map a measure to features of its points.

        Args:
            x: (..., n, dim).
            weights: (..., n), 0 for padding; None if all sets are full and uniform.

        Returns:
            (..., n, dim), 0 in padded rows.
        """
        check_width(x, self.attention.dim)
        return where_cheap(self, self._map, x, weights)

    def _map(self, x: Tensor, weights: Tensor | None) -> Tensor:
        x = clear_padding(x, weights)
        out = self._residual(x, weights, lambda rows: self.attention(rows, weights=weights))
        return clear_padding(out, weights)


class CrossBlock(_ResidualBlock):
    r"""Attention of rows to another measure and a feed-forward map, with residual and norm.

    The formulas of ``TransformerBlock`` with attention to the context in place of the measure
    itself. Rows see the context alone, not each other. The context is not normalised here: end the
    encoder that makes it by a norm. An empty context adds exactly 0 to the residual.

    Args:
        dim: Width of the rows, in and out; a multiple of ``heads``.
        heads: Number of attention heads.
        hidden: Hidden width of the feed-forward map.
        context_dim: Width of the other measure; None: ``dim``.
        norm: ``"pre"`` or ``"post"``.
        dropout: Probability of the ``RowDropout`` on each branch and within the feed-forward map.
        activation: ``"gelu"`` or ``"relu"``.
        normalisation: ``"layer"``: each row by itself; ``"set"``: ``SetNorm``.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        hidden: int,
        *,
        context_dim: int | None = None,
        norm: Norm = "pre",
        dropout: float = 0.0,
        activation: Activation = "gelu",
        normalisation: Normalisation = "layer",
    ) -> None:
        context_dim = dim if context_dim is None else context_dim
        attention = SetAttention(dim, heads, context_dim)
        super().__init__(attention, hidden, norm, dropout, activation, normalisation)

    def context(self, y: Tensor, weights: Tensor | None = None) -> Context:
        """Project the other measure to keys and values, once for any number of calls.

        Args:
            y: (..., m, context_dim).
            weights: (..., m), 0 for padding; None if all sets are full and uniform.

        Returns:
            The context that ``forward`` takes.
        """
        return self.attention.context(y, weights)

    def forward(self, x: Tensor, context: Context, weights: Tensor | None = None) -> Tensor:
        """Map rows in view of a context.

        Args:
            x: (..., n, dim).
            context: From this module's ``context``.
            weights: (..., n), the weights of x, 0 for padding; None if all sets are full. With
                ``normalisation="layer"`` only whether they are 0 matters.

        Returns:
            (..., n, dim), 0 in padded rows.

        Raises:
            TypeError: If what is given as context is not one.
            ValueError: If shapes do not fit, or the context is another module's.
        """
        check_context(context, Context)
        x = clear_padding(x, weights)
        out = self._residual(x, weights, lambda rows: self.attention(rows, context))
        return clear_padding(out, weights)
