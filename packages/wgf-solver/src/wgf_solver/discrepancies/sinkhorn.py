"""The debiased Sinkhorn divergence."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from wgf_solver.discrepancies.base import centred, device_of
from wgf_solver.discrepancies.sinkhorn_iteration import potentials
from wgf_solver.discrepancies.transport_plans import (
    costs,
    drift,
    refuse_weights,
    transport_pull,
    with_envelope,
)
from wgf_solver.evaluation import Evaluation
from wgf_solver.kernels.constants import hold_constants
from wgf_solver.measure import Measure
from wgf_solver.norms import has_values
from wgf_solver.precision import full_precision

# Pairs of atoms in one go: 128 MB a matrix of them.
_CHUNK_PAIRS = 2**24


class SinkhornWarning(UserWarning):
    """The plans of some pairs miss their marginals: the iteration ended before they settled."""


class EntropicMatching(NamedTuple):
    """The entropic plans of a divergence; constants for autograd.

    Attributes:
        across: ``P (..., n, m)``, from ``μ`` to ``ν``, ``π_ij / w_i``: each row sums to 1 or, if
            unbalanced, to the part of its mass that an atom sends.
        within_mu: ``Q (..., n, n)``, from ``μ`` to itself.
        within_nu: ``(..., m, m)``, from ``ν`` to itself.
        potentials: of the divergence, ``(..., n)`` and ``(..., m)``; 0 in padding.
        value: ``(...)``; NaN where a measure holds NaN.
        error: ``(...)``: by how much an atom receives too much or too little, at most, relative to
            its mass, in the worst of the three plans; 0 where there was nothing to solve.
        settled: ``(...)`` bool: whether that is within the tolerance.
    """

    across: Tensor
    within_mu: Tensor
    within_nu: Tensor
    potentials: tuple[Tensor, Tensor]
    value: Tensor
    error: Tensor
    settled: Tensor


@dataclass(frozen=True)
class Sinkhorn:
    r"""``S_ε(μ, ν) = OT_ε(μ, ν) − ½ OT_ε(μ, μ) − ½ OT_ε(ν, ν)`` with cost ``‖x − y‖^p / p``.

    Feydy et al. 2019 (what geomloss computes), ``ε = blur^p``: between ``(1/p) W_p^p`` (blur → 0)
    and a kernel discrepancy (blur → ∞), never negative and 0 between equal measures. The blur is
    annealed from the diameter down, and the iteration, updates first and then Newton steps, run
    until the plans of each pair have their marginals; in O(n²) memory, in float64, on the device
    of the points. The three problems of a pair are solved by the same steps, so that what is
    unfinished cancels between equal measures. Where the steps do not suffice, `SinkhornWarning`
    says how far off the plans are, and `EntropicMatching.settled` says it of each pair.
    The velocity is, with the entropic plans ``P`` from ``μ`` to ``ν``, ``Q`` from ``μ`` to itself,

        v_i = Σ_j P_ij ‖y_j − z_i‖^{p−2} (y_j − z_i) − Σ_j Q_ij ‖z_j − z_i‖^{p−2} (z_j − z_i):

    the second sum takes away the shrinking that entropy adds to the barycentric map.

    **Unbalanced** (``reach``; Séjourné et al. 2019, as in geomloss): marginals may be missed at the
    price ``ρ KL(π1|μ) + ρ KL(πᵀ1|ν)`` with ``ρ = reach^p``. Mass that has nothing within about
    that reach is left where it is; an outlier costs about ``ρ`` times its mass and pulls on nobody.
    An atom that finds no partner is at rest, so that a root need not be a fixed point. For
    ``reach → ∞`` it is the balanced divergence. Measures have mass 1 all the same.

    What is differentiable: the value, once, by the envelope theorem, with respect to points and
    weights. Velocity and gradient are differentiated again with the plans held fixed. That leaves
    out how the entropic plans respond, so it is an *approximate* second derivative: good for
    blurs below the distance of neighbours, where plans do not move; for an exact implicit gradient
    take `Wasserstein`, or `MMD` with a smooth kernel. With respect to weights the velocity has
    none, and refuses weights that want one.

    Args:
        blur: length below which mass is not told apart, in the unit of the points.
        p: 1 or 2.
        reach: length beyond which mass is left unmatched rather than sent, in the unit of the
            points; None: all mass is sent.
        tolerance: the iteration ends when no atom receives too much or too little by more than this
            part of its mass.
        max_steps: or after so many updates at the final blur and, up to 2048 atoms, as many Newton
            steps, with a warning.
    """

    blur: float
    p: int = 2
    tolerance: float = 1e-6
    max_steps: int = 1000
    reach: float | None = None

    def __post_init__(self) -> None:
        hold_constants(self, "blur")
        if not self.blur > 0:
            raise ValueError(f"Sinkhorn needs blur > 0; got {self.blur}")
        if self.reach is not None:
            hold_constants(self, "reach")
            if not self.reach > 0:
                raise ValueError(f"Sinkhorn needs reach > 0, or None; got {self.reach}")
        if self.p not in (1, 2):
            raise ValueError(f"Sinkhorn needs p = 1 or p = 2; got {self.p}")
        if not self.tolerance > 0 or self.max_steps < 1:
            raise ValueError(
                "Sinkhorn needs tolerance > 0 and max_steps >= 1; got "
                f"{self.tolerance} and {self.max_steps}"
            )

    def __call__(self, mu: Measure, nu: Measure) -> Tensor:
        """``S_ε(μ, ν)``, shape ``(...)``."""
        with full_precision(device_of(mu, "Sinkhorn")):
            mu, nu = centred(mu, nu, "Sinkhorn")
            plans = self.matching(mu, nu)
            w, v = mu.weights.detach(), nu.weights.detach()
            cost = (
                _cost(plans.across, w, mu.points, nu.points, self.p)
                - 0.5 * _cost(plans.within_mu, w, mu.points, mu.points, self.p)
                - 0.5 * _cost(plans.within_nu, v, nu.points, nu.points, self.p)
            )
            return with_envelope(plans.value, cost, mu, nu, plans.potentials)

    def pull(self, mu: Measure, nu: Measure) -> Evaluation:
        """The velocity above and ``S_ε``, from one solve.

        The scale is ``((spread(μ) + spread(ν))/d^{1/2})^{p−1}``, per coordinate.

        Raises:
            ValueError: a gradient with respect to weights is wanted, which the velocity has not.
        """
        refuse_weights("Sinkhorn", mu, nu)
        with full_precision(device_of(mu, "Sinkhorn")):
            mu, nu = centred(mu, nu, "Sinkhorn")
            plans = self.matching(mu, nu)
            velocity = drift(plans.across, mu.points, nu.points, self.p)
            velocity = velocity - drift(plans.within_mu, mu.points, mu.points, self.p)
            return transport_pull(velocity, mu, nu, self.p, plans.value)

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
        error = torch.zeros_like(a[:, :1].sum(-1))
        pairs = 3 * max(1, max(n, m) ** 2)
        solvable = known.nonzero()[:, 0]
        for some in torch.split(solvable, max(1, _CHUNK_PAIRS // pairs)) if len(solvable) else ():
            with torch.no_grad():
                *solved, missed = self._solved(*(rows[some] for rows in (x, a, y, b)))
            error[some] = missed
            for result, part in zip(results, solved, strict=True):
                result[some] = part.to(result)
        settled = error <= 2 * self.tolerance
        if has_values(settled) and not bool(settled.all()):
            self._warn(error[~settled], len(settled))
        across, within_mu, within_nu, f, g, value = (
            result.reshape((*batch, *result.shape[1:])) for result in results
        )
        return EntropicMatching(
            across, within_mu, within_nu, (f, g), value,
            error.reshape(batch).to(value), settled.reshape(batch),
        )  # fmt: skip

    @property
    def _rho(self) -> float:
        """``ρ``; infinite if all mass is sent."""
        return torch.inf if self.reach is None else self.reach**self.p

    def _warn(self, errors: Tensor, total: int) -> None:
        worst = float(errors.max())
        warnings.warn(
            f"Sinkhorn(blur={self.blur}) ended after max_steps={self.max_steps} before the plans "
            f"of {len(errors)} of {total} pairs settled: an atom receives up to {worst:.1e} of its "
            "mass too much or too little. Raise max_steps, or blur, or tolerance",
            SinkhornWarning,
            stacklevel=4,
        )

    def _solved(self, x: Tensor, a: Tensor, y: Tensor, b: Tensor) -> tuple[Tensor, ...]:
        """The fields of `EntropicMatching` of finite measures ``(B, n, d)`` that are not empty."""
        a, b = a / a.sum(-1, keepdim=True), b / b.sum(-1, keepdim=True)
        n, m, most = x.shape[-2], y.shape[-2], max(x.shape[-2], y.shape[-2])
        (x, a), (y, b) = _padded(x, a, most), _padded(y, b, most)
        # Across, within μ and within ν, one after another for each pair.
        first, second = torch.stack([x, x, y], 1), torch.stack([y, x, y], 1)
        sends, receives = torch.stack([a, a, b], 1), torch.stack([b, a, b], 1)
        cost = costs(first.flatten(0, 1), second.flatten(0, 1), self.p)
        epsilon = self.blur**self.p
        f, g, error = potentials(
            cost, sends.flatten(0, 1), receives.flatten(0, 1), epsilon, self.tolerance,
            self.max_steps, group=3, rho=self._rho,
        )  # fmt: skip
        # P_ij ∝ b_j exp((g_j − c_ij)/ε), each row summing to 1, 0 in padding.
        rows = (receives.flatten(0, 1).log() + g / epsilon)[..., None, :] - cost / epsilon
        plans = torch.where(sends.flatten(0, 1)[..., None] > 0, rows.softmax(-1), 0)
        plans, f, g, error = (t.reshape(-1, 3, *t.shape[1:]) for t in (plans, f, g, error))
        # Within a measure both potentials are one; their mean is nearer to it than either.
        f_self, g_self = 0.5 * (f[:, 1] + g[:, 1]), 0.5 * (f[:, 2] + g[:, 2])
        if self.reach is not None:
            # Rows sum to exp(−f/ρ); the dual below is that of rows that are exact.
            rho = self._rho
            plans = (-f / rho).exp()[..., None] * plans
            dual = -(rho + epsilon) * (sends * (-f / rho).expm1()).sum(-1)
            dual = dual - rho * (receives * (-g / rho).expm1()).sum(-1)
            # ∂OT/∂a_i, up to a constant that measures of mass 1 do not see.
            f, g, f_self, g_self = (
                -(rho + epsilon) * (-h / rho).expm1() for h in (f, g, f_self, g_self)
            )
        else:
            dual = (sends * f + receives * g).sum(-1)  # (B, 3)
        return (
            plans[:, 0, :n, :m],
            plans[:, 1, :n, :n],
            plans[:, 2, :m, :m],
            (f[:, 0] - f_self)[:, :n],
            (g[:, 0] - g_self)[:, :m],
            (dual[:, 0] - 0.5 * (dual[:, 1] + dual[:, 2])).clamp_min(0),  # rounding: −1e-18
            error.amax(-1),
        )


def _padded(points: Tensor, weights: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Points and weights ``(B, n, ...)`` with padding up to ``count`` atoms."""
    batch, n, dim = points.shape  # not `pad`, which in PyTorch 2.4 takes no empty tensors
    return (
        torch.cat([points, points.new_zeros(batch, count - n, dim)], -2),
        torch.cat([weights, weights.new_zeros(batch, count - n)], -1),
    )


def _flat(mu: Measure) -> tuple[Tensor, Tensor]:
    """Points ``(B, n, d)`` and weights ``(B, n)``, in float64."""
    count = mu.batch_shape.numel()
    points = mu.points.to(torch.float64).reshape(count, *mu.points.shape[-2:])
    return points, mu.weights.to(torch.float64).reshape(count, mu.points.shape[-2])


def _cost(rows: Tensor, weights: Tensor, x: Tensor, y: Tensor, p: float) -> Tensor:
    return (weights[..., None] * rows * costs(x, y, p)).sum((-2, -1))
