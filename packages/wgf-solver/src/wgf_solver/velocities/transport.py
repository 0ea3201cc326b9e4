"""Transport to the image: a fixed point up to relabelling."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from wgf_solver.discrepancies.sinkhorn import Sinkhorn
from wgf_solver.discrepancies.wasserstein import Wasserstein
from wgf_solver.integrators.anderson import Anderson
from wgf_solver.measure import Measure
from wgf_solver.norms import weighted_rms
from wgf_solver.velocities.base import Evaluation, Map, image_of


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
    its derivative leaves out how the entropic plans respond and is approximate.

    Args:
        cost: ``Wasserstein()`` (the extra ``ot``) or ``Sinkhorn(blur)``, with ``p = 2``.
    """

    cost: Wasserstein | Sinkhorn = field(default_factory=Wasserstein)

    def __post_init__(self) -> None:
        if not isinstance(self.cost, Wasserstein | Sinkhorn):
            raise TypeError(
                f"Transport takes Wasserstein() or Sinkhorn(blur) as its cost; got {self.cost!r}"
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
        value, pull = self.cost.value_and_pull(mu, image)
        with torch.no_grad():
            root_d = max(mu.dim, 1) ** 0.5
            eps = torch.finfo(pull.velocity.dtype).eps
            at = mu.with_points(mu.points.detach()).zero_padding().points
            rounding = 4 * eps * weighted_rms(at, mu.weights)
            scale = image.detach().spread() / root_d
        return Evaluation(pull.velocity, scale, rounding, value, image)
