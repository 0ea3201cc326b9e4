"""The one driver, which brings a flow to rest; `equilibrium` and `gradient_flow` call it."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from typing import Any, TypeVar, cast

import torch
from torch import Tensor

from wgf_solver.adjoints.base import Adjoint
from wgf_solver.driving.iteration import NONFINITE, Iteration
from wgf_solver.driving.options import OnFailure, Options
from wgf_solver.driving.probe import PROBE_STEPS, descend_from, image_is_elsewhere
from wgf_solver.flow import Flow, with_labels_copied
from wgf_solver.held import held_at
from wgf_solver.inference import ordinary, outside_inference_mode
from wgf_solver.integrators.anderson import Anderson
from wgf_solver.integrators.base import Integrator
from wgf_solver.integrators.quasi_newton import LBFGS
from wgf_solver.measure import Measure
from wgf_solver.norms import has_values
from wgf_solver.precision import full_precision
from wgf_solver.solution import EquilibriumError, EquilibriumWarning, Solution, Status
from wgf_solver.velocities.base import VelocityField, WritesInPlaceError

Function = TypeVar("Function", bound=Callable[..., Any])

_TRANSFORMED = (
    "{name} cannot be transformed by torch.func (vmap, grad, jacrev): give it a batch, whose "
    "measures are solved each by itself, instead of vmap, and differentiate by loss.backward() or "
    "torch.autograd.grad"
)
_INFERENCE = (
    "this field is found by autograd, and the map, or the functional, uses a tensor that was made "
    "within torch.inference_mode, which autograd cannot save: take torch.no_grad() there instead"
)
# A field that descends may come to rest at a saddle; it is pushed off and sent on so many times.
_ESCAPES = 3


def check_start(mu0: Measure) -> None:
    """Raise TypeError unless ``mu0`` is a measure in a precision that can be solved in."""
    if not isinstance(mu0, Measure):
        raise TypeError(f"mu0 must be a Measure(points, weights); got {type(mu0).__name__}")
    if mu0.points.dtype not in (torch.float32, torch.float64):
        raise TypeError(
            f"equilibria are computed in float32 or float64; mu0 is in {mu0.points.dtype}. Use "
            "mu0.to(dtype=torch.float32), and let the map run under torch.autocast"
        )


def check_choice(name: str, value: object, member: str, example: str) -> None:
    """Raise TypeError unless ``value`` is a value (no class, no name) that has ``member``."""
    if isinstance(value, type):
        raise TypeError(f"{name} takes a value, not a class: {value.__name__}(...)")
    if not callable(getattr(value, member, None)):
        raise TypeError(f"{name} takes a value such as {example}; got {value!r}")


def left_alone(function: Function) -> Function:
    """``function``, which `torch.compile` calls as it is: it looks at values to see who rests.

    For that reason `torch.func` has no transform of it, which this says in words of its own.
    """

    @wraps(function)
    def called(*arguments: Any, **options: Any) -> Any:
        if not torch.compiler.is_compiling():
            transformed = torch._C._functorch.peek_interpreter_stack() is not None
            try:
                return function(*arguments, **options)
            except RuntimeError as error:
                # Not of a transform within the map, whose errors are its own.
                if transformed and ("vmap" in str(error) or "functorch" in str(error)):
                    raise RuntimeError(_TRANSFORMED.format(name=function.__name__)) from error
                if "Inference tensors cannot be saved" in str(error):
                    raise RuntimeError(_INFERENCE) from error
                raise
        # Only here: what compiles takes a second to import.
        disable: Callable[[Function], Function] = torch.compiler.disable
        return disable(function)(*arguments, **options)

    return cast(Function, called)


def bring_to_rest(
    flow: Flow, mu0: Measure, integrator: Integrator, adjoint: Adjoint, options: Options
) -> Solution:
    """Follow ``flow`` from ``mu0`` to where it rests, and give that its gradient.

    One look at the first evaluation tells whether the map depends on anything that wants a
    gradient; a solve that nothing depends on gets no graph.
    """
    recording = torch.is_grad_enabled()
    with full_precision(mu0.points.device), outside_inference_mode():
        mu0 = ordinary(mu0).zero_padding()
        flow = replace(flow.prepared(mu0), held=held_at(options.held, mu0))
        spare = with_labels_copied(mu0)

        def iterated(flow: Flow, start: Measure) -> Iteration:
            iteration = Iteration(flow, start, integrator, options, watch=recording)
            _descend_and_escape(iteration, options)
            return iteration

        with torch.no_grad():
            try:
                iteration = iterated(flow, spare)
            except WritesInPlaceError as error:  # into a copy: the caller's tensors are untouched
                warnings.warn(f"{error}. Until then it gets copies", stacklevel=4)
                flow = flow.on_copies()
                iteration = iterated(flow, mu0)
            solution = iteration.solution()
        if recording and (iteration.depends_on_something or flow.wants_gradient(mu0)):
            with torch.no_grad():
                step = iteration.first_step
            solution = _with_gradient(solution, flow, mu0, adjoint, step)
    _report(solution, options.on_failure)
    return solution


def _descend_and_escape(iteration: Iteration, options: Options) -> None:
    """Step until every measure is done, and on from saddles; gradients are off."""
    _run(iteration, options)
    iteration.refuse_overflow()
    # A gradient flow is asked where it rests; only of a map can a point of rest be the wrong one.
    if iteration.flow.map is None or not iteration.flow.descends:
        return
    if has_values(iteration.status):
        _leave_saddles(iteration, options)
    else:  # nobody can look whether a probe is due
        iteration.call_stationary(iteration.in_doubt())


def _run(iteration: Iteration, options: Options, first: int = 0) -> None:
    """Step until all measures are done or the budget is spent, of which ``first`` is gone."""
    max_steps = options.max_steps
    every = options.look_every(iteration.mu.points.device)
    bar = _progress_bar(max_steps - first) if options.progress else None
    last = iteration.k + max_steps - first
    while iteration.k < last:
        iteration.evaluate()
        iteration.stop_spent(max_steps)
        look = iteration.k % every == 0 and has_values(iteration.status)
        if bar is not None and look:
            bar.update(every)
            running = int(iteration.running.sum())
            bar.set_postfix(running=running, residual=f"{float(iteration.residual.max()):.1e}")
        if look and iteration.over():
            break
        if iteration.k < last:
            iteration.step()
    if bar is not None:
        bar.close()


def _leave_saddles(iteration: Iteration, options: Options) -> None:
    """Send measures that rest at a saddle on; name those that are no equilibria all the same."""
    cleared = torch.zeros_like(iteration.status, dtype=torch.bool)
    for attempt in range(_ESCAPES + 1):
        doubt = iteration.in_doubt() & ~cleared
        if not bool(doubt.any()):
            return
        fallen = descend_from(iteration)
        iteration.probe_steps = iteration.probe_steps + PROBE_STEPS * doubt
        saddles = doubt & fallen.lower
        iteration.call_stationary(doubt & ~saddles & image_is_elsewhere(iteration))
        cleared = cleared | (doubt & ~saddles)
        spent = iteration.steps >= options.max_steps
        stuck = saddles & spent if attempt < _ESCAPES else saddles
        iteration.call_stationary(stuck)
        saddles = saddles & ~stuck
        if not bool(saddles.any()):
            return
        iteration.resume(saddles, fallen.points)
        _run(iteration, options, int(iteration.steps[saddles].min()))


def _with_gradient(
    solution: Solution, flow: Flow, mu0: Measure, adjoint: Adjoint, step: Tensor
) -> Solution:
    """The solution with its points tied to everything that the flow depends on."""
    usable = (solution.status != NONFINITE) & (solution.status != int(Status.EMPTY))
    mu = mu0.with_points(solution.measure.points)
    points, report = adjoint.attach(flow, mu, usable, step)
    if flow.held is not None:
        points = flow.held.tied(points, usable)
    return replace(solution, measure=mu.with_points(points), adjoint=report)


def _report(solution: Solution, on_failure: OnFailure) -> None:
    """Be loud about failure, as asked."""
    if not has_values(solution.status):
        return
    if on_failure == "ignore" or not bool(solution.failed.any()):
        return
    if on_failure == "raise":
        raise EquilibriumError(solution.summary(), solution)
    warnings.warn(solution.summary(), EquilibriumWarning, stacklevel=5)  # past `left_alone`


def _progress_bar(total: int) -> Any:
    try:
        from tqdm.auto import tqdm
    except ImportError as error:
        raise ImportError("progress=True needs tqdm: pip install 'wgf-solver[progress]'") from error
    return tqdm(total=total, desc="equilibrium", unit="step", leave=False)


def integrator_for(velocity: VelocityField, integrator: Integrator | None) -> Integrator:
    """The integrator that was asked for, or else the one that the field chooses.

    A field of one's own that does not choose gets `LBFGS` if it descends and `Anderson` if not.
    """
    if integrator is None:
        choose = getattr(velocity, "default_integrator", None)
        integrator = choose() if choose is not None else None
    if integrator is None:
        integrator = LBFGS() if velocity.descends else Anderson()
    check_choice("integrator", integrator, "propose", "Anderson() or LBFGS()")
    return integrator
