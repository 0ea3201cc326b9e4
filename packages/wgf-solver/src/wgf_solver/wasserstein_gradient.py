r"""The velocity ``v_i = −(1/w_i) ∂_{z_i} 𝓕(μ)`` of a number by autograd, for who writes none.

That is minus the Wasserstein gradient, ``−∇(δ𝓕/δμ)(z_i)``, of ``𝓕`` at ``μ = Σ w_i δ_{z_i}``: the
derivative with respect to an atom per unit of its mass, so that one that is split moves as before.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from wgf_solver.evaluation import Evaluation
from wgf_solver.measure import Measure
from wgf_solver.norms import has_values
from wgf_solver.watch import refuse_tangents


def wasserstein_gradient(energy: Callable[[Measure], Tensor], mu: Measure) -> Evaluation:
    """``𝓕(μ)`` and its velocity, which is differentiable if gradients are on.

    Args:
        energy: ``𝓕``, one number for each measure, by torch operations.
        mu: its padded rows hold zeros. What ``energy`` closes over and depends on these points is
            held fixed.

    Raises:
        TypeError: ``energy`` does not return a tensor.
        ValueError: it does not return one number for each measure, or what it returns does not
            lead back to the points.
        RuntimeError: within `torch.inference_mode`, where there is nothing to differentiate.
    """
    if torch.is_inference_mode_enabled():
        raise RuntimeError(
            "this velocity is found by autograd, which torch.inference_mode() forbids; use "
            "torch.no_grad() instead, or equilibrium and gradient_flow, which leave it"
        )
    tracked = torch.is_grad_enabled()
    with torch.enable_grad():
        # Another tensor than what 𝓕 may close over: a leaf, or a node behind the one at hand.
        wanted = mu.points.requires_grad
        points = mu.points.view_as(mu.points) if wanted else mu.points.detach().requires_grad_()
        value = energy(mu.with_points(points))
        _check(value, mu)
        refuse_tangents(value)  # of which the backward pass below knows nothing
        gradient = torch.zeros_like(points)
        if value.requires_grad:
            (gradient,) = torch.autograd.grad(
                value.sum(), points, create_graph=tracked, materialize_grads=True
            )
        else:
            _check_constant(energy, mu, value)
        mass = torch.where(mu.mask, mu.weights, 1)[..., None]  # padding has none
        velocity = torch.where(mu.mask[..., None], -gradient / mass, 0)
    return Evaluation(velocity if tracked else velocity.detach(), discrepancy=value.detach())


def _check(value: Tensor, mu: Measure) -> None:
    """Raise unless there is one number for each measure."""
    if not isinstance(value, Tensor):
        raise TypeError(
            "a functional, or a discrepancy, returns a tensor, one number for each measure; got "
            f"{type(value).__name__}"
        )
    if value.shape != mu.batch_shape or not value.is_floating_point():
        raise ValueError(
            "a functional, or a discrepancy, returns one real number for each measure, here "
            f"{tuple(mu.batch_shape)}; got {tuple(value.shape)} in {value.dtype}. Sum over atoms "
            "with mu.weights"
        )


def _check_constant(energy: Callable[[Measure], Tensor], mu: Measure, value: Tensor) -> None:
    """Raise if a value that autograd takes for a constant is none: its slope would be a lie."""
    with torch.no_grad():
        elsewhere = energy(mu.with_points(1.25 * mu.points + 0.125))
    if has_values(value) and not bool(torch.isclose(value, elsewhere, equal_nan=True).all()):
        raise ValueError(
            "the value of a functional must lead back to the points by torch operations, and "
            "this one does not, though it changes with them: is there no_grad, detach, item or "
            "numpy on the way?"
        )
