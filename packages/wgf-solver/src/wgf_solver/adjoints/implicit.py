"""The implicit function theorem at the equilibrium."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from wgf_solver.adjoints.base import (
    AdjointReport,
    AdjointWarning,
    beside_points,
    with_cotangent,
)
from wgf_solver.adjoints.gmres import GMRES, Linear, LinearSolver, LinearStatus
from wgf_solver.flow import Flow
from wgf_solver.measure import Measure
from wgf_solver.watch import lowest_precision


@dataclass(frozen=True)
class Implicit:
    r"""The exact gradient of the equilibrium, in memory that does not grow with the steps.

    The equilibrium solves ``v(Z*; θ) = 0``. If ``∂v/∂Z`` is regular there, then by the implicit
    function theorem ``dZ*/dθ = −(∂v/∂Z)^{-1} ∂v/∂θ``, and for a loss ``ℓ(Z*)`` with cotangent
    ``g = ∂ℓ/∂Z*``

        (∂v/∂Z)ᵀ u = −g,      dℓ/dθ = uᵀ ∂v/∂θ.

    For `Residual` that is the familiar ``(I − ∂f/∂Z)ᵀ u = g``; the rule is the same for every
    velocity field, also where ``F`` returns another number of atoms. ``v`` is evaluated once at
    ``Z*`` with its graph kept; every product with ``(∂v/∂Z)ᵀ`` is a backward pass through it, and
    ``u`` then enters the same graph to reach ``θ``. The equilibrium does not depend on where the
    solve started, so the start receives no gradient; weights and marks do.

    If the linear solve of a measure ends early, a warning says so and names the residual. If ``u``
    explains less than half of ``g``, or is not finite, that measure falls back to the one-step
    phantom gradient ``u = τ g``. Never is a gradient silently zero. A measure whose forward solve
    became NaN has no equilibrium and is left out: its cotangent is 0. (If its data are NaN, what
    it shares with the others may still receive ``0 · NaN``; keep such data out of a batch.)

    Args:
        linear_solver: `GMRES`, or your own `LinearSolver`. Where the map computes in half
            precision, within autocast say, its default tolerance is that of half precision.
        start: ``u`` of a similar solve, such as that of the last training step
            (`AdjointReport.solution`), from which the linear solver starts; ``(..., n, d)``, the
            shape of the equilibrium. What it cannot know, it need not: the length of ``u`` is
            fitted, and a useless start costs one product.
        preconditioner: from the equilibrium to ``u ↦ M⁻¹ u`` on ``(..., n, d)``, an approximate
            inverse of ``−(∂v/∂Z)ᵀ`` there: of a part of the map that is easy to invert, say. It
            saves products and changes no gradient.
    """

    linear_solver: LinearSolver = field(default_factory=GMRES)
    start: Tensor | None = field(default=None, compare=False, repr=False)
    preconditioner: Callable[[Measure], Linear] | None = None

    def attach(
        self, flow: Flow, mu: Measure, usable: Tensor, step: Tensor | float
    ) -> tuple[Tensor, AdjointReport]:
        """See `Adjoint.attach`.

        Raises:
            ValueError: ``start`` does not have the shape of the points.
        """
        start = self.start
        if start is not None and start.shape != mu.points.shape:
            raise ValueError(
                f"Implicit(start=...) must have the shape {tuple(mu.points.shape)} of the points; "
                f"got {tuple(start.shape)}. Leave it out where the batch changes"
            )
        report = AdjointReport(f"{type(self).__name__}({self.linear_solver})")
        z = mu.points.clone().requires_grad_()
        v = flow(mu.with_points(z)).velocity
        precision = lowest_precision(v)

        def solve(g: Tensor) -> Tensor:
            g = torch.where(usable[..., None, None] & mu.mask[..., None], g, 0)

            def minus_jacobian_transposed(u: Tensor) -> Tensor:
                (image,) = torch.autograd.grad(v, z, u, retain_graph=True, materialize_grads=True)
                return -image

            beside: dict[str, Any] = {}
            if self.preconditioner is not None:
                beside["preconditioner"] = self.preconditioner(mu.detach())
            result = self.linear_solver.solve(
                minus_jacobian_transposed,
                g,
                start=None if start is None else start.detach().to(g),
                precision=precision,
                **beside,
            )
            report.solution, report.residual, report.steps, report.status = result
            lost = ~(result.residual < 0.5) & (g != 0).flatten(-2).any(-1)
            if bool((result.status != int(LinearStatus.CONVERGED)).any()):
                _warn(report, lost, precision)
            return torch.where(lost[..., None, None], beside_points(step) * g, result.solution)

        return with_cotangent(v, mu.points, solve), report


def _warn(report: AdjointReport, lost: Tensor, precision: torch.dtype) -> None:
    """Say which measures' gradients are approximate, how far off, and what was done."""
    assert report.residual is not None
    assert report.status is not None
    bad = report.status != int(LinearStatus.CONVERGED)
    names = sorted({LinearStatus(code).name for code in report.status[bad].tolist()})
    half = ""
    if precision in (torch.bfloat16, torch.float16):
        half = (
            f" The map computes in {precision}, which allows about "
            f"{GMRES().tolerance(precision):.0e}: run it in float32 (torch.autocast(..., "
            "enabled=False)) for a better gradient."
        )
    warnings.warn(
        f"The adjoint solve of {int(bad.sum())} of {bad.numel()} measures did not reach its "
        f"tolerance ({', '.join(names)}; largest relative residual "
        f"{float(report.residual[bad].max()):.1e}). {int(lost.sum())} of them fell back to the "
        "one-step phantom gradient; the others use the approximate solution. Raise "
        "GMRES(max_steps, restart) or rtol, or solve the forward problem more accurately." + half,
        AdjointWarning,
        stacklevel=2,
    )
