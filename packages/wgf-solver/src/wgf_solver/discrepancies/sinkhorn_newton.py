"""A damped Newton step on the concave dual of entropic transport, for a batch of pairs.

With exact rows, ``f_i(g) = −ε log Σ_j b_j exp((g_j − c_ij)/ε)``, the plan
``P_ij = a_i b_j exp((f_i + g_j − c_ij)/ε)`` and the dual ``h(g) = Σ_i a_i f_i(g) + Σ_j b_j g_j``,

    ∇h = b − Pᵀ1,        −ε ∇²h = H = diag(Pᵀ1) − Pᵀ diag(1/a) P.

``H`` is positive semidefinite with the constants in its kernel, and nearly singular where parts of
the measures hardly exchange mass. So the step is that of Levenberg and Marquardt,
``δ = ε (H + λ diag(b))⁻¹ ∇h``: for ``λ → 0`` Newton's, for large ``λ`` a short one along what the
plain update would do. It is shortened until ``h`` rises, and ``λ`` falls with each success.

**Unbalanced**, with a price ``ρ`` of missed marginals and ``l = ρ/(ρ + ε)``, the best ``f``
is ``l`` times that above, an atom sends ``r_i = a_i exp(−f_i/ρ)`` and is to receive
``s_j = b_j exp(−g_j/ρ)``, and

    h(g) = −(ρ + ε) Σ_i a_i (exp(−f_i/ρ) − 1) − ρ Σ_j b_j (exp(−g_j/ρ) − 1),
    ∇h = s − Pᵀ1,        −ε ∇²h = diag(Pᵀ1 + (ε/ρ) s) − l Pᵀ diag(1/r) P,

which for ``ρ → ∞`` is what stands above.
"""

from __future__ import annotations

import torch
from torch import Tensor

# The most atoms of a measure for which a matrix of them is factorised.
LARGEST = 2048
_HALVINGS = 12
_LEAST_DAMPING, _MOST_DAMPING = 1e-12, 1e6


def newton_step(
    cost: Tensor, a: Tensor, b: Tensor, g: Tensor, epsilon: Tensor, damping: Tensor, rho: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """One step from ``g``.

    Args:
        cost: ``c (B, n, m)``, infinite in padding.
        a: ``(B, n)``.
        b: ``(B, m)``.
        g: ``(B, m)``, 0 in padding.
        epsilon: ``ε (B,)``.
        damping: ``λ (B,)``.
        rho: ``ρ (B,)``; infinite where marginals are exact.

    Returns:
        ``f``, ``g`` and ``λ`` after the step, and by how much an update would move ``g`` there.
    """
    plan, f, value = _dual(cost, a, b, g, epsilon, rho)
    received, sent = plan.sum(-2), a * (-f / rho[:, None]).exp()
    due = b * (-g / rho[:, None]).exp()
    gradient = due - received
    # An atom so far out that nothing is sent has no part in it.
    inverse = torch.where(sent > 0, 1 / torch.where(sent > 0, sent, 1), 0)
    inverse = inverse / (1 + epsilon / rho)[:, None]
    hessian = -(plan.mT @ (inverse[..., None] * plan))
    diagonal = received + (epsilon / rho)[:, None] * due + damping[:, None] * b
    diagonal = torch.where(b > 0, diagonal, 1)
    torch.diagonal(hessian, dim1=-2, dim2=-1).add_(diagonal)
    factor, failed = torch.linalg.cholesky_ex(hessian)
    step = torch.cholesky_solve(gradient[..., None], factor)[..., 0] * epsilon[:, None]
    # Where rounding has the last word, the plain update.
    plain = torch.where(b > 0, epsilon[:, None] * _log_ratio(due, received), 0)
    unusable = (failed != 0) | ~step.isfinite().all(-1)
    step = torch.where(unusable[:, None], plain, step)
    taken = torch.zeros_like(damping, dtype=torch.bool)
    new_g, length = g, torch.ones_like(damping)
    rounding = 16 * torch.finfo(g.dtype).eps * (value.abs() + epsilon)
    for _ in range(_HALVINGS):
        trial = torch.where(b > 0, g + length[:, None] * step, 0)
        trial_plan, trial_f, trial_value = _dual(cost, a, b, trial, epsilon, rho)
        rises = ~taken & (trial_value >= value - rounding)
        new_g = torch.where(rises[:, None], trial, new_g)
        f = torch.where(rises[:, None], trial_f, f)
        received = torch.where(rises[:, None], trial_plan.sum(-2), received)
        taken = taken | rises
        if bool(taken.all()):
            break
        length = torch.where(taken, length, length / 4)
    whole = taken & (length == 1)
    damping = torch.where(whole, damping / 10, torch.where(taken, damping, damping * 10))
    part = (-new_g / rho[:, None]).exp()  # of its mass, which an atom is to receive
    left = part.clamp_max(1) * torch.where(b > 0, _log_ratio(b * part, received), 0).abs()
    return f, new_g, damping.clamp(_LEAST_DAMPING, _MOST_DAMPING), epsilon * left.amax(-1)


def _dual(
    cost: Tensor, a: Tensor, b: Tensor, g: Tensor, epsilon: Tensor, rho: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """``P``, ``f`` and ``h``."""
    scaled = (g[..., None, :] - cost) / epsilon[:, None, None] + b.log()[..., None, :]
    logarithm = scaled.logsumexp(-1, keepdim=True)
    sends = (a > 0)[..., None]
    part = 1 / (1 + epsilon / rho)[:, None]
    f = torch.where(a > 0, -part * epsilon[:, None] * logarithm[..., 0], 0)
    exact = rho == torch.inf
    price = torch.where(exact, 1, rho)[:, None]
    sent, due = -(-f / price).expm1(), -(-g / price).expm1()
    mass = torch.where(exact[:, None], 1, 1 - sent) * a
    plan = mass[..., None] * (scaled - torch.where(sends, logarithm, 0)).exp()
    value = (a * f).sum(-1) + (b * g).sum(-1)
    missed = (price[:, 0] + epsilon) * (a * sent).sum(-1) + price[:, 0] * (b * due).sum(-1)
    return plan, f, torch.where(exact, value, missed)


def _log_ratio(b: Tensor, received: Tensor) -> Tensor:
    """``log(b_j / (Pᵀ1)_j)``, finite where nothing at all arrives."""
    tiny = torch.finfo(b.dtype).tiny
    return b.clamp_min(tiny).log() - received.clamp_min(tiny).log()
