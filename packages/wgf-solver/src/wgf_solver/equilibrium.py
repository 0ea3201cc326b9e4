"""Equilibria of maps on measures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

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
from wgf_solver.flow import Flow, copied
from wgf_solver.integrators.base import Integrator
from wgf_solver.measure import Measure
from wgf_solver.precision import in_present_autocast
from wgf_solver.solution import Solution
from wgf_solver.velocities.base import Map, VelocityField
from wgf_solver.velocities.residual import Residual


@left_alone
def equilibrium(
    f: Map | Callable[[Measure], tuple[Measure, Any]],
    mu0: Measure,
    *,
    held: Tensor | Array | None = None,
    has_aux: bool = False,
    velocity: VelocityField = Residual(),  # noqa: B008 (a frozen value)
    integrator: Integrator | None = None,
    adjoint: Adjoint = Implicit(),  # noqa: B008
    rtol: float = 1e-4,
    atol: float = 0.0,
    max_steps: int = 200,
    check_every: int | None = None,
    on_failure: OnFailure = "warn",
    callback: Callback | None = None,
    progress: bool = False,
    trajectory: bool = False,
) -> Solution:
    r"""Find ``μ* = F(μ*)`` for every measure of a batch, with a gradient.

    Every method is three choices: a velocity field ``v(Z; F)`` whose roots are the equilibria, an
    integrator that follows it, and an adjoint that differentiates the root. The measures of a batch
    do not influence each other: each has its own stop test, step count and history; one that is
    done is frozen, and NaN in one leaves the others unchanged to the bit.

    A measure has converged when ``‖v‖ ≤ max(rtol · max(‖v(Z_0)‖, scale), atol)``, with the weighted
    RMS norm ``‖v‖² = Σ_i w_i ‖v_i‖²/d`` and the field's own scale (for `Residual` the spread of
    ``F(μ_0)``), or when ``‖v‖`` is down to rounding. All of that is measured at the start, so that
    no iterate changes what counts as small (see `wgf_solver.driving.yardstick`). On a field that
    descends a discrepancy, a root with a discrepancy that the tolerance does not explain is probed:
    it is pushed a little, atoms that no force reaches are put where they are wanted
    (`wgf_solver.MMD.relocated`), and it is descended from. If the discrepancy falls to less than
    half of what it was, the root was no minimum, and the solve goes on from there. If it does not,
    but ``F(μ)`` lies elsewhere, it is no equilibrium either: a local minimum with ``D > 0``, or a
    map without a fixed point (see `wgf_solver.driving.probe`).

    `torch.compile` leaves a solve as it is, whatever is compiled around it or inside ``F``: its
    loop ends where values say so, and so no graph with ``fullgraph=True`` holds it; compile ``F``
    by itself. What `torch.export` makes of a solve is one graph, which ``fullgraph=True`` takes; it
    has no early end, no gradient, no warnings and no probes: a root that would be probed is
    `Status.STATIONARY` there.

    Args:
        f: ``F``, a function from `Measure` to `Measure`, of the same batch shape and dimension. It
            must be deterministic during a solve (hold dropout masks fixed). One that writes into
            its argument gets copies of it, with a warning. Whatever it closes over (parameters,
            inputs), and the weights and marks of ``mu0``, receive gradients.
        mu0: the start, any batch shape; its points receive no gradient, as equilibria do not depend
            on them, but for those of held atoms.
        held: bool ``(..., n)``, or without leading dimensions of the batch: True where an atom
            must not move. It stays at its place in ``mu0`` and is part of every measure that ``F``
            and the field see; what ``F`` returns for it is not asked by `Residual`. The
            equilibrium is that of the free atoms, ``‖v‖`` their root mean square, and its
            derivative with respect to the places of the held ones is found with the others.
        has_aux: ``F`` returns a pair, the measure and anything else (attention maps, logits). What
            stands beside ``F(μ*)`` is `Solution.aux`: of one evaluation more, at the equilibrium
            itself, with the gradients of any call of ``F`` there, through ``μ*`` as well.
        velocity: `Residual`, `Descent`, or your own `VelocityField`.
        integrator: `Anderson`, `LBFGS`, `Euler`, or your own `Integrator`. None: the field's
            choice, `Anderson` for `Residual` and `Transport`, `LBFGS` for `Descent`.
        adjoint: `Implicit` or `Phantom`; used if gradients are on and anything asks for them.
        rtol: relative tolerance; float32 reaches about 1e-6.
        atol: absolute tolerance on ``‖v‖``, in its unit: for starts that are nearly exact, beside
            whose first velocity nothing is small.
        max_steps: evaluations of the field, at most.
        check_every: look at the device every so many steps to see whether all measures are done.
            Freezing happens at each step all the same, so results do not depend on it. None: every
            step on the CPU, every 8th elsewhere, where a look makes the device wait.
        on_failure: what to do if a measure reached no equilibrium.
        callback: see `Callback`.
        progress: show a bar (needs tqdm), updated at each look.
        trajectory: keep the iterates in `Solution.trajectory`.

    Returns:
        A `Solution`.

    Raises:
        EquilibriumError: a measure failed and ``on_failure="raise"``; the error has the solution.
        TypeError: an argument is not of its kind.
        ValueError: an argument is out of range, or ``F`` returns what does not fit.

    Example:
        The stationary law of ``X ↦ X/2 + ξ``, ``ξ`` uniform on the marks:

        >>> import torch
        >>> from wgf_solver import Measure, equilibrium
        >>> noise = torch.tensor([[-1.0], [1.0]])
        >>> start = Measure(torch.zeros(2, 1), marks=noise)
        >>> solution = equilibrium(lambda mu: mu.with_points(mu.points / 2 + mu.marks), start)
        >>> solution.measure.points.flatten().round(decimals=3)
        tensor([-2.,  2.])
    """
    check_start(mu0)
    check_choice("velocity", velocity, "__call__", "Residual() or Descent(MMD(Multiquadric(0.1)))")
    integrator = integrator_for(velocity, integrator)
    check_choice("adjoint", adjoint, "attach", "Implicit() or Phantom()")
    if not callable(f):
        raise TypeError(f"F must be a function from a Measure to a Measure; got {f!r}")
    options = Options(
        rtol, atol, max_steps, check_every, on_failure, callback, progress, trajectory, held
    )
    there = in_present_autocast(f, mu0.points.device)
    first = (lambda mu: _pair(there(mu))[0]) if has_aux else cast(Map, there)
    flow = Flow(velocity, first)
    solution = bring_to_rest(flow, mu0, integrator, adjoint, options)
    if not has_aux:
        return solution
    # Other tensors than the solution's, which a map that writes into its argument would alter.
    return replace(solution, aux=_pair(f(copied(solution.measure)))[1])


def _pair(image: Any) -> tuple[Measure, Any]:
    """What a map with an auxiliary output returned."""
    if isinstance(image, tuple) and len(image) == 2 and isinstance(image[0], Measure):
        return image
    raise TypeError(
        "with has_aux=True the map returns a pair, (measure, anything); got "
        f"{type(image).__name__}. Without anything beside the measure leave has_aux out"
    )
