"""The Wasserstein gradient flow of a functional, and the derivative of where it comes to rest."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from wgf_solver.adjoints.base import Adjoint
from wgf_solver.adjoints.implicit import Implicit
from wgf_solver.equilibrium import Callback, _check, _report, _run, _with_gradient
from wgf_solver.functionals import Functional, FunctionalLike, as_functional
from wgf_solver.integrators.base import Integrator
from wgf_solver.integrators.euler import Euler
from wgf_solver.iteration import Iteration
from wgf_solver.measure import Measure
from wgf_solver.precision import full_precision
from wgf_solver.solution import Solution
from wgf_solver.velocities.base import Evaluation, Map
from wgf_solver.watch import depends_beyond


def gradient_flow(
    functional: FunctionalLike,
    mu0: Measure,
    *,
    integrator: Integrator = Euler(),  # noqa: B008 (a frozen value)
    adjoint: Adjoint = Implicit(),  # noqa: B008
    rtol: float = 1e-4,
    max_steps: int = 1000,
    check_every: int | None = None,
    on_failure: Literal["warn", "raise", "ignore"] = "warn",
    callback: Callback | None = None,
    progress: bool = False,
    trajectory: bool = False,
) -> Solution:
    r"""Follow ``dz_i/dt = −(1/w_i) ∂_{z_i} 𝓕(μ)`` from ``μ_0`` until it rests, with a gradient.

    Along the flow ``d𝓕/dt = −Σ_i w_i ‖v_i‖²``. The measures of a batch do not influence each other
    and each has its own stop test: ``‖v‖ ≤ rtol · max(‖v(Z_0)‖, scale)`` in the weighted RMS norm,
    where the scale of a sum of functionals is the size of the parts that balance each other.

    Where the flow rests, ``v(Z*; θ) = 0`` for all ``θ`` that the functional closes over (a target,
    the parameters of a potential), and the adjoints of `wgf_solver.equilibrium` differentiate that:
    ``dZ*/dθ = −(∂v/∂Z)^{-1} ∂v/∂θ``. For `Implicit`, ``∂v/∂Z``, the Hessian of ``𝓕`` by mass, must
    be regular; an interaction alone leaves translations free, and the adjoint would say so.
    `Unrolled` differentiates the last steps, at rest or not.

    Args:
        functional: ``𝓕``: `DistanceTo`, `Potential`, `Interaction`, sums and multiples of them, or
            any function from a `Measure` to one number for each measure, such as
            ``lambda mu: mu.spread().square()``.
        mu0: the start, any batch shape; its points receive no gradient.
        integrator: how the flow is followed. Euler's step is the time step; it is stable below 2
            over the largest curvature. An energy kernel's pull does not fade near its target: let
            the step decay (`GeometricDecay`). Where it is the end that matters and not the way,
            `BarzilaiBorwein` and `LBFGS` choose lengths themselves and are there in a fifth of the
            steps or less. `Anderson` finds any point of rest, also a saddle.
        adjoint: `Implicit`, `Unrolled` or ``Phantom(velocity=None)``; used if gradients are on and
            anything asks for them.
        rtol: relative tolerance.
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
    _check(mu0, {"integrator": integrator, "adjoint": adjoint}, rtol, max_steps, check_every)
    if on_failure not in ("warn", "raise", "ignore"):
        raise ValueError(f"on_failure must be 'warn', 'raise' or 'ignore'; got {on_failure!r}")
    if check_every is None:
        check_every = 1 if mu0.points.device.type == "cpu" else 8
    energies: list[Tensor] = []

    def observe(step: int, mu: Measure, evaluation: Evaluation) -> None:
        energies.append(evaluation.discrepancy)
        if callback is not None:
            callback(step, mu, evaluation)

    recording = torch.is_grad_enabled()
    with full_precision(mu0.points.device):
        mu0 = mu0.zero_padding()
        field = _Gradient(as_functional(functional).prepared(mu0))
        with torch.no_grad():
            iteration = Iteration(
                _no_map, mu0, field, integrator, rtol,
                callback=observe, trajectory=trajectory, watch=False,
            )  # fmt: skip
            _run(iteration, max_steps, check_every, progress)
            solution = replace(iteration.solution(), energies=torch.stack(energies))
        if recording and _wants_gradient(field, mu0):
            step = integrator.step_size(0)
            solution = _with_gradient(solution, _no_map, field, mu0, adjoint, step)
    _report(solution, on_failure)
    return solution


@dataclass(frozen=True)
class _Gradient:
    """The velocity field of a functional; it has no map."""

    functional: Functional

    @property
    def descends(self) -> bool:
        return True

    def __call__(self, f: Map, mu: Measure) -> Evaluation:
        velocity, scale, energy, rounding = self.functional.slope(mu)
        if rounding is None:
            rounding = torch.zeros_like(scale)
        return Evaluation(velocity, scale, rounding, energy, mu)


def _no_map(mu: Measure) -> Measure:
    raise TypeError(
        "the flow of a functional has no map F, and this adjoint wants one; take Implicit(), "
        "Unrolled(steps) or Phantom(steps, velocity=None)"
    )


def _wants_gradient(field: _Gradient, mu0: Measure) -> bool:
    """Whether the velocity depends on anything that wants a gradient, but for the points."""
    z = mu0.points.detach().clone().requires_grad_()
    velocity = field(_no_map, mu0.with_points(z)).velocity
    return depends_beyond(velocity, z)
