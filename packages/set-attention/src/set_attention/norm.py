"""Normalisation of a set as a whole, and the choice between it and that of each row."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from set_attention.measures import check_width, clear_padding, shares

Normalisation = Literal["layer", "set"]


class SetNorm(nn.Module):
    r"""Normalisation by the mean and the variance of all features of all points of a set.

    .. math::
        y_{ip} = \gamma_p \frac{x_{ip} - m}{\sqrt{v + \epsilon}} + \beta_p, \qquad
        m = \frac{1}{d} \sum_{ip} \bar w_i x_{ip}, \quad
        v = \frac{1}{d} \sum_{ip} \bar w_i (x_{ip} - m)^2,

    with :math:`\bar w_i = w_i / \sum_j w_j`: two numbers per measure. Zhang et al. (2022), "Set
    norm and equivariant skip connections", with their means over the points taken over the measure.
    ``torch.nn.LayerNorm`` normalises each row by itself and so forgets how far a point is from the
    others of its set; this norm keeps it, and commutes with everything that depends on the measure
    alone. Statistics are those of the set at hand, also in evaluation. They are computed in float32
    at least. An empty set gives 0.

    Args:
        dim: Width d of the rows.
        epsilon: Added to the variance.
    """

    def __init__(self, dim: int, epsilon: float = 1e-5) -> None:
        super().__init__()
        if dim < 1 or not epsilon > 0:
            raise ValueError(
                f"expected a positive width and a positive epsilon, but got dim={dim} and "
                f"epsilon={epsilon}"
            )
        self.epsilon = epsilon
        self.weight = nn.Parameter(torch.empty(dim))
        self.bias = nn.Parameter(torch.empty(dim))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set the scale to 1 and the shift to 0."""
        nn.init.ones_(self.weight)
        nn.init.zeros_(self.bias)

    def forward(self, x: Tensor, weights: Tensor | None = None) -> Tensor:
        """Normalise each measure.

        Args:
            x: (..., n, dim).
            weights: (..., n), 0 for padding; None if all sets are full and uniform.

        Returns:
            (..., n, dim), in the dtype of x; 0 in padded rows.
        """
        check_width(x, len(self.weight))
        if not x.shape[-2]:
            return x
        precise = x.to(torch.promote_types(x.dtype, torch.float32))
        if weights is None:
            normal = F.layer_norm(precise, x.shape[-2:], eps=self.epsilon)
        else:
            precise = clear_padding(precise, weights)
            share = shares(weights).to(precise.dtype).unsqueeze(-1)
            mean = (share * precise.mean(-1, keepdim=True)).sum(-2, keepdim=True)
            centred = precise - mean
            spread = centred.square().mean(-1, keepdim=True)
            variance = (share * spread).sum(-2, keepdim=True)
            normal = centred * (variance + self.epsilon).rsqrt()
        return clear_padding((normal * self.weight + self.bias).to(x.dtype), weights)

    def extra_repr(self) -> str:
        """Width and epsilon."""
        return f"dim={len(self.weight)}, epsilon={self.epsilon}"


def build_norm(normalisation: Normalisation, dim: int) -> nn.LayerNorm | SetNorm:
    """``torch.nn.LayerNorm`` on each row, or ``SetNorm``."""
    if normalisation == "layer":
        return nn.LayerNorm(dim)
    if normalisation == "set":
        return SetNorm(dim)
    raise ValueError(f'expected normalisation "layer" or "set", but got {normalisation!r}')


def apply_norm(norm: nn.LayerNorm | SetNorm, x: Tensor, weights: Tensor | None) -> Tensor:
    """Normalise a measure by what ``build_norm`` made."""
    out: Tensor = norm(x, weights) if isinstance(norm, SetNorm) else norm(x)
    return out
