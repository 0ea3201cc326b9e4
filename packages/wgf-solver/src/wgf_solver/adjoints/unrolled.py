"""Unrolled differentiation: the last steps of the flow, on the tape of autograd."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from wgf_solver.adjoints.base import AdjointReport, beside_points
from wgf_solver.flow import Flow
from wgf_solver.integrators.base import check_step
from wgf_solver.kernels.constants import hold_constants
from wgf_solver.measure import Measure


@dataclass(frozen=True)
class Unrolled:
    r"""Differentiate the last ``k`` steps of the flow as if autograd had recorded them.

        Z_0 = Z* (constant),   Z_{j+1} = Z_j + τ v(Z_j; θ),   dℓ/dθ ≈ gᵀ dZ_k/dθ

    With ``B = I + τ ∂v/∂Z`` the error is that of `Phantom`, ``‖B^k‖``: where plain steps of length
    ``τ`` contract, many steps give the gradient that `Implicit` gives, from nothing but the chain
    rule. That is what it is for: a reference, a short horizon, and second derivatives, which work.
    It needs neither a regular ``∂v/∂Z`` nor a fixed point; it needs memory for ``k`` steps. The
    returned values are those of ``Z*``.

    Args:
        steps: ``k``.
        step: ``τ``; None takes the first step of the integrator, which may be each measure's own.
    """

    steps: int
    step: float | None = None

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"steps must be at least 1; got {self.steps}")
        if self.step is not None:
            hold_constants(self, "step")
            check_step(self.step)

    def attach(
        self, flow: Flow, mu: Measure, usable: Tensor, step: Tensor | float
    ) -> tuple[Tensor, AdjointReport]:
        """See `Adjoint.attach`."""
        length = step if self.step is None else self.step
        z = plain_steps(flow, mu, usable, length, self.steps)
        points: Tensor = _WithValues.apply(z, mu.points)  # type: ignore[no-untyped-call]
        return points, AdjointReport(f"{self!r}")


class _WithValues(torch.autograd.Function):
    """The values of one tensor with the gradient, of any order, of another.

    Not ``values + (path − path.detach())``: steps that overflow would make the values NaN.
    """

    @staticmethod
    def forward(ctx: Any, path: Tensor, values: Tensor) -> Tensor:
        return values.clone()

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        return g, None


def plain_steps(
    flow: Flow, mu: Measure, usable: Tensor, length: Tensor | float, count: int
) -> Tensor:
    """``Z ← Z + length · v(Z)``, ``count`` times from ``mu``, tracked by autograd.

    Args:
        flow: what is followed.
        mu: the start; its points are taken as they are.
        usable: ``(...)`` bool: the measures that move.
        length: of each step, a number or one for each measure ``(...)``.
        count: how many.
    """
    z = mu.points
    tau = beside_points(length)
    keep = usable[..., None, None] & mu.mask[..., None]
    for _ in range(count):
        # Where nothing is kept, z stays as it is: no gradient through NaN, none into padding.
        z = torch.where(keep, z + tau * flow(mu.with_points(z)).velocity, mu.points)
    return z
