"""Pooling: from a measure to one vector."""

from typing import Any

import torch
from torch import Tensor, nn

from set_attention.attention import SetAttention
from set_attention.measures import (
    WORTH_A_LOOK,
    check_features,
    check_weights,
    clear_padding,
    filling,
    is_full,
    shares,
    weighted_sum,
)
from set_attention.precision import is_autocast_on


def mean_pool(x: Tensor, weights: Tensor | None = None) -> Tensor:
    r"""Mean of a measure, :math:`\sum_i w_i x_i / \sum_i w_i`; 0 for an empty set.

    Summed in float32 at least, also under autocast.

    Args:
        x: (..., n, d).
        weights: (..., n), 0 for padding; None if all sets are full and uniform.

    Returns:
        (..., d), in the dtype of x.
    """
    check_features(x)
    if weights is None:
        # The mean of no rows would be 0/0.
        return x.mean(-2) if x.shape[-2] else x.sum(-2)
    precise = clear_padding(x, weights).to(torch.promote_types(x.dtype, torch.float32))
    share = shares(weights).to(precise.dtype)
    if is_autocast_on(x):
        # Autocast would round both factors of a product, and a uniform weight errs in each term.
        mean = (share.unsqueeze(-1) * precise).sum(-2)
    else:
        mean = weighted_sum(share, precise)
    return mean.to(x.dtype)


def max_pool(x: Tensor, weights: Tensor | None = None) -> Tensor:
    """Largest value of each feature over the points of a measure; 0 for an empty set.

    The value depends on the support alone. Where several points attain it, each gets an equal part
    of the gradient.

    Args:
        x: (..., n, d).
        weights: (..., n), 0 for padding; None if all sets are full.

    Returns:
        (..., d).
    """
    check_features(x)
    if not x.shape[-2]:
        return x.sum(-2)
    if weights is None:
        return _largest(x)
    check_weights(x, weights)
    points = weights > 0
    if is_full(points, x):
        return _largest(x)
    fill = filling(weights, -torch.inf, x.dtype)
    largest = _largest(torch.where(points.unsqueeze(-1), x, fill))
    return torch.where(points.any(-1, keepdim=True) | largest.isnan(), largest, 0)


def _largest(x: Tensor) -> Tensor:
    """``x.amax(-2)``."""
    # First, since while code is exported a comparison would fix the size.
    if torch.compiler.is_compiling() or x.numel() < WORTH_A_LOOK:
        return x.amax(-2)
    out: Tensor = _Largest.apply(x)  # type: ignore[no-untyped-call]
    return out


class _Largest(torch.autograd.Function):
    r"""``x.amax(-2)`` and its derivative, in four passes over the rows.

    With the number :math:`c_p = \#\{i : x_{ip} = y_p\}` of rows that attain the maximum y, the
    gradient of row i is :math:`[x_{ip} = y_p]\, g_p / c_p`. PyTorch's own counts in int64, which
    makes a copy of twice the size of x, and takes longer than the product that x came from.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x.amax(-2)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs, output)
        ctx.save_for_forward(*inputs, output)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:
        attained, count = _attained(*ctx.saved_tensors)
        # Not in place: several gradients may come at once (`is_grads_batched`).
        return attained * (g / count).unsqueeze(-2)

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor) -> Tensor:
        attained, count = _attained(*ctx.saved_tensors)
        return (attained * tangent).sum(-2) / count


@torch.no_grad()
def _attained(x: Tensor, largest: Tensor) -> tuple[Tensor, Tensor]:
    """1 where a row attains the maximum and 0 elsewhere, and how many do."""
    attained = x.clone().eq_(largest.unsqueeze(-2))  # numbers, not bits: they are summed
    return attained, attained.sum(-2)


class MeanPool(nn.Module):
    r"""``mean_pool`` as a module: :math:`\sum_i w_i x_i / \sum_i w_i`; 0 for an empty set."""

    def forward(self, x: Tensor, weights: Tensor | None = None) -> Tensor:
        """Pool a measure.

        Args:
            x: (..., n, d).
            weights: (..., n), 0 for padding; None if all sets are full and uniform.

        Returns:
            (..., d).
        """
        return mean_pool(x, weights)


class MaxPool(nn.Module):
    """``max_pool`` as a module: the largest value of each feature; 0 for an empty set."""

    def forward(self, x: Tensor, weights: Tensor | None = None) -> Tensor:
        """Pool a measure.

        Args:
            x: (..., n, d).
            weights: (..., n), 0 for padding; None if all sets are full.

        Returns:
            (..., d).
        """
        return max_pool(x, weights)


class AttentionPool(nn.Module):
    """Attention of learned seeds to a measure.

    The seeds are queries of ``SetAttention``; no residual, no feed-forward map. With one seed and
    one head this is a mean with learned weights (Lee et al. 2019, section 3.2, without its blocks).

    Args:
        dim: Width of the rows; a multiple of ``heads``.
        heads: Number of attention heads.
        seeds: Number k of seeds. Their results are joined to one vector.
    """

    def __init__(self, dim: int, heads: int, seeds: int = 1) -> None:
        super().__init__()
        if seeds < 1:
            raise ValueError(f"expected at least one seed, but got seeds={seeds}")
        self.seeds = nn.Parameter(torch.empty(seeds, dim))
        self.attention = SetAttention(dim, heads)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw normal seeds of unit scale, and reset the attention."""
        nn.init.normal_(self.seeds)
        self.attention.reset_parameters()

    def forward(self, x: Tensor, weights: Tensor | None = None) -> Tensor:
        """Pool a measure.

        Args:
            x: (..., n, dim).
            weights: (..., n), 0 for padding; None if all sets are full and uniform.

        Returns:
            (..., seeds * dim); 0 for an empty set.
        """
        out: Tensor = self.attention(self.seeds, self.attention.context(x, weights))
        return out.flatten(-2)

    def extra_repr(self) -> str:
        """Number of seeds, as it was given."""
        return f"seeds={len(self.seeds)}"
