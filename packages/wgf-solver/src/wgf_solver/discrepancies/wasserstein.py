"""The exact Wasserstein distance, by POT."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from wgf_solver.discrepancies.base import centred, device_of
from wgf_solver.discrepancies.transport_plans import (
    costs,
    drift,
    each_pair,
    refuse_weights,
    transport_pull,
    with_envelope,
)
from wgf_solver.evaluation import Evaluation
from wgf_solver.kernels.constants import hold_constants
from wgf_solver.measure import Measure
from wgf_solver.precision import full_precision

_MAX_PIVOTS = 10_000_000


class Matching(NamedTuple):
    """An optimal plan and its dual; constants for autograd.

    Attributes:
        plan: ``π (..., n, m)``: the mass that goes from atom ``i`` to atom ``j``.
        potentials: ``(..., n)`` and ``(..., m)``: ``D = Σ_i w_i f_i + Σ_j ω_j g_j``, 0 in padding.
        value: ``D``, shape ``(...)``; NaN where a measure holds NaN or is empty.
    """

    plan: Tensor
    potentials: tuple[Tensor, Tensor]
    value: Tensor


@dataclass(frozen=True)
class Wasserstein:
    r"""``D(μ, ν) = (1/p) W_p^p(μ, ν) = min_π Σ_ij π_ij ‖z_i − y_j‖^p / p``, solved exactly.

    By the network simplex of POT (``pip install 'wgf-solver[ot]'``), measure by measure, on the
    CPU, in float64; O(n³ log n) time at worst and O(n²) memory: for some thousand atoms. The
    velocity of its flow is, with the optimal plan ``π``,

        v_i = (1/w_i) Σ_j π_ij ‖y_j − z_i‖^{p−2} (y_j − z_i),

    for ``p = 2`` the step ``T(z_i) − z_i`` to the barycentric image.

    What is differentiable: the value, by the envelope theorem, with respect to points (the plan
    held fixed) and weights (the dual potentials held fixed). The velocity, and the gradient of the
    value, with respect to points, the plan held fixed: wherever the optimal plan is unique it is
    constant nearby, so these are the true derivatives of every order. With respect to weights the
    velocity has none, and refuses weights that want one. The plan and the potentials themselves
    are constants.

    Args:
        p: at least 1.
    """

    p: float = 2.0

    def __post_init__(self) -> None:
        hold_constants(self, "p")
        if not 1 <= self.p < float("inf"):
            raise ValueError(f"Wasserstein needs a finite p >= 1; got {self.p}")

    def __call__(self, mu: Measure, nu: Measure) -> Tensor:
        """``D(μ, ν)``, shape ``(...)``."""
        with full_precision(device_of(mu, "Wasserstein")):
            mu, nu = centred(mu, nu, "Wasserstein")
            return self._value(mu, nu, self.matching(mu, nu))

    def pull(self, mu: Measure, nu: Measure) -> Evaluation:
        """The velocity above and ``D``, from one plan.

        The scale is ``((spread(μ) + spread(ν))/d^{1/2})^{p−1}``, per coordinate.

        Raises:
            ValueError: a gradient with respect to weights is wanted, which the velocity has not.
        """
        refuse_weights("Wasserstein", mu, nu)
        with full_precision(device_of(mu, "Wasserstein")):
            mu, nu = centred(mu, nu, "Wasserstein")
            matching = self.matching(mu, nu)
            mass = torch.where(mu.mask, mu.weights, 1).detach()[..., None]
            velocity = drift(matching.plan / mass, mu.points, nu.points, self.p)
            return transport_pull(velocity, mu, nu, self.p, matching.value)

    def plan(self, mu: Measure, nu: Measure) -> Tensor:
        """An optimal plan ``π (..., n, m)``; rows and columns of padding are 0."""
        return self.matching(mu, nu).plan

    def potentials(self, mu: Measure, nu: Measure) -> tuple[Tensor, Tensor]:
        """Optimal dual potentials ``(..., n)`` and ``(..., m)``, 0 in padding."""
        return self.matching(mu, nu).potentials

    def map(self, mu: Measure, nu: Measure) -> Measure:
        """``μ`` moved by the barycentric map ``T(z_i) = (1/w_i) Σ_j π_ij y_j``.

        Differentiable with respect to the points of ``ν``, the plan held fixed. Where the plan
        splits no atom, the result is ``ν``, in the order of ``μ``.
        """
        plan, nu = self.plan(mu, nu), nu.zero_padding()
        mass = torch.where(mu.mask, mu.weights, 1).detach()[..., None]
        return mu.with_points((plan / mass) @ nu.points)

    def matching(self, mu: Measure, nu: Measure) -> Matching:
        """Plan, potentials and value.

        Raises:
            ImportError: POT is not installed.
            RuntimeError: the solver found no optimum.
        """
        ot = _pot()
        mu, nu = (m.detach() for m in centred(mu, nu, "Wasserstein"))
        batch, n, m = mu.batch_shape, mu.points.shape[-2], nu.points.shape[-2]

        def unknown(*shape: int) -> Tensor:
            return mu.points.new_full((*batch, *shape), torch.nan)

        plan, f, g, value = unknown(n, m), unknown(n), unknown(m), unknown()
        for place, (x, a), (y, b) in each_pair(mu, nu):
            pi, log = _solved(ot, a, b, costs(x, y, self.p))
            rows, columns = mu.mask[place], nu.mask[place]
            plan[place] = 0
            plan[place][rows[:, None] & columns] = torch.from_numpy(pi).to(plan).flatten()
            for potential, mask, dual in ((f, rows, log["u"]), (g, columns, log["v"])):
                potential[place] = 0
                potential[place][mask] = torch.from_numpy(dual).to(potential)
            cost = torch.tensor(log["cost"], dtype=torch.float64)
            value[place] = cost.to(value)  # may overflow to infinity
        nothing = ~(mu.mask.any(-1) & nu.mask.any(-1))  # an empty measure is at no distance
        return Matching(
            plan.masked_fill_(nothing[..., None, None], 0),
            (f.masked_fill_(nothing[..., None], 0), g.masked_fill_(nothing[..., None], 0)),
            value.masked_fill_(nothing, 0),
        )

    def _value(self, mu: Measure, nu: Measure, matching: Matching) -> Tensor:
        cost = (matching.plan * costs(mu.points, nu.points, self.p)).sum((-2, -1))
        return with_envelope(matching.value, cost, mu, nu, matching.potentials)


def _solved(ot: Any, a: Tensor, b: Tensor, cost: Tensor) -> tuple[Any, dict[str, Any]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what POT warns of is an error below
        pi, log = ot.emd(
            a.cpu().numpy(), b.cpu().numpy(), cost.cpu().numpy(), numItermax=_MAX_PIVOTS, log=True
        )
    if log["warning"] is not None:
        raise RuntimeError(
            f"POT found no optimal plan between {len(a)} and {len(b)} atoms: {log['warning']} "
            "Use Sinkhorn(blur) or SlicedWasserstein(slices) for measures of this size"
        )
    return pi, log


def _pot() -> Any:
    try:
        import ot
    except ImportError as error:
        raise ImportError(
            "Wasserstein is solved by POT, which is not installed: pip install 'wgf-solver[ot]'"
        ) from error
    return ot
