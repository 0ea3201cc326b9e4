"""Layers of deep sets (Zaheer et al. 2017): each row, and a pooled row for all."""

from typing import Literal

import torch
from torch import Tensor, nn

from set_attention.dropout import RowDropout
from set_attention.feed_forward import Activation, activate, check_activation
from set_attention.measures import check_width, clear_padding
from set_attention.norm import Normalisation, apply_norm, build_norm
from set_attention.pooling import max_pool, mean_pool

Pool = Literal["mean", "max"]


class EquivariantLinear(nn.Module):
    r"""Linear in each row, and in the pooled row: :math:`y_i = \Lambda x_i + \Gamma\bar x + b`.

    With :math:`\bar x` the weighted mean of the measure, or the maximum of each feature over its
    points. Zaheer et al. (2017), lemma 3: every linear equivariant map of rows has the form with
    the mean. Their sum in place of the mean would not be a function of a
    measure. An empty set has :math:`\bar x = 0`.

    Args:
        dim: Width of the rows.
        out_dim: Width of the result; None: ``dim``.
        pool: ``"mean"`` or ``"max"``.
    """

    def __init__(self, dim: int, out_dim: int | None = None, *, pool: Pool = "mean") -> None:
        super().__init__()
        out_dim = dim if out_dim is None else out_dim
        if dim < 1 or out_dim < 1:
            raise ValueError(f"expected positive widths, but got dim={dim} and out_dim={out_dim}")
        if pool not in ("mean", "max"):
            raise ValueError(f'expected pool "mean" or "max", but got {pool!r}')
        self.pool = pool
        self.rows = nn.Linear(dim, out_dim)
        self.pooled = nn.Linear(dim, out_dim, bias=False)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw uniform matrices of variance 1 / (2 dim), so that both terms count; bias 0."""
        for layer in (self.rows, self.pooled):
            nn.init.kaiming_uniform_(layer.weight, nonlinearity="linear")
            with torch.no_grad():
                layer.weight *= 0.5**0.5
        nn.init.zeros_(self.rows.bias)

    def forward(self, x: Tensor, weights: Tensor | None = None) -> Tensor:
        """Map a measure to features of its points.

        Args:
            x: (..., n, dim).
            weights: (..., n), 0 for padding; None if all sets are full and uniform.

        Returns:
            (..., n, out_dim), 0 in padded rows.
        """
        check_width(x, self.rows.in_features)
        x = clear_padding(x, weights)
        pooled = mean_pool(x, weights) if self.pool == "mean" else max_pool(x, weights)
        out = self.rows(x) + self.pooled(pooled).unsqueeze(-2)
        return clear_padding(out, weights)

    def extra_repr(self) -> str:
        """Pooling, as it was given."""
        return f"pool={self.pool}"


class DeepSetsBlock(nn.Module):
    r"""Residual block of deep sets: :math:`y = x + W\,\phi(E(N(x))) + b`.

    With N = ``SetNorm`` or ``torch.nn.LayerNorm``, E = ``EquivariantLinear`` from ``dim`` to
    ``hidden``, :math:`\phi` ReLU or GELU. After Zhang et al. (2022), whose deep sets have set norm
    and a residual path free of norms (their published block norms and activates before each of two
    linear layers, and has no pooled term), with the pooled term of Zaheer et al. (2017) inside, so
    that a stack of blocks lets points know of each other. Costs O(n); no attention.

    Args:
        dim: Width of the rows, in and out.
        hidden: Width between the two layers.
        pool: ``"mean"`` or ``"max"``.
        dropout: Probability of the ``RowDropout`` on the branch.
        activation: ``"relu"`` or ``"gelu"``.
        normalisation: ``"set"``: ``SetNorm``; ``"layer"``: each row by itself.
    """

    def __init__(
        self,
        dim: int,
        hidden: int,
        *,
        pool: Pool = "mean",
        dropout: float = 0.0,
        activation: Activation = "relu",
        normalisation: Normalisation = "set",
    ) -> None:
        super().__init__()
        check_activation(activation)
        self.activation = activation
        self.norm = build_norm(normalisation, dim)
        self.inner = EquivariantLinear(dim, hidden, pool=pool)
        self.outer = nn.Linear(hidden, dim)
        self.dropout = RowDropout(dropout)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Reset each part: matrices of variance 1 / fan-in, biases 0, the norm 1 and 0."""
        self.norm.reset_parameters()
        self.inner.reset_parameters()
        nn.init.kaiming_uniform_(self.outer.weight, nonlinearity="linear")
        nn.init.zeros_(self.outer.bias)

    def forward(self, x: Tensor, weights: Tensor | None = None) -> Tensor:
        """Map a measure to features of its points.

        Args:
            x: (..., n, dim).
            weights: (..., n), 0 for padding; None if all sets are full and uniform.

        Returns:
            (..., n, dim), 0 in padded rows.
        """
        check_width(x, self.outer.out_features)
        x = clear_padding(x, weights)
        hidden = self.inner(apply_norm(self.norm, x, weights), weights)
        out = x + self.dropout(self.outer(activate(self.activation, hidden)))
        return clear_padding(out, weights)

    def extra_repr(self) -> str:
        """Activation, as it was given."""
        return f"activation={self.activation}"
