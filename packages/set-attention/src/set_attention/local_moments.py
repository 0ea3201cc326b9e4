"""How a measure looks about each of its points: density, drift and spread, at several scales."""

import math

import torch
from torch import Tensor, nn

from set_attention.measures import check_width, clear_padding, host_may_look, shares
from set_attention.pooling import mean_pool
from set_attention.precision import without_autocast

# Numbers of a matrix of all pairs that are made at a time: on the CPU they stay in its cache,
# elsewhere they fill it.
_PAIRS = 2**18
_MORE_PAIRS = 2**25
# Where a window is less, it is this: the fourth power is then no subnormal number, on which
# processors take a hundred times as long.
_LEAST = 2e-9


class LocalMoments(nn.Module):
    r"""The first moments of a measure seen through Gaussian windows about each of its points.

    With a window of width s in each of the d coordinates together, nowhere less than a floor, and
    :math:`\bar w_j = w_j / \sum_l w_l`,

    .. math::
        k_s(x, y) = \max\big(e^{-|x - y|^2 / 2 s^2 d},\; 2 \cdot 10^{-9}\big), \qquad
        \rho_s(x) = \sum_j \bar w_j k_s(x, x_j), \qquad
        m_s(x) = \sum_j \bar w_j k_s(x, x_j) (x_j - x) / \rho_s(x), \qquad
        v_s(x) = \sum_j \bar w_j k_s(x, x_j) |x_j - x|^2 / \rho_s(x),

    each point gets :math:`\log \rho_s, \; m_s / s \sqrt d, \; v_s / s^2 d` for the
    widths s = widest, widest / 2, widest / 4, ...: how dense the measure is there, where its mass
    lies as seen from there (the mean shift of Fukunaga and Hostetler 1975), and how wide it is.
    Groups of k nearest neighbours tell the same of a list of points; here a doubled weight equals a
    duplicated point, and no feature jumps where neighbours change places. No parameters.

    The floor is part of what is computed: all mass is in each window, if only by 2e-9 of itself,
    and :math:`\log \rho_s \ge -20.03`. Its part in :math:`v_s` is 2e-9 of the mean square distance
    of all mass, by :math:`\rho_s`. So in a thinly populated window, one that holds little more than
    its own point, mass that is many widths away decides drift and spread; in a well populated one
    it does not show.

    Squared distances are :math:`|x|^2 + |y|^2 - 2 x \cdot y` about the mean of the measure, in
    float32 at least. They err by some 2e-7 of the largest of these squares: where points are R
    widths from the mean, the last feature errs by some :math:`2 \cdot 10^{-7} R^2`, which is
    0.002 at a hundred widths and 0.2 at a thousand. Give clouds that are spread so far in float64.

    Halving the width raises the window to its fourth power, so that all scales cost one exponential
    of all pairs. Time O(n^2), memory O(n) beyond blocks of a bounded number of rows where no
    gradient is asked for.

    Args:
        dim: Number d of coordinates.
        scales: Number of widths.
        widest: The largest width, in the unit of the points: choose it near their spread.
    """

    def __init__(self, dim: int, scales: int = 3, *, widest: float = 0.8) -> None:
        super().__init__()
        if dim < 1 or scales < 1 or not 0 < widest < math.inf:
            raise ValueError(
                "expected a positive number of coordinates, of scales, and a positive width, but "
                f"got dim={dim}, scales={scales} and widest={widest}"
            )
        self.dim = dim
        self.scales = scales
        self.widest = widest
        self.out_dim = scales * (dim + 2)

    def forward(self, x: Tensor, weights: Tensor | None = None) -> Tensor:
        """Moments about each point.

        Args:
            x: (..., n, dim).
            weights: (..., n), 0 for padding; None if all sets are full and uniform.

        Returns:
            (..., n, out_dim), scale by scale density, drift and spread; 0 in padded rows.
        """
        check_width(x, self.dim)
        n = x.shape[-2]
        if not n:
            return x.new_zeros(*x.shape[:-1], self.out_dim)
        with without_autocast(x):  # differences of squares lose too much
            precise = x.to(torch.promote_types(x.dtype, torch.float32))
            found = self._moments(clear_padding(precise, weights), weights)
        return clear_padding(found.to(x.dtype), weights)

    def _moments(self, x: Tensor, weights: Tensor | None) -> Tensor:
        n = x.shape[-2]
        x = clear_padding(x - mean_pool(x, weights).unsqueeze(-2), weights)
        if weights is None:
            share = x.new_full((n, 1), 1 / n).expand(*x.shape[:-1], 1)
        else:
            share = shares(weights).to(x.dtype).unsqueeze(-1)
        square = x.square().sum(-1, keepdim=True)
        moments = torch.cat([share, share * x, share * square], -1)  # of order 0, 1 and 2
        differentiated = torch.is_grad_enabled() and (x.requires_grad or share.requires_grad)
        if differentiated or torch.compiler.is_compiling():  # what is compiled takes any number
            return self._about(x, square, x, square, moments)
        leading, pairs = x.shape[:-2], _PAIRS if host_may_look(x) else _MORE_PAIRS
        measures = [t.reshape(-1, *t.shape[-2:]) for t in (x, square, moments)]
        some, rows = max(1, pairs // n**2), max(1, min(n, pairs // n))
        # Blocks of whole measures, or of the rows of one.
        parts = [
            torch.cat(
                [
                    self._about(at, at_square, *each)
                    for at, at_square in zip(
                        *(torch.split(t, rows, 1) for t in each[:2]), strict=True
                    )
                ],
                1,
            )
            for each in zip(*(torch.split(t, some) for t in measures), strict=True)
        ]
        return torch.cat(parts).view(*leading, n, self.out_dim)

    def _about(
        self, at: Tensor, at_square: Tensor, x: Tensor, square: Tensor, moments: Tensor
    ) -> Tensor:
        """The features of some rows."""
        width = self.widest * math.sqrt(self.dim)
        # In place, for these are all pairs: |x - y|^2 = |x|^2 + |y|^2 - 2 x.y, 0 at least. A
        # column for each row: the few moments times the many pairs is the faster product.
        apart = (x @ at.mT).mul_(-2).add_(square).add_(at_square.mT)
        window = apart.mul_(-0.5 / width**2).clamp_(math.log(_LEAST), 0).exp_()
        found = []
        for scale in range(self.scales):
            if scale:
                half = window * window
                window, width = (half * half).clamp_(min=_LEAST), width / 2
            sums = (moments.mT @ window).mT
            total, first, second = sums[..., :1], sums[..., 1:-1], sums[..., -1:]
            # Its own point is in every window, so the mass is 0 only about padding.
            density = torch.where(total > 0, total, 1)
            mean = first / density
            drift = mean - at
            # E|y - x|^2 = E|y|^2 - 2 x.E[y] + |x|^2
            spread = second / density - 2 * (at * mean).sum(-1, keepdim=True) + at_square
            found += [density.log(), drift / width, spread.clamp(min=0) / width**2]
        return torch.cat(found, -1)

    def extra_repr(self) -> str:
        """Sizes, as they were given."""
        return f"dim={self.dim}, scales={self.scales}, widest={self.widest}"
