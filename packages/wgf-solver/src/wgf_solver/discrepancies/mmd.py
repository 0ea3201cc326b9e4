"""Maximum mean discrepancy in closed form."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from wgf_solver.discrepancies.base import Pull, balance, centred, lifted
from wgf_solver.kernels import Kernel, RadialKernel, by_mark
from wgf_solver.measure import Measure
from wgf_solver.pairwise import force, force_and_potential, pair_factors, potential
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
    are closed-form sums over pairs in tiles (see `wgf_solver.pairwise`): exact, with O(n) memory,
    or O(n²) for a kernel that reads marks. The terms of a sum share the distances of one pass.

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
            mu, nu = centred(mu, nu, "MMD")
            total = torch.zeros(mu.batch_shape, dtype=mu.points.dtype, device=mu.points.device)
            for mark, point in by_mark(self.kernel):
                within_mu = _energy(mark, point, mu, mu)
                within_nu = _energy(mark, point, nu, nu)
                total = total + 0.5 * (within_mu + within_nu) - _energy(mark, point, mu, nu)
            return lifted(total)

    def pull(self, mu: Measure, nu: Measure) -> Pull:
        """The velocity ``v`` above, and the RMS size of its two sums."""
        with full_precision(mu.points.device):
            mu, nu = centred(mu, nu, "MMD")
            attraction = repulsion = torch.zeros_like(mu.points)
            for mark, point in by_mark(self.kernel):
                attraction = attraction + force(*_pairs(mark, point, mu, nu))
                repulsion = repulsion + force(*_pairs(mark, point, mu, mu))
            return balance(attraction, repulsion, mu)

    def self_energy(self, nu: Measure) -> Tensor:
        """``½ ∬ k dν dν``, shape ``(...)``: the part of ``D(·, ν)`` that is the target's own."""
        with full_precision(nu.points.device):
            nu, _ = centred(nu, nu, "MMD")
            total = torch.zeros(nu.batch_shape, dtype=nu.points.dtype, device=nu.points.device)
            for mark, point in by_mark(self.kernel):
                total = total + 0.5 * _energy(mark, point, nu, nu)
            return total

    def value_and_pull(
        self, mu: Measure, nu: Measure, target_energy: Tensor | None = None
    ) -> tuple[Tensor, Pull]:
        """``D(μ, ν)``, without a gradient, and the pull: one pass over the pairs with ``μ``.

        Args:
            mu: ``μ``.
            nu: ``ν``.
            target_energy: `self_energy` of ``ν``, where it is known; else the pairs of ``ν`` take a
                pass of their own.
        """
        with full_precision(mu.points.device):
            mu, nu = centred(mu, nu, "MMD")
            attraction = repulsion = torch.zeros_like(mu.points)
            total = torch.zeros(mu.batch_shape, dtype=mu.points.dtype, device=mu.points.device)
            for mark, point in by_mark(self.kernel):
                pull, witness_nu = force_and_potential(*_pairs(mark, point, mu, nu))
                push, witness_mu = force_and_potential(*_pairs(mark, point, mu, mu))
                attraction, repulsion = attraction + pull, repulsion + push
                with torch.no_grad():
                    between = (mu.weights * (0.5 * witness_mu - witness_nu)).sum(-1)
                    total = total + between
                    if target_energy is None:
                        total = total + 0.5 * _energy(mark, point, nu, nu)
            if target_energy is not None:
                total = total + target_energy
            return lifted(total), balance(attraction, repulsion, mu)


def _energy(mark: RadialKernel | None, point: RadialKernel, mu: Measure, nu: Measure) -> Tensor:
    """``∬ κ k dμ dν``."""
    return (mu.weights * potential(*_pairs(mark, point, mu, nu))).sum(-1)


def _pairs(
    mark: RadialKernel | None, point: RadialKernel, mu: Measure, nu: Measure
) -> tuple[RadialKernel, Tensor, Tensor, Tensor, Tensor | None]:
    """What the functions of `wgf_solver.pairwise` take."""
    return point, mu.points, nu.points, nu.weights, _pair_factors(mark, mu, nu)


def _pair_factors(mark: RadialKernel | None, mu: Measure, nu: Measure) -> Tensor | None:
    """``κ(m_i, m'_j)``, or None for a kernel that does not read marks."""
    if mark is None:
        return None
    if mu.marks is None or nu.marks is None:
        raise ValueError(
            f"the kernel {mark!r} reads marks, and a measure has none: build it as "
            "Measure(points, weights, marks=...), and let the map keep them (mu.with_points)"
        )
    return pair_factors(mark, mu.marks, nu.marks).to(mu.points.dtype)
