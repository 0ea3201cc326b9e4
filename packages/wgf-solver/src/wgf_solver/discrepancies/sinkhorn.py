"""The debiased Sinkhorn divergence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from wgf_solver.discrepancies.base import Pull, centred
from wgf_solver.discrepancies.sinkhorn_iteration import potentials
from wgf_solver.discrepancies.transport_plans import (
    costs,
    drift,
    transport_pull,
    with_envelope,
)
from wgf_solver.measure import Measure
from wgf_solver.precision import full_precision

# Pairs of atoms in one go: 128 MB a matrix of them.
_CHUNK_PAIRS = 2**24


class EntropicMatching(NamedTuple):
    """The entropic plans of a divergence; constants for autograd.

    Attributes:
        across: ``P (..., n, m)``, from ``μ`` to ``ν``, each row summing to 1: ``π_ij / w_i``.
        within_mu: ``Q (..., n, n)``, from ``μ`` to itself.
        within_nu: ``(..., m, m)``, from ``ν`` to itself.
        potentials: of the divergence, ``(..., n)`` and ``(..., m)``; 0 in padding.
        value: ``(...)``; NaN where a measure holds NaN.
    """

    across: Tensor
    within_mu: Tensor
    within_nu: Tensor
    potentials: tuple[Tensor, Tensor]
    value: Tensor


@dataclass(frozen=True)
class Sinkhorn:
    r"""``S_ε(μ, ν) = OT_ε(μ, ν) − ½ OT_ε(μ, μ) − ½ OT_ε(ν, ν)`` with cost ``‖x − y‖^p / p``.

    Feydy et al. 2019 (what geomloss computes), ``ε = blur^p``: between ``(1/p) W_p^p`` (blur → 0)
    and a kernel discrepancy (blur → ∞), never negative and 0 between equal measures. Solved in the
    log domain, the blur annealed from the diameter down and the iteration then run until the
    potentials of each pair settle; in O(n²) memory, in float64, on the device of the points.
    The velocity is, with the entropic plans ``P`` from ``μ`` to ``ν``, ``Q`` from ``μ`` to itself,

        v_i = Σ_j P_ij ‖y_j − z_i‖^{p−2} (y_j − z_i) − Σ_j Q_ij ‖z_j − z_i‖^{p−2} (z_j − z_i):

    the second sum takes away the shrinking that entropy adds to the barycentric map.

    What is differentiable: the value, once, by the envelope theorem, with respect to points and
    weights. Velocity and gradient are differentiated again with the plans held fixed. That leaves
    out how the entropic plans respond, so it is an *approximate* second derivative: good for
    blurs below the distance of neighbours, where plans do not move; for an exact implicit gradient
    take `Wasserstein`, or `MMD` with a smooth kernel. All of this as far as the potentials have
    settled: small blurs beside the size of the measures take many steps.

    Args:
        blur: length below which mass is not told apart, in the unit of the points.
        p: 1 or 2.
        tolerance: the iteration ends when no potential moves by more than this times ``ε``.
        max_steps: or after so many steps at the final blur, whatever the potentials do.
    """

    blur: float
    p: int = 2
    tolerance: float = 1e-6
    max_steps: int = 1000

    def __post_init__(self) -> None:
        if not self.blur > 0:
            raise ValueError(f"Sinkhorn needs blur > 0; got {self.blur}")
        if self.p not in (1, 2):
            raise ValueError(f"Sinkhorn needs p = 1 or p = 2; got {self.p}")
        if not self.tolerance > 0 or self.max_steps < 1:
            raise ValueError(
                "Sinkhorn needs tolerance > 0 and max_steps >= 1; got "
                f"{self.tolerance} and {self.max_steps}"
            )

    def __call__(self, mu: Measure, nu: Measure) -> Tensor:
        """``S_ε(μ, ν)``, shape ``(...)``."""
        with full_precision(mu.points.device):
            mu, nu = centred(mu, nu, "Sinkhorn")
            plans = self.matching(mu, nu)
            w, v = mu.weights.detach(), nu.weights.detach()
            cost = (
                _cost(plans.across, w, mu.points, nu.points, self.p)
                - 0.5 * _cost(plans.within_mu, w, mu.points, mu.points, self.p)
                - 0.5 * _cost(plans.within_nu, v, nu.points, nu.points, self.p)
            )
            return with_envelope(plans.value, cost, mu, nu, plans.potentials)

    def pull(self, mu: Measure, nu: Measure) -> Pull:
        """The velocity above; its scale is ``(spread(μ) + spread(ν))^{p−1}``, per coordinate."""
        return self.value_and_pull(mu, nu)[1]

    def value_and_pull(self, mu: Measure, nu: Measure) -> tuple[Tensor, Pull]:
        """``S_ε(μ, ν)``, without a gradient, and the pull, from one solve."""
        with full_precision(mu.points.device):
            mu, nu = centred(mu, nu, "Sinkhorn")
            plans = self.matching(mu, nu)
            velocity = drift(plans.across, mu.points, nu.points, self.p)
            velocity = velocity - drift(plans.within_mu, mu.points, mu.points, self.p)
            return plans.value, transport_pull(velocity, mu, nu, self.p)

    def plan(self, mu: Measure, nu: Measure) -> Tensor:
        """The entropic plan ``π (..., n, m)``; rows and columns of padding are 0."""
        return mu.weights.detach()[..., None] * self.matching(mu, nu).across

    def matching(self, mu: Measure, nu: Measure) -> EntropicMatching:
        """Plans, potentials and value."""
        mu, nu = (m.detach() for m in centred(mu, nu, "Sinkhorn"))
        batch, n, m = mu.batch_shape, mu.points.shape[-2], nu.points.shape[-2]
        (x, a), (y, b) = _flat(mu), _flat(nu)
        nothing = (a == 0).all(-1) | (b == 0).all(-1)  # an empty measure is at no distance
        known = ~nothing
        for rows in (x, a[..., None], y, b[..., None]):
            known = known & rows.isfinite().all(-1).all(-1)
        results = [  # 0 of an empty measure, NaN of one that holds NaN
            mu.points.new_full((len(known), *shape), torch.nan)
            for shape in ((n, m), (n, n), (m, m), (n,), (m,), ())
        ]
        for result in results:
            result[nothing] = 0
        pairs = max(1, max(n, m) ** 2)
        solvable = known.nonzero()[:, 0]
        for some in torch.split(solvable, max(1, _CHUNK_PAIRS // pairs)) if len(solvable) else ():
            with torch.no_grad():
                solved = self._solved(*(rows[some] for rows in (x, a, y, b)))
            for result, part in zip(results, solved, strict=True):
                result[some] = part.to(result)
        across, within_mu, within_nu, f, g, value = (
            result.reshape((*batch, *result.shape[1:])) for result in results
        )
        return EntropicMatching(across, within_mu, within_nu, (f, g), value)

    def _solved(self, x: Tensor, a: Tensor, y: Tensor, b: Tensor) -> tuple[Tensor, ...]:
        """The fields of `EntropicMatching` of finite measures ``(B, n, d)`` that are not empty."""
        a, b = a / a.sum(-1, keepdim=True), b / b.sum(-1, keepdim=True)
        epsilon = self.blur**self.p
        how = (epsilon, self.tolerance, self.max_steps)
        across, within_mu, within_nu = (costs(*z, self.p) for z in ((x, y), (x, x), (y, y)))
        f, g = potentials(across, a, b, *how)
        f_self, _ = potentials(within_mu, a, a, *how, symmetric=True)
        g_self, _ = potentials(within_nu, b, b, *how, symmetric=True)

        def plan(cost: Tensor, a: Tensor, b: Tensor, potential: Tensor) -> Tensor:
            """``P_ij ∝ b_j exp((g_j − c_ij)/ε)``, each row summing to 1, 0 in padding."""
            rows = (b.log() + (potential / epsilon))[..., None, :] - cost / epsilon
            return torch.where(a[..., None] > 0, rows.softmax(-1), 0)

        plans = (
            plan(across, a, b, g),
            _symmetric(a, plan(within_mu, a, a, f_self)),
            _symmetric(b, plan(within_nu, b, b, g_self)),
        )
        f, g = f - f_self, g - g_self
        return *plans, f, g, (a * f).sum(-1) + (b * g).sum(-1)


def _flat(mu: Measure) -> tuple[Tensor, Tensor]:
    """Points ``(B, n, d)`` and weights ``(B, n)``, in float64."""
    count = mu.batch_shape.numel()
    points = mu.points.to(torch.float64).reshape(count, *mu.points.shape[-2:])
    return points, mu.weights.to(torch.float64).reshape(count, mu.points.shape[-2])


def _symmetric(a: Tensor, rows: Tensor) -> Tensor:
    """The plan of a measure with itself is symmetric; the one of a finite iteration is made so."""
    plan = a[..., None] * rows
    return 0.5 * (plan + plan.mT) / torch.where(a > 0, a, 1)[..., None]


def _cost(rows: Tensor, weights: Tensor, x: Tensor, y: Tensor, p: float) -> Tensor:
    return (weights[..., None] * rows * costs(x, y, p)).sum((-2, -1))
