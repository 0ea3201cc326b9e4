"""The equivariant-invariant bilinear layer: linear in one measure, and in the mean of another."""

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from set_attention.context import BilinearContext, check_context
from set_attention.measures import check_width, clear_padding
from set_attention.pooling import mean_pool


class Bilinear(nn.Module):
    r"""Equivariant in the rows of x, invariant in the points of y, linear in both.

    With the means :math:`\bar x` and :math:`\bar y` of the two measures,

    .. math::
        z_i = A(\bar y)\,x_i \; [\, + B(\bar y)\,\bar x \,] + b, \qquad
        A(\bar y)_{hp} = \sum_d \alpha_{phd}\,\bar y_d, \quad
        B(\bar y)_{hp} = \sum_d \beta_{phd}\,\bar y_d.

    Without the bracket it is the push-forward form: each point is moved by a map that depends on y
    alone. With it (``interacting=True``) the points of x also see their own mean. Layer of the
    distributional deep equilibrium models (arXiv 2503.01140), of which the published code sums y
    over all rows, padding included; here :math:`\bar y` is the weighted mean, a function of the
    measure. No normalisation, no activation. An empty y has mean 0, which leaves :math:`z_i = b`.

    The matrices are made once by ``context``; ``forward`` is then one batched product.

    Args:
        dim: Width of the rows x.
        context_dim: Width of the measure y.
        out_dim: Width of the result; None: ``dim``.
        interacting: Whether the mean of x enters.
    """

    def __init__(
        self, dim: int, context_dim: int, out_dim: int | None = None, *, interacting: bool = False
    ) -> None:
        super().__init__()
        out_dim = dim if out_dim is None else out_dim
        if min(dim, context_dim, out_dim) < 1:
            raise ValueError(
                f"expected positive widths, but got dim={dim}, context_dim={context_dim} and "
                f"out_dim={out_dim}"
            )
        self.dim = dim
        self.context_dim = context_dim
        self.out_dim = out_dim
        self.interacting = interacting
        self.weight = nn.Parameter(torch.empty(dim, out_dim, context_dim))
        self.mean_weight = (
            nn.Parameter(torch.empty(dim, out_dim, context_dim)) if interacting else None
        )
        self.bias = nn.Parameter(torch.empty(out_dim))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw uniform weights of variance 1 / (number of products in an output); bias 0.

        Independent entries of unit variance in x and in the mean of y then give such an output.
        """
        products = self.dim * self.context_dim * (2 if self.interacting else 1)
        bound = (3 / products) ** 0.5
        nn.init.uniform_(self.weight, -bound, bound)
        if self.mean_weight is not None:
            nn.init.uniform_(self.mean_weight, -bound, bound)
        nn.init.zeros_(self.bias)

    def context(self, y: Tensor, weights: Tensor | None = None) -> BilinearContext:
        """Contract the weights with the mean of a measure, once for any number of calls.

        Args:
            y: (..., m, context_dim).
            weights: (..., m), 0 for padding; None if all sets are full and uniform.

        Returns:
            The context that ``forward`` takes.
        """
        check_width(y, self.context_dim)
        mean = mean_pool(y, weights)
        return BilinearContext(
            self._contract(self.weight, mean),
            None if self.mean_weight is None else self._contract(self.mean_weight, mean),
        )

    def _contract(self, weight: Tensor, mean: Tensor) -> Tensor:
        matrix = F.linear(mean, rearrange(weight, "p h d -> (p h) d"))
        return rearrange(matrix, "... (p h) -> ... p h", p=self.dim)

    def forward(self, x: Tensor, context: BilinearContext, weights: Tensor | None = None) -> Tensor:
        """Map rows by the matrices of a context.

        Args:
            x: (..., n, dim).
            context: From this module's ``context``.
            weights: (..., n), the weights of x, 0 for padding; None if all sets are full and
                uniform.

        Returns:
            (..., n, out_dim), 0 in padded rows.

        Raises:
            TypeError: If what is given as context is not one.
            ValueError: If shapes do not fit, or the context is of the other form.
        """
        check_context(context, BilinearContext)
        check_width(x, self.dim)
        matrix, mean_matrix = context.matrix, context.mean_matrix
        if (mean_matrix is not None) != self.interacting:
            raise ValueError(
                f"expected a context with{'' if self.interacting else 'out'} a mean matrix, "
                f"interacting={self.interacting}; use the context of this very module"
            )
        offset: Tensor = self.bias
        x = clear_padding(x, weights)
        if mean_matrix is not None:
            offset = offset + mean_pool(x, weights).unsqueeze(-2) @ mean_matrix
        if x.dim() == matrix.dim() == 3 and x.shape[0] == matrix.shape[0]:
            # One kernel for product and sum; it takes one leading axis and does not broadcast it.
            out = torch.baddbmm(offset, x, matrix)
        else:
            out = x @ matrix + offset
        return clear_padding(out, weights)

    def extra_repr(self) -> str:
        """Sizes and form, as they were given."""
        return (
            f"dim={self.dim}, context_dim={self.context_dim}, out_dim={self.out_dim}, "
            f"interacting={self.interacting}"
        )
