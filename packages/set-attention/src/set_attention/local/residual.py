"""Maps of single rows between groupings: a linear map with a norm, and residual maps of two."""

from typing import Literal

from torch import Tensor, nn

from set_attention.batch_norm import MeasureBatchNorm
from set_attention.feed_forward import Activation, activate, check_activation

RowNorm = Literal["batch", "layer"]


class RowMap(nn.Module):
    r"""Linear map and norm of each row, :math:`N(W x_i)`; the norm's shift is the bias.

    Args:
        dim: Width of the rows.
        out_dim: Width of the result.
        norm: ``"batch"``: ``MeasureBatchNorm``; ``"layer"``: ``torch.nn.LayerNorm``, under which a
            measure does not know its batch in training either.
    """

    def __init__(self, dim: int, out_dim: int, norm: RowNorm) -> None:
        super().__init__()
        if norm not in ("batch", "layer"):
            raise ValueError(f'expected norm "batch" or "layer", but got {norm!r}')
        self.linear = nn.Linear(dim, out_dim, bias=False)
        self.norm = MeasureBatchNorm(out_dim) if norm == "batch" else nn.LayerNorm(out_dim)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw a uniform matrix of variance 1 / fan-in, and reset the norm."""
        nn.init.kaiming_uniform_(self.linear.weight, nonlinearity="linear")
        self.norm.reset_parameters()

    def forward(self, x: Tensor, weights: Tensor) -> Tensor:
        """Map rows (..., n, dim) of weights (..., n) to (..., n, out_dim)."""
        return self.normalise(self.linear(x), weights)

    def normalise(self, x: Tensor, weights: Tensor) -> Tensor:
        """Norm of rows (..., n, out_dim) that the linear map has been applied to."""
        out: Tensor = (
            self.norm(x, weights) if isinstance(self.norm, MeasureBatchNorm) else self.norm(x)
        )
        return out


class ResidualMap(nn.Module):
    r"""Residual map of each row, :math:`y_i = \phi(x_i + N(W_2 \phi(N(W_1 x_i))))`.

    Ma et al. (2022), "PointMLP", there with ReLU.

    Args:
        dim: Width of the rows, in and out.
        hidden: Width between the two linear maps.
        norm: As in ``RowMap``.
        activation: ``"relu"`` or ``"gelu"``.
    """

    def __init__(self, dim: int, hidden: int, norm: RowNorm, activation: Activation) -> None:
        super().__init__()
        check_activation(activation)
        self.activation = activation
        self.inner = RowMap(dim, hidden, norm)
        self.outer = RowMap(hidden, dim, norm)

    def reset_parameters(self) -> None:
        """Reset both maps."""
        self.inner.reset_parameters()
        self.outer.reset_parameters()

    def forward(self, x: Tensor, weights: Tensor) -> Tensor:
        """Map rows (..., n, dim) of weights (..., n)."""
        hidden = activate(self.activation, self.inner(x, weights))
        return activate(self.activation, x + self.outer(hidden, weights))

    def extra_repr(self) -> str:
        """Activation, as it was given."""
        return f"activation={self.activation}"
