"""The potentials of entropic transport, of many pairs of measures at once.

Entropic transport between ``a`` and ``b`` with cost ``c`` has potentials ``f, g`` each of which is
the *soft minimum* of the cost less the other (Cuturi 2013; Peyré and Cuturi 2019, section 4.4):

    f_i = −ε log Σ_j b_j exp((g_j − c_ij)/ε),      g_j = −ε log Σ_i a_i exp((f_i − c_ij)/ε).

In the log domain no ``ε`` is too small, but every step takes ``n m`` exponentials. So each pair
anneals there, ``ε`` from its own largest cost a quarter at a time, and then goes on with the kernel

    K_ij = exp((f⁰_i + g⁰_j − c_ij)/ε),      f_i = f⁰_i − ε log Σ_j K_ij b_j exp((g_j − g⁰_j)/ε),

of potentials ``f⁰, g⁰`` near the present ones, for which products suffice (the "absorption" of
Schmitzer 2019). Where the potentials have left them, the kernel is made anew; where its sums
leave the range of floats, a step is made in the log domain. A pair leaves the batch when its own
potentials have settled, so that no pair changes the result of another.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

# How far potentials may leave those of the kernel, in units of ε; and the least sum that is used:
# what underflowed in it is smaller by 1e-100 and more.
_DRIFT, _LEAST = 50.0, 1e-200


@dataclass
class _Pairs:
    """What is known of the pairs ``(B, ...)`` that still iterate."""

    cost: Tensor  # (B, n, m)
    a: Tensor  # (B, n)
    b: Tensor  # (B, m)
    f: Tensor  # (B, n), 0 in padding
    g: Tensor  # (B, m)
    epsilon: Tensor  # (B,)
    kernel: Tensor  # (B, n, m)
    f_kernel: Tensor  # (B, n): f⁰
    g_kernel: Tensor  # (B, m): g⁰
    place: Tensor  # (B,) int: where in the batch

    def some(self, chosen: Tensor) -> _Pairs:
        """The chosen pairs, ``(B,)`` bool or indices."""
        return _Pairs(*(getattr(self, field.name)[chosen] for field in fields(self)))


def potentials(
    cost: Tensor,
    a: Tensor,
    b: Tensor,
    epsilon: float,
    tolerance: float,
    max_steps: int,
    *,
    symmetric: bool = False,
) -> tuple[Tensor, Tensor]:
    """Optimal ``f (B, n)`` and ``g (B, m)``, 0 where there is no mass.

    Args:
        cost: ``c (B, n, m)``.
        a: ``(B, n)``, summing to 1; 0 is padding.
        b: ``(B, m)``, likewise.
        epsilon: the final ``ε``.
        tolerance: the iteration ends when no potential moves by more than this times ``ε``.
        max_steps: or after so many steps with the final ``ε``.
        symmetric: measures with themselves, ``f = g``; the average of the last and the next makes
            their iteration fast (Knight, Ruiz and Uçar 2014).
    """
    known = (a > 0)[..., :, None] & (b > 0)[..., None, :]
    largest = torch.where(known, cost, 0).amax((-2, -1))
    pairs = _Pairs(
        cost, a, b, torch.zeros_like(a), torch.zeros_like(b), largest.clamp_min(epsilon),
        kernel=cost, f_kernel=torch.full_like(a, torch.inf), g_kernel=torch.zeros_like(b),
        place=torch.arange(len(largest), device=largest.device),
    )  # fmt: skip
    while bool((anneals := pairs.epsilon > epsilon).any()):
        f, g = _log_step(pairs, symmetric)  # a pair that is at its end waits
        pairs.f = torch.where(anneals[:, None], f, pairs.f)
        pairs.g = torch.where(anneals[:, None], g, pairs.g)
        pairs.epsilon = (pairs.epsilon / 4).clamp_min(epsilon)
    f, g = torch.empty_like(a), torch.empty_like(b)
    for step in range(1, max_steps + 1):
        last = pairs.f
        _step_by_kernel(pairs, symmetric)
        moves = (pairs.f - last).abs().amax(-1) > tolerance * epsilon
        done = ~moves if step < max_steps else torch.ones_like(moves)
        if bool(done.any()):
            f[pairs.place[done]], g[pairs.place[done]] = pairs.f[done], pairs.g[done]
            if bool(done.all()):
                break
            pairs = pairs.some(~done)
    return f, g


def _log_step(pairs: _Pairs, symmetric: bool) -> tuple[Tensor, Tensor]:
    """The next potentials, in the log domain."""
    epsilon = pairs.epsilon[:, None, None]
    f = _soft_minimum(pairs.cost, pairs.g, pairs.b, epsilon)
    f = torch.where(pairs.a > 0, f, 0)
    if symmetric:
        f = 0.5 * (pairs.f + f)
        return f, f
    g = _soft_minimum(pairs.cost.mT, f, pairs.a, epsilon)
    return f, torch.where(pairs.b > 0, g, 0)


def _soft_minimum(cost: Tensor, potential: Tensor, weights: Tensor, epsilon: Tensor) -> Tensor:
    """``−ε log Σ_j b_j exp((g_j − c_ij)/ε)``, shape ``(B, n)``, with ``ε (B, 1, 1)``."""
    exponent = (potential[..., None, :] - cost) / epsilon + weights.log()[..., None, :]
    return -epsilon[..., 0] * exponent.logsumexp(-1)


def _step_by_kernel(pairs: _Pairs, symmetric: bool) -> None:
    """The next potentials, by products with the kernel where these are safe."""
    epsilon = pairs.epsilon[:, None]
    away = torch.maximum(
        (pairs.f - pairs.f_kernel).abs().amax(-1), (pairs.g - pairs.g_kernel).abs().amax(-1)
    )
    stale = away > _DRIFT * pairs.epsilon
    if bool(stale.any()):
        some = pairs.some(stale)
        exponent = some.f[..., :, None] + some.g[..., None, :] - some.cost
        if bool(stale.all()):
            pairs.kernel = torch.empty_like(pairs.cost)  # it was another name of the cost
        pairs.kernel[stale] = (exponent / some.epsilon[:, None, None]).exp()
        pairs.f_kernel, pairs.g_kernel = (
            torch.where(stale[:, None], now, then)
            for now, then in ((pairs.f, pairs.f_kernel), (pairs.g, pairs.g_kernel))
        )

    def sums(kernel: Tensor, weights: Tensor, potential: Tensor, reference: Tensor) -> Tensor:
        scaled = weights * ((potential - reference) / epsilon).exp()
        return (kernel * scaled[..., None, :]).sum(-1)

    inner = sums(pairs.kernel, pairs.b, pairs.g, pairs.g_kernel)
    f = torch.where(pairs.a > 0, pairs.f_kernel - epsilon * inner.log(), 0)
    weak = ((inner < _LEAST) & (pairs.a > 0)).any(-1)
    if symmetric:
        f = 0.5 * (pairs.f + f)
        g = f
    else:
        outer = sums(pairs.kernel.mT, pairs.a, f, pairs.f_kernel)
        g = torch.where(pairs.b > 0, pairs.g_kernel - epsilon * outer.log(), 0)
        weak = weak | ((outer < _LEAST) & (pairs.b > 0)).any(-1)
    if bool(weak.any()):
        f, g = f.clone(), g.clone()
        f[weak], g[weak] = _log_step(pairs.some(weak), symmetric)
    pairs.f, pairs.g = f, g
