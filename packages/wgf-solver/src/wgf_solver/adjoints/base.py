"""What an adjoint is to the driver, and the one autograd function behind them all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from wgf_solver.flow import Flow
from wgf_solver.measure import Measure
from wgf_solver.precision import full_precision
from wgf_solver.watch import is_transformed

_BATCHED = (
    "the gradient of an equilibrium is of one loss; several at once (is_grads_batched=True, "
    "vectorize=True, torch.func.vmap) have no rule for its linear solve: ask for one after another"
)


class AdjointWarning(UserWarning):
    """The backward solve of some measures did not reach its tolerance."""


@dataclass
class AdjointReport:
    """How the backward pass went; the tensors are None until it has run.

    Attributes:
        method: the adjoint that was used.
        residual: ``‖(∂v/∂Z)ᵀu + g‖ / ‖g‖`` per measure, the true one, ``(...)``.
        steps: products with ``(∂v/∂Z)ᵀ`` per measure, ``(...)``.
        status: codes of `LinearStatus`, ``(...)``.
        solution: ``u (..., n, d)``, with which the next solve of a similar problem may start:
            ``Implicit(start=solution.adjoint.solution)``.
    """

    method: str
    residual: Tensor | None = None
    steps: Tensor | None = None
    status: Tensor | None = None
    solution: Tensor | None = field(default=None, repr=False)


class Adjoint(Protocol):
    """Gives the equilibrium its gradient."""

    def attach(
        self, flow: Flow, mu: Measure, usable: Tensor, step: Tensor | float
    ) -> tuple[Tensor, AdjointReport]:
        """Points with the values of ``mu.points`` and a gradient.

        Called with gradients on.

        Args:
            flow: of which the equilibrium is a root; what its map and its field close over
                receives the gradient.
            mu: the equilibrium; its points are detached, its weights and marks are not.
            usable: ``(...)`` bool: the measures through which a gradient may flow.
            step: ``τ (...)``, the first step of the integrator, which may be each measure's own:
                ``Z + τ v(Z)`` is the map of plain descent.
        """
        ...


def beside_points(step: Tensor | float) -> Tensor | float:
    """``τ (...)`` in a shape that multiplies points ``(..., n, d)``; a number as it is."""
    return step[..., None, None] if isinstance(step, Tensor) else step


def with_cotangent(
    path: Tensor, values: Tensor, solve: Callable[[Tensor], Tensor] | None = None
) -> Tensor:
    """A tensor with the values of ``values`` whose cotangent ``g`` enters ``path`` as ``solve(g)``.

    Whatever ``path`` depends on thus receives ``solve(g)ᵀ ∂path/∂θ``, with no list of parameters
    to keep and no hook. ``solve`` None is the identity. Differentiating the backward pass raises,
    with respect to ``g`` as with respect to ``path``: the derivative of ``solve`` is not
    implemented, and a wrong one must not go unnoticed.
    (`torch.autograd.function.once_differentiable` would let it: it marks ``solve(g)`` only where
    ``g`` wants a gradient, and the engine passes by a mark that leads to no requested input.)
    """
    result: Tensor = _WithCotangent.apply(path, values, solve)  # type: ignore[no-untyped-call]
    return result


class _WithCotangent(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, path: Tensor, values: Tensor, solve: Callable[[Tensor], Tensor] | None
    ) -> Tensor:
        ctx.solve = solve
        ctx.save_for_backward(path)
        return values.clone()

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        (path,) = ctx.saved_tensors
        if is_transformed(g):
            raise RuntimeError(_BATCHED)
        with torch.no_grad(), full_precision(g.device):
            u = g if ctx.solve is None else ctx.solve(g)
        if torch.is_grad_enabled():  # create_graph=True: somebody may differentiate this
            u = _Once.apply(u, path, g)  # type: ignore[no-untyped-call]
        return u, None, None


class _Once(torch.autograd.Function):
    """The identity in ``u``, on the way from all it depends on: no second derivative misses it."""

    @staticmethod
    def forward(ctx: Any, u: Tensor, path: Tensor, cotangent: Tensor) -> Tensor:
        return u.clone()

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        raise RuntimeError(
            "the gradient of an equilibrium was differentiated once more, and its second "
            "derivative is not implemented. Take gradients without create_graph=True, or solve "
            "with adjoint=Unrolled(steps), whose gradient can be differentiated"
        )
