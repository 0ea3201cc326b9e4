"""Transport to the image: a fixed point up to relabelling."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from wgf_solver.discrepancies.base import Discrepancy, check_discrepancy, towards
from wgf_solver.discrepancies.wasserstein import Wasserstein
from wgf_solver.evaluation import Evaluation
from wgf_solver.integrators.anderson import Anderson
from wgf_solver.measure import Measure
from wgf_solver.norms import weighted_rms
from wgf_solver.velocities.base import Map, image_of


class TransportCost(Discrepancy, Protocol):
    """A discrepancy of optimal transport."""

    @property
    def p(self) -> float:
        """The power of the distance."""
        ...

    def plan(self, mu: Measure, nu: Measure) -> Tensor:
        """``π (..., n, m)``: the mass that goes from atom ``i`` to atom ``j``."""
        ...


@dataclass(frozen=True)
class Transport:
    r"""``v_i = T(z_i) − z_i`` with ``T`` the optimal transport map from ``μ`` to ``F(μ)``.

    With a unit `Euler` step this is Picard iteration of measures: what ``F`` does to the order of
    the atoms does not matter, so that a root is a fixed point *up to relabelling*,
    ``F(Z)_i = z_σ(i)``, which `Residual` cannot see. ``F`` may return another number of atoms;
    then ``T`` is the barycentric map ``(1/w_i) Σ_j π_ij y_j``, and a root is a measure each of
    whose atoms is the centre of the mass it is sent to (as in Lloyd's quantisation): its
    discrepancy, ``½ W₂²(μ, F(μ))``, is reported and need not be 0.

    The plan is a constant for autograd, and the atoms of ``F(μ)`` and ``Z`` are not: `Implicit`
    and `Phantom` differentiate with the matching that was found. An optimal plan
    that is unique is constant nearby, so with `Wasserstein` that is the exact derivative. With
    `Sinkhorn` the map is debiased, ``T_{μ→F(μ)} − T_{μ→μ}``, so that equal measures are at rest;
    its derivative leaves out how the entropic plans respond and is approximate. Weights that want a
    gradient are refused: the plan's answer to them is left out.

    Args:
        cost: ``Wasserstein()`` (the extra ``ot``), ``Sinkhorn(blur)``, or one of your own with
            ``p = 2``, a ``plan(mu, nu)``, and the pull ``T(z_i) − z_i`` by it.
    """

    cost: TransportCost = field(default_factory=Wasserstein)

    def __post_init__(self) -> None:
        check_discrepancy("Transport", self.cost)
        if not hasattr(self.cost, "plan"):
            raise TypeError(
                "Transport takes a cost with a plan, such as Wasserstein() or Sinkhorn(blur); got "
                f"{self.cost!r}"
            )
        if getattr(self.cost, "reach", None) is not None:
            raise ValueError(
                f"Transport sends all mass to the image; {self.cost!r} leaves some where it is. "
                "Take it without reach, or velocity=Descent(cost)"
            )
        if self.cost.p != 2:
            raise ValueError(f"Transport needs a cost with p = 2; got {self.cost!r}")

    @property
    def descends(self) -> bool:
        """False: unit steps are Picard iteration, along which nothing is promised to fall."""
        return False

    @property
    def picard(self) -> bool:
        """True: ``Z + v(Z)`` is ``F(μ)``, in the order of ``μ``."""
        return True

    def default_integrator(self) -> Anderson:
        """`Anderson`."""
        return Anderson()

    def __call__(self, f: Map, mu: Measure) -> Evaluation:
        """One evaluation of ``F`` and one transport problem a measure."""
        image = image_of(f, mu)
        pull = towards(self.cost, image)(mu)
        with torch.no_grad():
            root_d = max(mu.dim, 1) ** 0.5
            eps = torch.finfo(pull.velocity.dtype).eps
            at = mu.with_points(mu.points.detach()).zero_padding().points
            rounding = 4 * eps * weighted_rms(at, mu.weights)
            scale = image.detach().spread() / root_d
        return Evaluation(pull.velocity, scale, rounding, pull.discrepancy, image)
