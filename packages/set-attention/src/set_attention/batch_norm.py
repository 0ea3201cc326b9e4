"""Batch normalisation of ragged sets: statistics of measures, not of padded rows."""

import torch
from torch import Tensor, nn

from set_attention.measures import check_width, clear_padding, shares


class MeasureBatchNorm(nn.Module):
    r"""Batch normalisation (Ioffe and Szegedy 2015) with the statistics of weighted sets.

    In training, with B sets that have points and :math:`\bar w_{bi} = w_{bi} / \sum_j w_{bj}`,

    .. math::
        m_p = \frac1B \sum_{b,i} \bar w_{bi} x_{bip}, \quad
        v_p = \frac1B \sum_{b,i} \bar w_{bi} (x_{bip} - m_p)^2, \quad
        y_{bip} = \gamma_p \frac{x_{bip} - m_p}{\sqrt{v_p + \epsilon}} + \beta_p :

    every set counts alike, however many points it has; padding does not count, and a doubled weight
    equals a duplicated point, which holds neither for ``torch.nn.BatchNorm1d`` on padded rows nor
    for real rows taken together. In evaluation the running means of both are used, without Bessel's
    correction: the result of a set then depends on that set alone. In training it depends on the
    company of its batch, as with every batch normalisation: do not call it on a part of a batch
    (``by_size``). Statistics are computed in float32 at least. A batch without points changes no
    running mean.

    Args:
        dim: Width of the rows.
        epsilon: Added to the variance.
        momentum: Share of the new statistics in the running ones.
    """

    running_mean: Tensor
    running_variance: Tensor

    def __init__(self, dim: int, epsilon: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__()
        if dim < 1 or not epsilon > 0 or not 0 < momentum <= 1:
            raise ValueError(
                "expected a positive width, a positive epsilon and a momentum in (0, 1], but got "
                f"dim={dim}, epsilon={epsilon} and momentum={momentum}"
            )
        self.epsilon = epsilon
        self.momentum = momentum
        self.weight = nn.Parameter(torch.empty(dim))
        self.bias = nn.Parameter(torch.empty(dim))
        self.register_buffer("running_mean", torch.zeros(dim))
        self.register_buffer("running_variance", torch.ones(dim))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Set scale and running variance to 1, shift and running mean to 0."""
        nn.init.ones_(self.weight)
        nn.init.zeros_(self.bias)
        self.running_mean.zero_()
        self.running_variance.fill_(1)

    def forward(self, x: Tensor, weights: Tensor | None = None) -> Tensor:
        """Normalise a batch of measures.

        Args:
            x: (..., n, dim); all leading axes are of the batch.
            weights: (..., n), 0 for padding; None if all sets are full and uniform.

        Returns:
            (..., n, dim), in the dtype of x; 0 in padded rows.
        """
        check_width(x, len(self.weight))
        precise = clear_padding(x, weights).to(torch.promote_types(x.dtype, torch.float32))
        if self.training and x.numel():
            mean, variance = self._statistics(precise, weights)
        else:
            mean, variance = self.running_mean, self.running_variance
        scale = self.weight * (variance + self.epsilon).rsqrt()
        out = torch.addcmul(self.bias - mean * scale, precise, scale)
        return clear_padding(out.to(x.dtype), weights)

    def _statistics(self, x: Tensor, weights: Tensor | None) -> tuple[Tensor, Tensor]:
        rows = x.flatten(0, -2)
        if weights is None:
            mean = rows.mean(0)
            variance = (rows - mean).square().mean(0)
            there = torch.ones((), dtype=torch.bool, device=x.device)
        else:
            share = shares(weights)
            sets = (share.sum(-1) > 0).sum()
            share = (share / sets.clamp(min=1)).flatten().to(x.dtype)
            mean = share @ rows
            variance = share @ (rows - mean).square()
            there = sets > 0
        with torch.no_grad():
            step = torch.where(there, self.momentum, 0.0).to(self.running_mean.dtype)
            self.running_mean.lerp_(mean.to(step.dtype), step)
            self.running_variance.lerp_(variance.to(step.dtype), step)
        return mean, variance

    def extra_repr(self) -> str:
        """Width, epsilon and momentum."""
        return f"dim={len(self.weight)}, epsilon={self.epsilon}, momentum={self.momentum}"
