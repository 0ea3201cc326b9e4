"""The Wasserstein gradient flow of a functional, and the derivative of where it comes to rest."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from wgf_solver.adjoints.base import Adjoint
from wgf_solver.adjoints.implicit import Implicit
from wgf_solver.arrays import Array
from wgf_solver.driving.driver import (
    bring_to_rest,
    check_choice,
    check_start,
    integrator_for,
    left_alone,
)
from wgf_solver.driving.options import Callback, OnFailure, Options
from wgf_solver.evaluation import Evaluation
from wgf_solver.flow import Flow
from wgf_solver.functionals import Functional, FunctionalLike, as_functional
from wgf_solver.integrators.base import Integrator
from wgf_solver.integrators.quasi_newton import LBFGS
from wgf_solver.measure import Measure
from wgf_solver.solution import Solution
from wgf_solver.velocities.base import Map


@left_alone
def gradient_flow(
    functional: FunctionalLike,
    mu0: Measure,
    *,
    held: Tensor | Array | None = None,
    integrator: Integrator | None = None,
    adjoint: Adjoint = Implicit(),  # noqa: B008 (a frozen value)
    rtol: float = 1e-4,
    atol: float = 0.0,
    max_steps: int = 1000,
    check_every: int | None = None,
    on_failure: OnFailure = "warn",
    callback: Callback | None = None,
    progress: bool = False,
    trajectory: bool = False,
) -> Solution:
    r"""Follow ``dz_i/dt = −(1/w_i) ∂_{z_i} 𝓕(μ)`` from ``μ_0`` until it rests, with a gradient.

    Along the flow ``d𝓕/dt = −Σ_i w_i ‖v_i‖²``. The measures of a batch do not influence each other
    and each has its own stop test: ``‖v‖ ≤ max(rtol · max(‖v(Z_0)‖, scale), atol)`` in the weighted
    RMS norm, where the scale of a sum of functionals is the size, at the start, of the parts that
    balance each other.

    Where the flow rests, ``v(Z*; θ) = 0`` for all ``θ`` that the functional closes over (a target,
    the parameters of a potential), and the adjoints of `wgf_solver.equilibrium` differentiate that:
    ``dZ*/dθ = −(∂v/∂Z)^{-1} ∂v/∂θ``. For `Implicit`, ``∂v/∂Z``, the Hessian of ``𝓕`` by mass, must
    be regular; an interaction alone leaves translations free, and the adjoint would say so.
    `Unrolled` differentiates the last steps, at rest or not.

    Args:
        functional: ``𝓕``: `DistanceTo`, `Potential`, `Interaction`, sums and multiples of them, or
            any function from a `Measure` to one number for each measure, such as
            ``lambda mu: mu.spread().square()``.
        mu0: the start, any batch shape; its points receive no gradient, those of held atoms do.
        held: bool ``(..., n)``: the atoms that do not move; see `equilibrium`.
        integrator: how the flow is followed. None is `LBFGS`, which chooses directions and lengths
            by itself and goes downhill, for where it is the end that matters. For the way itself
            take ``Euler(step)``, whose step is the time step; it is stable below 2 over the largest
            curvature, and an energy kernel's pull, which does not fade near its target, wants a
            step that decays (`GeometricDecay`). `Anderson` finds any point of rest, also a saddle.
        adjoint: `Implicit`, `Unrolled` or ``Phantom(velocity=None)``; used if gradients are on and
            anything asks for them.
        rtol: relative tolerance.
        atol: absolute tolerance on ``‖v‖``; see `equilibrium`.
        max_steps: evaluations of the functional's velocity, at most.
        check_every: see `equilibrium`.
        on_failure: what to do if a measure did not come to rest. A flow that is followed for a
            while and not to its end takes ``"ignore"``.
        callback: ``callback(step, measure, evaluation)`` at each evaluation;
            ``evaluation.discrepancy`` is the energy.
        progress: show a bar (needs tqdm), updated at each look.
        trajectory: keep the iterates in `Solution.trajectory`.

    Returns:
        A `Solution`. Its measure is where the flow came to rest, or else the iterate of lowest
        energy; `Solution.discrepancy` is the energy there, `Solution.energies` those on the way.
        At rest means a stationary point: a functional that is not convex along the flow may have
        others that are lower.

    Raises:
        EquilibriumError: a measure did not come to rest and ``on_failure="raise"``.
        TypeError: an argument is not of its kind.
        ValueError: an argument is out of range, or the functional returns what does not fit.

    Example:
        The point nearest to 3 and to 0, the latter with twice the weight:

        >>> import torch
        >>> from wgf_solver import Measure, Potential, gradient_flow
        >>> to_three = Potential(lambda z: (z[..., 0] - 3).square())
        >>> to_zero = Potential(lambda z: z[..., 0].square())
        >>> start = Measure(torch.zeros(1, 1))
        >>> gradient_flow(0.1 * to_three + 0.2 * to_zero, start).measure.points.round(decimals=3)
        tensor([[1.]])
    """
    check_start(mu0)
    velocity = Gradient(as_functional(functional))
    integrator = integrator_for(velocity, integrator)
    check_choice("adjoint", adjoint, "attach", "Implicit() or Unrolled(steps)")
    options = Options(
        rtol, atol, max_steps, check_every, on_failure, callback, progress, trajectory, held
    )
    return bring_to_rest(Flow(velocity), mu0, integrator, adjoint, options)


@dataclass(frozen=True)
class Gradient:
    """The velocity field of a functional; it has no map."""

    functional: Functional

    @property
    def descends(self) -> bool:
        """True."""
        return True

    def default_integrator(self) -> LBFGS:
        """`LBFGS`."""
        return LBFGS()

    def prepared(self, mu: Measure) -> Gradient:
        """The same field; what will not change along the flow is computed once."""
        return Gradient(self.functional.prepared(mu))

    def __call__(self, f: Map, mu: Measure) -> Evaluation:
        """Energy and velocity; ``f`` is not asked."""
        return self.functional.slope(mu)
