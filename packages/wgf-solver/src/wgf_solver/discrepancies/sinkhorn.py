"""The debiased Sinkhorn divergence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from wgf_solver.discrepancies.base import Pull, centred
from wgf_solver.discrepancies.transport_plans import (
    costs,
    drift,
    each_pair,
    transport_pull,
    with_envelope,
)
from wgf_solver.measure import Measure
from wgf_solver.precision import full_precision


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
    potentials settle; measure by measure, in O(n²) memory, in float64, on the device of the points.
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

        def unknown(*shape: int) -> Tensor:
            return mu.points.new_full((*batch, *shape), torch.nan)

        across, within_mu, within_nu = unknown(n, m), unknown(n, n), unknown(m, m)
        f, g, value = unknown(n), unknown(m), unknown()
        for place, (x, a), (y, b) in each_pair(mu, nu):
            with torch.no_grad():
                f_x, g_y = self._potentials(a, x, b, y)
                f_self, g_self = self._self_potential(a, x), self._self_potential(b, y)
            rows, columns = mu.mask[place], nu.mask[place]
            for target, from_, to, plan in (
                (across, rows, columns, self._rows(x, y, b, g_y)),
                (within_mu, rows, rows, _symmetric(a, self._rows(x, x, a, f_self))),
                (within_nu, columns, columns, _symmetric(b, self._rows(y, y, b, g_self))),
            ):
                target[place] = 0
                target[place][from_[:, None] & to] = plan.flatten().to(target)
            f_x, g_y = f_x - f_self, g_y - g_self
            for target, mask, potential in ((f, rows, f_x), (g, columns, g_y)):
                target[place] = 0
                target[place][mask] = potential.to(target)
            value[place] = (a * f_x).sum() + (b * g_y).sum()
        nothing = ~(mu.mask.any(-1) & nu.mask.any(-1))  # an empty measure is at no distance
        for target in (across, within_mu, within_nu):
            target.masked_fill_(nothing[..., None, None], 0)
        f, g = (t.masked_fill_(nothing[..., None], 0) for t in (f, g))
        return EntropicMatching(
            across, within_mu, within_nu, (f, g), value.masked_fill_(nothing, 0)
        )

    def _rows(self, x: Tensor, y: Tensor, b: Tensor, potential: Tensor) -> Tensor:
        """``P_ij ∝ b_j exp((g_j − c_ij)/ε)``, each row summing to 1."""
        exponent = (potential - costs(x, y, self.p)) / self.blur**self.p
        return (b.log() + exponent).softmax(-1)

    def _potentials(self, a: Tensor, x: Tensor, b: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Optimal ``f, g`` of ``OT_ε``: each is the soft minimum of the cost less the other."""
        cost = costs(x, y, self.p)
        f, g = torch.zeros_like(a), torch.zeros_like(b)
        for epsilon in self._annealing(cost):
            f = _soft_minimum(cost, g, b, epsilon)
            g = _soft_minimum(cost.mT, f, a, epsilon)
        epsilon = self.blur**self.p
        for _ in range(self.max_steps):
            before = f
            f = _soft_minimum(cost, g, b, epsilon)
            g = _soft_minimum(cost.mT, f, a, epsilon)
            if not bool((f - before).abs().max() > self.tolerance * epsilon):
                break
        return f, g

    def _self_potential(self, a: Tensor, x: Tensor) -> Tensor:
        """The one potential of a measure with itself; averaging makes its iteration fast."""
        cost, f = costs(x, x, self.p), torch.zeros_like(a)
        for epsilon in self._annealing(cost):
            f = 0.5 * (f + _soft_minimum(cost, f, a, epsilon))
        epsilon = self.blur**self.p
        for _ in range(self.max_steps):
            before, f = f, 0.5 * (f + _soft_minimum(cost, f, a, epsilon))
            if not bool((f - before).abs().max() > self.tolerance * epsilon):
                break
        return f

    def _annealing(self, cost: Tensor) -> list[float]:
        """``ε`` from the largest cost down to that of the blur, each a quarter of the last."""
        schedule, epsilon = [], float(cost.max())
        while epsilon > self.blur**self.p:
            schedule.append(epsilon)
            epsilon /= 4
        return schedule


def _soft_minimum(cost: Tensor, potential: Tensor, weights: Tensor, epsilon: float) -> Tensor:
    """``−ε log Σ_j b_j exp((g_j − c_ij)/ε)``."""
    return -epsilon * ((potential - cost) / epsilon + weights.log()).logsumexp(-1)


def _symmetric(a: Tensor, rows: Tensor) -> Tensor:
    """The plan of a measure with itself is symmetric; the one of a finite iteration is made so."""
    plan = a[:, None] * rows
    return 0.5 * (plan + plan.mT) / a[:, None]


def _cost(rows: Tensor, weights: Tensor, x: Tensor, y: Tensor, p: float) -> Tensor:
    return (weights[..., None] * rows * costs(x, y, p)).sum((-2, -1))
