"""The blocks of the Set Transformer (Lee et al. 2019), on measures."""

from typing import Unpack

import torch
from torch import Tensor, nn

from set_attention.blocks import BlockOptions, CrossBlock, TransformerBlock
from set_attention.context import Context
from set_attention.feed_forward import FeedForward
from set_attention.measures import check_width, clear_padding
from set_attention.norm import apply_norm, build_norm
from set_attention.ragged import where_cheap

# What Lee et al. (2019) chose, where nothing else is asked for.
_PAPER: BlockOptions = {"norm": "post", "activation": "relu"}


class MAB(CrossBlock):
    r"""Multi-head attention block, MAB(X, Y): rows of X attend to the measure Y.

    With A = ``SetAttention``, M = ``FeedForward`` and norms N, N', N'':

    .. math::
        \text{post:}\quad H = N(X + A(X, Y)), \quad \mathrm{MAB} = N'(H + M(H)) \\
        \text{pre:}\quad  H = X + A(N(X), N''(Y)), \quad \mathrm{MAB} = H + M(N'(H))

    Post-norm with ``torch.nn.LayerNorm`` is the block of Lee et al. (2019), equations 6 and 7.
    Pre-norm with ``normalisation="set"`` follows Zhang et al. (2022), who keep the residual path
    free of norms; their published code has the scale and the one-layer M of the next paragraph, no
    :math:`W_o`, and lets the learned points of ISAB enter unnormalised. It is called as
    ``mab(x, context=mab.context(y, v), weights=w)``: the context may be kept.

    Logits are scaled by :math:`1/\sqrt{dim/heads}`, as in Vaswani et al. (2017). The published code
    differs from the block above: it scales by
    :math:`1/\sqrt{dim}` whatever the number of heads; it has no output projection
    :math:`W_o`, and adds the heads to the projected queries :math:`W_q X + b_q`, not to X; its M is
    one layer, :math:`\mathrm{relu}(W H + b)`; its norms are off by default; it has no masks.

    Args:
        dim: Width of X and of the result; a multiple of ``heads``.
        heads: Number of attention heads.
        hidden: Hidden width of the feed-forward map; None: ``dim``.
        context_dim: Width of Y; None: ``dim``.
        options: ``norm``, ``dropout``, ``activation``, ``normalisation``; see ``BlockOptions``.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        hidden: int | None = None,
        *,
        context_dim: int | None = None,
        **options: Unpack[BlockOptions],
    ) -> None:
        super().__init__(
            dim,
            heads,
            dim if hidden is None else hidden,
            context_dim=context_dim,
            **(_PAPER | options),
        )
        kind, width = options.get("normalisation", "layer"), self.attention.context_dim
        self.context_norm = build_norm(kind, width) if self.norm == "pre" else None

    def reset_parameters(self) -> None:
        """Reset each part: matrices of variance 1 / fan-in, biases 0, normalisations 1 and 0."""
        super().reset_parameters()
        if self.context_norm is not None:
            self.context_norm.reset_parameters()

    def context(self, y: Tensor, weights: Tensor | None = None) -> Context:
        """Normalise (pre-norm alone) and project the measure Y, once for any number of calls.

        Args:
            y: (..., m, context_dim).
            weights: (..., m), 0 for padding; None if all sets are full and uniform.

        Returns:
            The context that ``forward`` takes.
        """
        if self.context_norm is not None:
            check_width(y, self.attention.context_dim)
            y = apply_norm(self.context_norm, clear_padding(y, weights), weights)
        return super().context(y, weights)


class SAB(TransformerBlock):
    r"""Set attention block, :math:`\mathrm{SAB}(X) = \mathrm{MAB}(X, X)`: O(n²).

    Lee et al. (2019), equation 8: ``TransformerBlock`` with that paper's choices. In the pre-norm
    form one norm serves queries and keys, as in any transformer. For where the published code
    departs see ``MAB``.

    Args:
        dim: Width of the rows, in and out; a multiple of ``heads``.
        heads: Number of attention heads.
        hidden: Hidden width of the feed-forward map; None: ``dim``.
        options: ``norm``, ``dropout``, ``activation``, ``normalisation``; see ``BlockOptions``.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        hidden: int | None = None,
        **options: Unpack[BlockOptions],
    ) -> None:
        super().__init__(
            dim,
            heads,
            dim if hidden is None else hidden,
            **(_PAPER | options),
        )


class ISAB(nn.Module):
    r"""Induced set attention block: self-attention by way of k learned points, O(n k).

    .. math::
        \mathrm{ISAB}(X) = \mathrm{MAB}(X, H), \qquad H = \mathrm{MAB}(I, X)

    with learned inducing points :math:`I \in \mathbb{R}^{k \times dim}`. Lee et al. (2019),
    equations 9 and 10; with ``norm="pre", normalisation="set"`` after Zhang et al. (2022). An empty
    set leaves H a function of I alone. For where the published code departs see ``MAB``.

    Args:
        dim: Width of the rows, in and out; a multiple of ``heads``.
        heads: Number of attention heads.
        inducing: Number k of inducing points.
        hidden: Hidden width of the feed-forward maps; None: ``dim``.
        options: ``norm``, ``dropout``, ``activation``, ``normalisation``; see ``BlockOptions``.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        inducing: int,
        hidden: int | None = None,
        **options: Unpack[BlockOptions],
    ) -> None:
        super().__init__()
        if inducing < 1:
            raise ValueError(f"expected at least one inducing point, but got inducing={inducing}")

        def block() -> MAB:
            return MAB(dim, heads, hidden, **options)

        self.inducing = nn.Parameter(torch.empty(inducing, dim))
        self.gather = block()
        self.spread = block()
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw normal inducing points of unit scale, and reset the blocks."""
        nn.init.normal_(self.inducing)
        self.gather.reset_parameters()
        self.spread.reset_parameters()

    def summary(self, x: Tensor, weights: Tensor | None = None) -> Tensor:
        """What the inducing points gather from a measure, H above.

        Args:
            x: (..., n, dim).
            weights: (..., n), 0 for padding; None if all sets are full and uniform.

        Returns:
            (..., inducing, dim), invariant.
        """
        out: Tensor = self.gather(self.inducing, self.gather.context(x, weights))
        return out

    def forward(self, x: Tensor, weights: Tensor | None = None) -> Tensor:
        """Map a measure to features of its points.

        Args:
            x: (..., n, dim).
            weights: (..., n), 0 for padding; None if all sets are full and uniform.

        Returns:
            (..., n, dim), 0 in padded rows.
        """
        check_width(x, self.inducing.shape[-1])
        return where_cheap(self, self._map, x, weights)

    def _map(self, x: Tensor, weights: Tensor | None) -> Tensor:
        context = self.spread.context(self.summary(x, weights))
        out: Tensor = self.spread(x, context, weights)
        return out

    def extra_repr(self) -> str:
        """Number of inducing points, as it was given."""
        return f"inducing={len(self.inducing)}"


class PMA(nn.Module):
    r"""Pooling by multi-head attention: from a measure to k rows.

    .. math:: \mathrm{PMA}(X) = \mathrm{MAB}(S, M(X))

    with learned seeds :math:`S \in \mathbb{R}^{k \times dim}` and a ``FeedForward`` M on each row.
    Lee et al. (2019), equation 11; the published code leaves M out (see also ``MAB``). The k rows
    know nothing of each other: let an ``SAB`` follow if they should. For bare attention of seeds,
    without residual and feed-forward map, see ``AttentionPool``. An empty set gives a function of
    the seeds alone.

    Args:
        dim: Width of the rows, in and out; a multiple of ``heads``.
        heads: Number of attention heads.
        seeds: Number k of rows of the result.
        hidden: Hidden width of the feed-forward maps; None: ``dim``.
        options: ``norm``, ``dropout``, ``activation``, ``normalisation``; see ``BlockOptions``.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        seeds: int = 1,
        hidden: int | None = None,
        **options: Unpack[BlockOptions],
    ) -> None:
        super().__init__()
        if seeds < 1:
            raise ValueError(f"expected at least one seed, but got seeds={seeds}")
        hidden = dim if hidden is None else hidden
        self.seeds = nn.Parameter(torch.empty(seeds, dim))
        activation = options.get("activation", _PAPER["activation"])
        dropout = options.get("dropout", 0.0)
        self.feed_forward = FeedForward(dim, hidden, dropout, activation=activation)
        self.block = MAB(dim, heads, hidden, **options)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw normal seeds of unit scale, and reset the feed-forward map and the block."""
        nn.init.normal_(self.seeds)
        self.feed_forward.reset_parameters()
        self.block.reset_parameters()

    def forward(self, x: Tensor, weights: Tensor | None = None) -> Tensor:
        """Pool a measure.

        Args:
            x: (..., n, dim).
            weights: (..., n), 0 for padding; None if all sets are full and uniform.

        Returns:
            (..., seeds, dim).
        """
        context = self.block.context(self.feed_forward(x, weights), weights)
        out: Tensor = self.block(self.seeds, context)
        return out

    def extra_repr(self) -> str:
        """Number of seeds, as it was given."""
        return f"seeds={len(self.seeds)}"
