"""The Wasserstein distance averaged over slices, by sorting."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from wgf_solver.discrepancies.base import centred, device_of
from wgf_solver.discrepancies.slices import argsort, chunks, directions, project
from wgf_solver.discrepancies.transport_plans import transport_pull
from wgf_solver.evaluation import Evaluation
from wgf_solver.kernels.constants import hold_constants
from wgf_solver.measure import Measure
from wgf_solver.precision import full_precision


@dataclass(frozen=True)
class SlicedWasserstein:
    r"""``D(μ, ν) = (1/p) SW_p^p = (1/p) E_θ W_p^p(θ#μ, θ#ν)`` over P fixed directions.

    On a line the optimal plan couples equal quantiles, so that each slice is two sorts and a merge
    of cumulative weights, for any weights and numbers of atoms. With that plan ``π^θ``

        v_i = (1/w_i) E_θ θ Σ_j π^θ_ij |Δ_ij|^{p−2} Δ_ij,      Δ_ij = ⟨θ, y_j − z_i⟩:

    for ``p = 2`` the average of the steps ``T_θ(⟨θ, z_i⟩) − ⟨θ, z_i⟩`` to the barycentric images.

    Value and velocity are differentiable to any order with respect to points and weights, with the
    order of the sorted points held fixed: that is the derivative wherever there is one, and there
    is one where no two projections are equal. (For ``p = 2`` the value is twice differentiable but
    the velocity jumps where points meet.) Memory is O(n): a backward pass sorts each chunk of
    slices again. The slices are those of `SlicedMMD`, fixed by ``seed``.

    Args:
        slices: ``P``; one slice is used in dimension 1.
        p: at least 1.
        seed: picks the directions.
    """

    slices: int = 128
    p: float = 2.0
    seed: int = 0

    def __post_init__(self) -> None:
        hold_constants(self, "p")
        if self.slices < 1:
            raise ValueError(f"SlicedWasserstein needs slices >= 1; got {self.slices}")
        if not 1 <= self.p < float("inf"):
            raise ValueError(f"SlicedWasserstein needs a finite p >= 1; got {self.p}")

    def __call__(self, mu: Measure, nu: Measure) -> Tensor:
        """``D(μ, ν)``, shape ``(...)``."""
        return self._sums(mu, nu)[0]

    def pull(self, mu: Measure, nu: Measure) -> Evaluation:
        """The velocity and ``D``, from the same sorts.

        The scale is ``((spread(μ) + spread(ν))/d^{1/2})^{p−1}``, per coordinate: what two measures
        would pull that have nothing to do with each other.
        """
        value, velocity = self._sums(mu, nu)
        mu, nu = centred(mu, nu, "SlicedWasserstein")
        return transport_pull(velocity, mu, nu, self.p, value.detach())

    def _sums(self, mu: Measure, nu: Measure) -> tuple[Tensor, Tensor]:
        """The value and the velocity, before padding is taken out of it."""
        with full_precision(device_of(mu, "SlicedWasserstein")):
            mu, nu = centred(mu, nu, "SlicedWasserstein")
            theta = directions(self.slices, mu.dim, self.seed, mu.points)
            tensors = (mu.points, mu.weights, nu.points, nu.weights)
            value, pulls = mu.points.new_zeros(mu.batch_shape), torch.zeros_like(mu.points)
            if mu.points.numel() == 0 or nu.points.numel() == 0:
                nothing = mu.points[..., :0, :].sum() + nu.points[..., :0, :].sum()  # with a graph
                return value + nothing, pulls + nothing
            tracked = torch.is_grad_enabled() and any(t.requires_grad for t in tensors)
            for part in chunks(theta, mu.points, nu.points):
                arguments = (part, *tensors, self.p)
                if tracked:  # keep no tape of the slices
                    one, step = checkpoint(
                        _chunk, *arguments, use_reentrant=False, preserve_rng_state=False
                    )
                else:
                    one, step = _chunk(*arguments)
                value, pulls = value + one, pulls + step
            count = theta.shape[0]
            mass = torch.where(mu.mask, mu.weights, 1)[..., None]
            return value / count, pulls / mass / count


def _chunk(
    theta: Tensor, x: Tensor, w: Tensor, y: Tensor, v: Tensor, p: float
) -> tuple[Tensor, Tensor]:
    """``Σ_θ Σ_ij π_ij |Δ_ij|^p / p`` and ``Σ_θ θ Σ_j π_ij |Δ_ij|^{p−2} Δ_ij`` of some slices."""
    (s, a, order), (t, b, _) = _sorted(theta, x, w), _sorted(theta, y, v)
    amount, i, j = quantile_coupling(a, b)
    step = t.gather(-1, j) - s.gather(-1, i)  # Δ  (..., P, n + m)
    if p == 2:
        size, value = step, 0.5 * step.square()
    else:
        apart = step != 0
        length = torch.where(apart, step, 1).abs()
        value = torch.where(apart, length**p / p, 0)
        size = torch.where(apart, length ** (p - 1) * step.sign(), 0)
    # Intervals add up per sorted atom, and go back to where the atom was: one scatter does both.
    pulls = torch.zeros_like(s).scatter_add(-1, order.gather(-1, i), amount * size)
    return (amount * value).sum((-2, -1)), pulls.mT @ theta


def _sorted(theta: Tensor, points: Tensor, weights: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Projections and their weights in increasing order ``(..., P, n)``, and that order."""
    s = project(theta, points)
    order = argsort(s)
    return s.gather(-1, order), weights[..., None, :].expand(s.shape).gather(-1, order), order


def quantile_coupling(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The monotone plan between weights ``a (..., n)`` and ``b (..., m)`` of sorted atoms.

    Returns:
        ``(amount, i, j)``, each ``(..., n + m)``: mass ``amount`` goes from atom ``i`` to ``j``.
        Amounts are differentiable in the weights; many are 0.
    """
    upto_a, upto_b = a.cumsum(-1), b.cumsum(-1)
    levels = torch.cat([upto_a, upto_b], -1)
    levels = levels.gather(-1, argsort(levels))
    below = torch.cat([torch.zeros_like(levels[..., :1]), levels[..., :-1]], -1)
    # The interval (below, level] belongs to the first atom whose cumulative weight reaches level.
    i = torch.searchsorted(upto_a.detach().contiguous(), levels.detach())
    j = torch.searchsorted(upto_b.detach().contiguous(), levels.detach())
    # Rounding may leave a last level above one of the two totals: it goes to the last atoms.
    return (
        levels - below,
        i.clamp(max=_last(a)),
        j.clamp(max=_last(b)),
    )


def _last(weights: Tensor) -> int:
    return weights.shape[-1] - 1
