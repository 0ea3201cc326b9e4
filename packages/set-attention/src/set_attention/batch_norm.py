"""Batch normalisation of ragged sets: statistics of measures, not of padded rows."""

from typing import Any

import torch
from torch import Tensor, nn

from set_attention.measures import check_width, clear_padding, shares, weighted_sum
from set_attention.precision import without_autocast


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
    running mean; one of a single row that weighs something has no variance: it is normalised as in
    evaluation, and changes none either.

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
        if self.training and x[..., 0].numel() > 1:
            out = self._by_the_batch(precise, weights)
        else:
            scale = self.weight * (self.running_variance + self.epsilon).rsqrt()
            out = torch.addcmul(self.bias - self.running_mean * scale, precise, scale)
        return clear_padding(out.to(x.dtype), weights)

    def _by_the_batch(self, x: Tensor, weights: Tensor | None) -> Tensor:
        """Normalised by the statistics of the batch, which the running ones learn of."""
        if weights is None:
            share = x.new_full((x[..., 0].numel(),), 1 / x[..., 0].numel())
            there = torch.ones((), dtype=torch.bool, device=x.device)
            known = None
        else:
            of_set = shares(weights)
            sets = (of_set.sum(-1) > 0).sum()
            share = (of_set / sets.clamp(min=1)).flatten().to(x.dtype)
            # On the device, for which no host waits: a single row is none of its own statistics.
            single = (weights > 0).sum() == 1
            there = (sets > 0) & ~single
            share = torch.where(single, 0, share)
            running = torch.stack([self.running_mean, self.running_variance])
            known = torch.where(single, running, 0).to(x.dtype)
        gain, bias = self.weight.to(x.dtype), self.bias.to(x.dtype)
        out, mean, variance = normalise(x.flatten(0, -2), share, gain, bias, self.epsilon, known)
        with torch.no_grad():
            step = torch.where(there, self.momentum, 0.0).to(self.running_mean.dtype)
            self.running_mean.lerp_(mean.to(step.dtype), step)
            self.running_variance.lerp_(variance.to(step.dtype), step)
        return out.view_as(x)

    def extra_repr(self) -> str:
        """Width, epsilon and momentum."""
        return f"dim={len(self.weight)}, epsilon={self.epsilon}, momentum={self.momentum}"


def normalise(
    x: Tensor,
    share: Tensor,
    gain: Tensor,
    bias: Tensor,
    epsilon: float,
    known: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    r"""Normalise rows by the mean and the variance of a measure on them.

    .. math:: y_i = \gamma (x_i - m) r + \beta, \quad m = \sum_i s_i x_i, \quad
        v = \sum_i s_i (x_i - m)^2, \quad r = (v + \epsilon)^{-1/2}, \quad \sum_i s_i = 1.

    With :math:`g = \partial L / \partial y`, :math:`\hat x = (x - m) r`, :math:`B = \sum_i g_i` and
    :math:`G = \sum_i g_i \hat x_i` the gradients are B in the shift, G in the gain,
    :math:`\gamma r (g_i - s_i (B + \hat x_i G))` in a row and
    :math:`-\gamma r B \cdot x_i - \tfrac12 \gamma G \cdot \hat x_i^2` in a share, in seven passes
    over the rows, where operations that are differentiated one by one take twenty.

    Args:
        x: (n, d).
        share: (n,), with the sum 1, or 0 throughout.
        gain: (d,).
        bias: (d,).
        epsilon: Added to the variance.
        known: (2, d), a mean and a variance, added to those of the rows: with shares 0 they are
            the statistics. None: 0.

    Returns:
        The rows (n, d), and the mean and the variance (d,), through which no gradient flows.
    """
    known = x.new_zeros(2, 1) if known is None else known
    with without_autocast(x):
        out: tuple[Tensor, Tensor, Tensor]
        if torch.compiler.is_compiling():  # which fuses the passes, and has its own derivative
            mean, variance = _statistics(x, share, known)
            rows = (x - mean) * (gain * (variance + epsilon).rsqrt()) + bias
            return rows, mean.detach(), variance.detach()
        out = _Normalise.apply(x, share, gain, bias, known, epsilon)  # type: ignore[no-untyped-call]
    return out


def _statistics(x: Tensor, share: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance (d,) of rows (n, d) by their shares (n,), added to known ones (2, d)."""
    mean = weighted_sum(share, x) + known[0]
    return mean, weighted_sum(share, (x - mean).square()) + known[1]


class _Normalise(torch.autograd.Function):
    """`normalise`; see there."""

    generate_vmap_rule = True

    @staticmethod
    def forward(
        x: Tensor, share: Tensor, gain: Tensor, bias: Tensor, known: Tensor, epsilon: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        mean, variance = _statistics(x, share, known)
        scale = gain * (variance + epsilon).rsqrt()
        return torch.addcmul(bias - mean * scale, x, scale), mean, variance

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Any, ...]) -> None:
        x, share, gain, _, known, epsilon = inputs
        _, mean, variance = output
        ctx.mark_non_differentiable(mean, variance)
        ctx.save_for_backward(x, share, gain, known, mean, variance)
        ctx.epsilon = epsilon

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor | None, ...]:
        x, share, gain, known, mean, variance = ctx.saved_tensors
        g: Tensor = gradients[0]
        if torch.is_grad_enabled():  # a second derivative knows of what was saved by the inputs
            mean, variance = _statistics(x, share, known)
        r = (variance + ctx.epsilon).rsqrt()
        of_bias = g.sum(0)
        of_gain = ((x - mean) * g).sum(0) * r  # not in place: several g may come at once
        # gamma r (g - s (B + x^ G)), in three passes
        slope = -gain * r.square() * of_gain
        of_x = torch.addcmul(-gain * r * of_bias - mean * slope, x, slope)
        of_x = of_x.mul_(share.unsqueeze(-1)).addcmul_(g, gain * r)
        of_share = None
        if ctx.needs_input_grad[1]:
            spread = ((x - mean) * r).square() @ (gain * of_gain)
            of_share = -(x @ (gain * r * of_bias)) - 0.5 * spread
        return of_x, of_share, of_gain, of_bias, None, None
