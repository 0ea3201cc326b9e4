"""Maximum mean discrepancy in closed form."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from wgf_solver.discrepancies.base import Pull
from wgf_solver.kernels import Kernel, Term
from wgf_solver.measure import Measure
from wgf_solver.norms import weighted_rms
from wgf_solver.pairwise import force, pair_factors, potential
from wgf_solver.precision import full_precision


@dataclass(frozen=True)
class MMD:
    r"""``D(μ, ν) = ½ MMD²_k(μ, ν) = ½ ∬ k d(μ−ν) d(μ−ν)`` (Gretton et al. 2012), weights included.

    The half makes the first variation ``δD/δμ = ∫ k(·, y) d(μ−ν)(y)``, so that the velocity of
    its Wasserstein gradient flow (Arbel et al. 2019, eq. 5) is

        v_i = Σ_j ω_j ∇_1 k(z_i, y_j) − Σ_j w_j ∇_1 k(z_i, z_j)

    for ``μ = Σ w_i δ_{z_i}`` and ``ν = Σ ω_j δ_{y_j}``. For the energy kernel: every target point
    pulls with a force of constant size, every other particle repels.

    Both clouds are centred together first, which changes nothing in exact arithmetic and keeps
    float32 accurate far from the origin. Values, velocities and their derivatives of any order
    are closed-form sums over pairs in row chunks (see `wgf_solver.pairwise`).

    Args:
        kernel: see `wgf_solver.kernels`. A product ``κ * k`` compares marked measures and asks
            both for marks.

    Raises:
        ValueError: when called, if the measures do not fit together or a needed mark is missing.
    """

    kernel: Kernel

    def __post_init__(self) -> None:
        if not isinstance(self.kernel, Kernel):
            raise TypeError(f"MMD takes a kernel such as Energy(); got {self.kernel!r}")

    def __call__(self, mu: Measure, nu: Measure) -> Tensor:
        """``½ MMD²(μ, ν)``, shape ``(...)``, in float rounding never below 0."""
        with full_precision(mu.points.device):
            mu, nu = _centred(mu, nu)
            total = torch.zeros(mu.batch_shape, dtype=mu.points.dtype, device=mu.points.device)
            for term in self.kernel.terms:
                within_mu = (mu.weights * _potential(term, mu, mu)).sum(-1)
                within_nu = (nu.weights * _potential(term, nu, nu)).sum(-1)
                between = (mu.weights * _potential(term, mu, nu)).sum(-1)
                total = total + term.factor * (0.5 * (within_mu + within_nu) - between)
            # Rounding can leave −1e-9. The value is lifted to 0, the gradient is left alone:
            # cutting it off too would stop a flow that is nearly there.
            return total + (total.clamp(min=0) - total).detach()

    def pull(self, mu: Measure, nu: Measure) -> Pull:
        """The velocity ``v`` above, and the RMS size of its two sums."""
        with full_precision(mu.points.device):
            mu, nu = _centred(mu, nu)
            attraction = repulsion = torch.zeros_like(mu.points)
            for term in self.kernel.terms:
                attraction = attraction + term.factor * _force(term, mu, nu)
                repulsion = repulsion + term.factor * _force(term, mu, mu)
            velocity = attraction - repulsion
            if not mu.full:
                velocity = torch.where(mu.mask[..., None], velocity, 0)
            with torch.no_grad():
                scale = torch.hypot(
                    weighted_rms(attraction, mu.weights), weighted_rms(repulsion, mu.weights)
                )
            return Pull(velocity, scale)


def _centred(mu: Measure, nu: Measure) -> tuple[Measure, Measure]:
    """Both measures without their padding's values, moved by the same vector to the origin."""
    if mu.dim != nu.dim or mu.batch_shape != nu.batch_shape:
        raise ValueError(
            f"MMD compares measures of one batch shape and one dimension; got {mu!r} and {nu!r}"
        )
    mu, nu = mu.zero_padding(), nu.zero_padding()
    centre = nu.mean().detach()[..., None, :]
    return (
        mu.with_points(mu.points - centre).zero_padding(),
        nu.with_points(nu.points - centre).zero_padding(),
    )


def _potential(term: Term, mu: Measure, nu: Measure) -> Tensor:
    return potential(term.point, mu.points, nu.points, nu.weights, _pair_factors(term, mu, nu))


def _force(term: Term, mu: Measure, nu: Measure) -> Tensor:
    return force(term.point, mu.points, nu.points, nu.weights, _pair_factors(term, mu, nu))


def _pair_factors(term: Term, mu: Measure, nu: Measure) -> Tensor | None:
    """``κ(m_i, m'_j)``, or None for a term that does not read marks."""
    if term.mark is None:
        return None
    if mu.marks is None or nu.marks is None:
        raise ValueError(
            f"the kernel {term.mark!r} reads marks, and a measure has none: build it as "
            "Measure(points, weights, marks=...), and let the map keep them (mu.with_points)"
        )
    return pair_factors(term.mark, mu.marks, nu.marks).to(mu.points.dtype)
