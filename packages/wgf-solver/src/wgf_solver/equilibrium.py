"""The driver: one function that finds equilibria of maps on measures."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor

from wgf_solver.adjoints.base import Adjoint, AdjointReport
from wgf_solver.adjoints.implicit import Implicit
from wgf_solver.integrators.anderson import Anderson
from wgf_solver.integrators.base import Integrator
from wgf_solver.iteration import Iteration
from wgf_solver.measure import Measure
from wgf_solver.precision import full_precision, in_present_autocast
from wgf_solver.probe import PROBE_STEPS, descend_from
from wgf_solver.solution import EquilibriumError, EquilibriumWarning, Solution, Status
from wgf_solver.velocities.base import Evaluation, Map, VelocityField
from wgf_solver.velocities.residual import Residual

Callback: TypeAlias = Callable[[int, Measure, Evaluation], None]
"""``callback(step, measure, evaluation)``, called at each evaluation with detached tensors."""

# A field that descends may come to rest at a saddle; it is pushed off and sent on so many times.
_ESCAPES = 3


def equilibrium(
    f: Map,
    mu0: Measure,
    *,
    velocity: VelocityField = Residual(),  # noqa: B008 (a frozen value)
    integrator: Integrator = Anderson(),  # noqa: B008
    adjoint: Adjoint = Implicit(),  # noqa: B008
    rtol: float = 1e-4,
    max_steps: int = 200,
    check_every: int | None = None,
    on_failure: Literal["warn", "raise", "ignore"] = "warn",
    callback: Callback | None = None,
    progress: bool = False,
    trajectory: bool = False,
) -> Solution:
    r"""Find ``μ* = F(μ*)`` for every measure of a batch, with a gradient.

    Every method is three choices: a velocity field ``v(Z; F)`` whose roots are the equilibria, an
    integrator that follows it, and an adjoint that differentiates the root. The measures of a batch
    do not influence each other: each has its own stop test, step count and history; one that is
    done is frozen, and NaN in one leaves the others unchanged to the bit.

    A measure has converged when ``‖v‖ ≤ rtol · max(‖v(Z_0)‖, scale)``, with the weighted RMS norm
    ``‖v‖² = Σ_i w_i ‖v_i‖²/d`` and the field's own scale (for `Residual` the spread of ``F(μ)``),
    or when ``‖v‖`` is down to rounding. On a field that descends a discrepancy, a root with a
    discrepancy that the tolerance does not explain is probed: it is pushed a little, atoms that no
    force reaches are put where they are wanted (`wgf_solver.MMD.relocated`), and it is descended
    from. If the discrepancy falls to less than half of what it was, the root was no minimum, and
    the solve goes on from there.

    Args:
        f: ``F``, a function from `Measure` to `Measure`, of the same batch shape and dimension. It
            must be deterministic during a solve (hold dropout masks fixed). Whatever it closes over
            (parameters, inputs), and the weights and marks of ``mu0``, receive gradients.
        mu0: the start, any batch shape; its points receive no gradient, as equilibria do not depend
            on them.
        velocity: `Residual`, `Descent`, or your own `VelocityField`.
        integrator: `Anderson`, `Euler`, or your own `Integrator`.
        adjoint: `Implicit` or `Phantom`; used if gradients are on and anything asks for them.
        rtol: relative tolerance; float32 reaches about 1e-6.
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
    objects = {"velocity": velocity, "integrator": integrator, "adjoint": adjoint}
    _check(mu0, objects, rtol, max_steps, check_every)
    if on_failure not in ("warn", "raise", "ignore"):
        raise ValueError(f"on_failure must be 'warn', 'raise' or 'ignore'; got {on_failure!r}")
    if check_every is None:
        check_every = 1 if mu0.points.device.type == "cpu" else 8
    recording = torch.is_grad_enabled()
    f = in_present_autocast(f, mu0.points.device)
    with full_precision(mu0.points.device):
        mu0 = mu0.zero_padding()
        with torch.no_grad():
            iteration = Iteration(
                f, mu0, velocity, integrator, rtol,
                callback=callback, trajectory=trajectory, watch=recording,
            )  # fmt: skip
            _run(iteration, max_steps, check_every, progress)
            iteration.refuse_overflow()
            if velocity.descends:
                _leave_saddles(iteration, max_steps, check_every, progress)
            solution = iteration.solution()
        if recording and iteration.depends_on_something:
            solution = _with_gradient(solution, f, velocity, mu0, adjoint, integrator.step_size(0))
    _report(solution, on_failure)
    return solution


def _check(
    mu0: Measure, objects: dict[str, Any], rtol: float, max_steps: int, check_every: int | None
) -> None:
    """Raise for arguments that are not of their kind or out of range."""
    if not isinstance(mu0, Measure):
        raise TypeError(f"mu0 must be a Measure(points, weights); got {type(mu0).__name__}")
    if mu0.points.dtype not in (torch.float32, torch.float64):
        raise TypeError(
            f"equilibria are computed in float32 or float64; mu0 is in {mu0.points.dtype}. Use "
            "mu0.to(dtype=torch.float32), and let the map run under torch.autocast"
        )
    for name, value in objects.items():
        if isinstance(value, type):
            raise TypeError(f"{name} takes a value, not a class: {value.__name__}(...)")
    if not rtol > 0 or max_steps < 1 or (check_every is not None and check_every < 1):
        raise ValueError(
            "rtol must be positive, max_steps and check_every at least 1; got "
            f"rtol={rtol}, max_steps={max_steps}, check_every={check_every}"
        )


def _run(
    iteration: Iteration, max_steps: int, check_every: int, progress: bool, first: int = 0
) -> None:
    """Step until all measures are done or the budget is spent, of which ``first`` is gone."""
    bar = _progress_bar(max_steps - first) if progress else None
    last = iteration.k + max_steps - first
    while iteration.k < last:
        iteration.evaluate()
        iteration.stop_spent(max_steps)
        look = iteration.k % check_every == 0
        if bar is not None and look:
            bar.update(check_every)
            running = int((iteration.status == Status.RUNNING).sum())
            bar.set_postfix(running=running, residual=f"{float(iteration.residual.max()):.1e}")
        if look and not bool((iteration.status == Status.RUNNING).any()):
            break
        if iteration.k < last:
            iteration.step()
    if bar is not None:
        bar.close()


def _leave_saddles(iteration: Iteration, max_steps: int, check_every: int, progress: bool) -> None:
    """Send measures that rest at a saddle on, and name those that no push or budget gets away."""
    cleared = torch.zeros_like(iteration.status, dtype=torch.bool)
    for attempt in range(_ESCAPES + 1):
        doubt = iteration.in_doubt() & ~cleared
        if not bool(doubt.any()):
            return
        fallen = descend_from(iteration)
        iteration.probe_steps = iteration.probe_steps + PROBE_STEPS * doubt
        saddles = doubt & fallen.lower
        cleared = cleared | (doubt & ~saddles)
        stuck = saddles & (iteration.steps >= max_steps) if attempt < _ESCAPES else saddles
        iteration.call_stationary(stuck)
        saddles = saddles & ~stuck
        if not bool(saddles.any()):
            return
        iteration.resume(saddles, fallen.points)
        least = int(iteration.steps[saddles].min())
        _run(iteration, max_steps, check_every, progress, least)


def _with_gradient(
    solution: Solution,
    f: Map,
    velocity: VelocityField,
    mu0: Measure,
    adjoint: Adjoint,
    step: float,
) -> Solution:
    """The solution with its points tied to everything that ``F`` depends on."""
    usable = (solution.status != Status.NONFINITE) & (solution.status != Status.EMPTY)
    mu = mu0.with_points(solution.measure.points)
    points: Tensor
    report: AdjointReport
    points, report = adjoint.attach(f, velocity, mu, usable, step)
    return replace(solution, measure=mu.with_points(points), adjoint=report)


def _report(solution: Solution, on_failure: str) -> None:
    """Be loud about failure, as asked."""
    if on_failure == "ignore" or not bool(solution.failed.any()):
        return
    if on_failure == "raise":
        raise EquilibriumError(solution.summary(), solution)
    warnings.warn(solution.summary(), EquilibriumWarning, stacklevel=3)


def _progress_bar(total: int):  # type: ignore[no-untyped-def]  # tqdm is an optional import
    try:
        from tqdm.auto import tqdm
    except ImportError as error:
        raise ImportError("progress=True needs tqdm: pip install 'wgf-solver[progress]'") from error
    return tqdm(total=total, desc="equilibrium", unit="step", leave=False)
