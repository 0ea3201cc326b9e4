"""The feed-forward map of a transformer block, on each row by itself."""

from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from set_attention.dropout import RowDropout
from set_attention.measures import check_width, clear_padding

Activation = Literal["gelu", "relu"]


def check_activation(activation: Activation) -> None:
    """Raise unless the name is known."""
    if activation not in ("gelu", "relu"):
        raise ValueError(f'expected activation "gelu" or "relu", but got {activation!r}')


def activate(activation: Activation, x: Tensor) -> Tensor:
    """GELU in its exact form, or ReLU."""
    return F.gelu(x) if activation == "gelu" else F.relu(x)


class FeedForward(nn.Module):
    r"""Two-layer perceptron on each row: :math:`W_2\,\phi(W_1 x_i + b_1) + b_2`.

    Vaswani et al. (2017), section 3.3; :math:`\phi` is GELU (Hendrycks and Gimpel 2016, the exact
    form) or ReLU.

    Args:
        dim: Width of the rows, in and out.
        hidden: Width between the two layers.
        dropout: Probability of the ``RowDropout`` on the hidden layer.
        activation: ``"gelu"`` or ``"relu"``.
    """

    def __init__(
        self,
        dim: int,
        hidden: int,
        dropout: float = 0.0,
        *,
        activation: Activation = "gelu",
    ) -> None:
        super().__init__()
        check_activation(activation)
        self.activation = activation
        if dim < 1 or hidden < 1:
            raise ValueError(f"expected positive widths, but got dim={dim} and hidden={hidden}")
        self.inner = nn.Linear(dim, hidden)
        self.dropout = RowDropout(dropout)
        self.outer = nn.Linear(hidden, dim)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw uniform matrices of variance 1 / fan-in; set the biases to 0."""
        for layer in (self.inner, self.outer):
            nn.init.kaiming_uniform_(layer.weight, nonlinearity="linear")
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor, weights: Tensor | None = None) -> Tensor:
        """Map each row by itself.

        Args:
            x: (..., n, dim).
            weights: (..., n), 0 for padding; None if all sets are full.

        Returns:
            (..., n, dim), 0 in padded rows.
        """
        check_width(x, self.inner.in_features)
        hidden = activate(self.activation, self.inner(clear_padding(x, weights)))
        return clear_padding(self.outer(self.dropout(hidden)), weights)

    def extra_repr(self) -> str:
        """Activation, as it was given."""
        return f"activation={self.activation}"
