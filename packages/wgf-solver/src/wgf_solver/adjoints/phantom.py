"""The phantom gradient: a few steps of the map at the equilibrium, differentiated as they stand."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from wgf_solver.adjoints.base import AdjointReport, with_cotangent
from wgf_solver.adjoints.unrolled import plain_steps
from wgf_solver.flow import Flow
from wgf_solver.measure import Measure
from wgf_solver.velocities.base import VelocityField
from wgf_solver.velocities.residual import Residual


@dataclass(frozen=True)
class Phantom:
    r"""The ``k``-step phantom gradient with damping ``λ`` (Geng et al. 2021).

        Z_0 = Z* (constant),   Z_{j+1} = Z_j + λ v(Z_j; θ),   dℓ/dθ ≈ gᵀ dZ_k/dθ

    For `Residual` and ``J = ∂f/∂Z`` this replaces ``(I − J)^{-ᵀ} g`` by the first ``k`` terms of
    its Neumann series (λ = 1): exact as ``k → ∞`` where ``f`` contracts, and for ``k = 1`` the
    Jacobian-free ``u = g`` (Fung et al. 2022), which is what the DDEQ reference trains with. The
    returned values are those of ``Z*``, so training and evaluation see the same equilibrium.

    Args:
        steps: ``k``.
        damping: ``λ``.
        velocity: the field whose steps are differentiated. The default is the fixed-point map
            itself, whatever flow found the equilibrium; it needs a map that moves atoms one by one.
            After a flow whose own unit steps are the map up to relabelling
            (`VelocityField.picard`, as of `Transport`) the default is those, ``λ`` long: atom ``i``
            of ``F(μ)`` need not be the image of ``z_i``, and the matching says whose it is.
            None takes the flow's own field, with ``λ τ`` as its step.
    """

    steps: int = 1
    damping: float = 1.0
    velocity: VelocityField | None = field(default_factory=Residual)

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"steps must be at least 1; got {self.steps}")
        if not self.damping > 0:
            raise ValueError(f"damping must be positive; got {self.damping}")

    def attach(
        self, flow: Flow, mu: Measure, usable: Tensor, step: Tensor | float
    ) -> tuple[Tensor, AdjointReport]:
        """See `Adjoint.attach`."""
        if self.velocity is not None:
            # The map's steps are those of the flow, if it has them: it knows whose image is whose.
            own = self.velocity == Residual() and getattr(flow.velocity, "picard", False)
            flow = flow if own else flow.along(self.velocity)
        length = self.damping * (step if self.velocity is None else 1.0)
        z = plain_steps(flow, mu, usable, length, self.steps)
        return with_cotangent(z, mu.points), AdjointReport(f"{self!r}")
