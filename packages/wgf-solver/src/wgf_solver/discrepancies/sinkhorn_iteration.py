"""The potentials of entropic transport, of many pairs of measures at once.

Entropic transport between ``a`` and ``b`` with cost ``c`` has potentials ``f, g`` each of which is
the *soft minimum* of the cost less the other (Cuturi 2013; Peyré and Cuturi 2019, section 4.4):

    f_i = −ε log Σ_j b_j exp((g_j − c_ij)/ε),      g_j = −ε log Σ_i a_i exp((f_i − c_ij)/ε).

**Annealing.** ``ε`` comes down from the largest cost a quarter at a time, and at each value the
updates are made until the potentials move by less than a tenth of it, so that what is left to
move at the next is a few ``ε`` and not the cost over ``ε`` of them.

**Products.** In the log domain every update takes ``n m`` exponentials. So it is made by products
with the kernel ``K_ij = exp((f⁰_i + g⁰_j − c_ij)/ε)`` of potentials near the present ones (the
"absorption" of Schmitzer 2019), which is made anew where they have left them; where its sums leave
the range of floats, the update is made in the log domain.

**Relaxation.** Near the end updates converge by some ``σ² < 1`` each. Overdone by the right factor,
``g ← g + ω (S(f) − g)``, they converge as fast as ``1 − 2 √(1 − σ²)`` for ``σ² → 1`` (Young 1954;
Thibault et al. 2021); ``ω`` follows from the rate that is seen.

**Newton.** Where mass must pass through bottlenecks the updates converge as slowly as it leaks.
With ``P_ij`` the plan whose rows are exact and ``f`` a function of ``g``, the dual is concave,

    h(g) = Σ_i a_i f_i(g) + Σ_j b_j g_j,    ∇h = b − Pᵀ1,    −ε ∇²h = diag(Pᵀ1) − Pᵀ diag(1/a) P,

and the pairs whose updates would not settle for long go on by Newton steps on it, damped and
shortened until ``h`` rises (see `wgf_solver.discrepancies.sinkhorn_newton`).

**Unbalanced.** Where marginals may be missed at the price ``ρ KL(π1|a) + ρ KL(πᵀ1|b)`` the updates
are the same times ``λ = ρ/(ρ + ε)`` and atoms send ``a_i exp(−f_i/ρ)`` (Séjourné et al. 2019).

Pairs come in groups (the three of a debiased divergence) that make the same number of the same
updates: what is unfinished cancels between equal measures. A group leaves the batch when all of it
has settled, and changes no other.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import NamedTuple

import torch
from torch import Tensor

from wgf_solver.discrepancies.sinkhorn_newton import LARGEST, newton_step

# How far potentials may leave those of the kernel, in units of ε; and the least sum that is used:
# what underflowed in it is smaller by 1e-100 and more.
_DRIFT, _LEAST = 50.0, 1e-200
# Updates for each ε while annealing: a number, so that no pair changes what another gets.
_EACH = 5
# Every so many updates their rate is looked at; where more than so many would still be needed,
# Newton steps take over, each as dear as a hundred of them.
_LOOK, _PATIENCE = 20, 500
# The multiples of the final ε that Newton steps begin with.
_AGAIN = (1024.0, 256.0, 64.0, 16.0, 4.0)


class Potentials(NamedTuple):
    """The result for pairs ``(B,)``.

    Attributes:
        f: ``(B, n)``, 0 where there is no mass.
        g: ``(B, m)``, likewise; with ``Σ a f = Σ b g``.
        error: ``(B,)``: by how much an atom of ``b`` receives too much or too little, at most,
            relative to its mass; atoms of ``a`` send exactly what they should.
    """

    f: Tensor
    g: Tensor
    error: Tensor


@dataclass
class _Pairs:
    """What is known of the pairs ``(B, ...)`` that still iterate."""

    cost: Tensor  # (B, n, m), infinite in padding
    a: Tensor  # (B, n)
    b: Tensor  # (B, m)
    f: Tensor  # (B, n), 0 in padding
    g: Tensor  # (B, m)
    epsilon: Tensor  # (B,)
    rho: Tensor  # (B,): infinite where marginals are exact
    kernel: Tensor  # (B, n, m)
    f_kernel: Tensor  # (B, n): f⁰
    g_kernel: Tensor  # (B, m): g⁰
    known_g: Tensor  # (B, m): the g that f answers
    omega: Tensor  # (B,): relaxation of updates
    damping: Tensor  # (B,) of Newton steps
    place: Tensor  # (B,) int: where in the batch

    @property
    def part(self) -> Tensor:
        """``λ = ρ/(ρ + ε)``, ``(B, 1)``; 1 where marginals are exact."""
        return 1 / (1 + self.epsilon / self.rho)[:, None]

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
    group: int = 1,
    rho: float = torch.inf,
) -> Potentials:
    """Optimal potentials, as far as they settle.

    Args:
        cost: ``c (B, n, m)``.
        a: ``(B, n)``, summing to 1; 0 is padding.
        b: ``(B, m)``, likewise.
        epsilon: the final ``ε``.
        tolerance: a pair has settled when its error is at most this.
        max_steps: or after so many updates with the final ``ε``, and as many Newton steps.
        group: how many pairs that follow each other in the batch are treated alike.
        rho: the price ``ρ`` of marginals that are missed; infinite: they are exact.
    """
    known = (a > 0)[..., :, None] & (b > 0)[..., None, :]
    largest = torch.where(known, cost, 0).amax((-2, -1)).view(-1, group)
    largest = largest.amax(-1, keepdim=True).expand(-1, group).reshape(-1)
    cost = torch.where(known, cost, torch.inf)
    pairs = _Pairs(
        cost, a, b, torch.zeros_like(a), torch.zeros_like(b), largest.clamp_min(epsilon),
        rho=torch.full_like(largest, rho),
        kernel=torch.empty_like(cost), f_kernel=torch.full_like(a, torch.inf),
        g_kernel=torch.zeros_like(b), known_g=torch.zeros_like(b),
        omega=torch.ones_like(largest), damping=torch.ones_like(largest),
        place=torch.arange(len(largest), device=largest.device),
    )  # fmt: skip
    _anneal(pairs, epsilon)
    result = _Result(torch.empty_like(a), torch.empty_like(b), torch.empty_like(largest), group)
    slow = _by_updates(pairs, result, tolerance, max_steps)
    if slow is not None:
        _by_newton(slow, result, tolerance, max_steps)
    f, g, error = result.f, result.g, result.error
    # Potentials of exact marginals, and only those, may be shifted.
    shift = 0.5 * ((a * f).sum(-1) - (b * g).sum(-1))[:, None] if rho == torch.inf else 0
    return Potentials(
        torch.where(a > 0, f - shift, 0), torch.where(b > 0, g + shift, 0), error.expm1()
    )


@dataclass
class _Result:
    """Where pairs that are done leave what they reached."""

    f: Tensor
    g: Tensor
    error: Tensor
    group: int

    def whole(self, chosen: Tensor) -> Tensor:
        """The pairs ``(B,)`` of groups all of whose members are chosen."""
        return chosen.view(-1, self.group).all(-1, keepdim=True).expand(-1, self.group).reshape(-1)

    def take(self, pairs: _Pairs, done: Tensor, moved: Tensor) -> None:
        """Store the pairs that are done."""
        place = pairs.place[done]
        self.f[place], self.g[place] = pairs.f[done], pairs.known_g[done]
        self.error[place] = moved[done]


def _by_updates(pairs: _Pairs, result: _Result, tolerance: float, max_steps: int) -> _Pairs | None:
    """Update until the pairs settle; those are returned that would need too long for it."""
    slow: list[_Pairs] = []
    before = torch.full_like(pairs.epsilon, torch.inf)
    atoms = max(pairs.cost.shape[-2:])
    for step in range(1, max_steps + 1):
        moved = _update(pairs) / pairs.epsilon
        done = result.whole(moved <= tolerance)
        leaves = done
        if step == max_steps:
            leaves = torch.ones_like(done)
            done = leaves if atoms > LARGEST else done
        if step % _LOOK == 0:
            rate = (moved / before).pow(1 / _LOOK)
            if step > 3 * _LOOK and atoms <= LARGEST:
                left = (tolerance / moved).log() / rate.clamp(1e-9, 1 - 1e-9).log()
                leaves = leaves | ~result.whole(~(left > max(_PATIENCE, 2 * atoms)))
            pairs.omega = _relaxation(rate, pairs.omega)
            before = moved
        if bool(leaves.any()):
            result.take(pairs, done, moved)
            lag = leaves & ~done
            if bool(lag.any()):
                slow.append(pairs.some(lag))
            if bool(leaves.all()):
                break
            pairs, before = pairs.some(~leaves), before[~leaves]
    if not slow:
        return None
    names = [field.name for field in fields(_Pairs)]
    return _Pairs(*(torch.cat([getattr(part, name) for part in slow]) for name in names))


def _relaxation(rate: Tensor, omega: Tensor) -> Tensor:
    """``ω (B,)`` by the rate ``r`` at which updates with the last one converge (Young 1954).

    ``(r + ω − 1)² = σ² ω² r`` gives the rate ``σ²`` of updates without relaxation, unless
    ``r ≈ ω − 1``, where it is relaxed enough; the best is ``2/(1 + √(1 − σ²))``.
    """
    plain = (rate + omega - 1).square() / (omega.square() * rate)
    best = 2 / (1 + (1 - plain).clamp(1e-6, 1).sqrt())
    slower = (rate > 0.75 * omega - 0.5) & (rate < 1)  # a quarter of the way from ω − 1 to 1
    omega = torch.where(slower, torch.maximum(best.clamp_max(1.95), omega), omega)
    return torch.where(rate < 1, omega, 1)  # it goes astray, or has just begun


def _by_newton(pairs: _Pairs, result: _Result, tolerance: float, max_steps: int) -> None:
    """Newton steps until the pairs settle, which anneal once more at first."""
    final = pairs.epsilon
    for factor in _AGAIN:
        pairs.epsilon = factor * final
        for _ in range(_EACH):
            _newton(pairs)
    pairs.epsilon = final
    for step in range(1, max_steps + 1):
        moved = _newton(pairs) / pairs.epsilon
        pairs.known_g = pairs.g
        done = result.whole(moved <= tolerance)
        if step == max_steps:
            done = torch.ones_like(done)
        if bool(done.any()):
            result.take(pairs, done, moved)
            if bool(done.all()):
                break
            pairs = pairs.some(~done)


def _anneal(pairs: _Pairs, epsilon: float) -> None:
    """Bring ``ε`` of every pair down to the final one; a pair that is there waits."""
    while bool((anneals := pairs.epsilon > epsilon).any()):
        some = pairs.some(anneals)
        for _ in range(_EACH):
            _update(some)
        pairs.f[anneals], pairs.g[anneals] = some.f, some.g
        pairs.epsilon = torch.where(anneals, (pairs.epsilon / 4).clamp_min(epsilon), pairs.epsilon)


def _newton(pairs: _Pairs) -> Tensor:
    """A Newton step; by how much an update would still move ``g``, at most, ``(B,)``."""
    pairs.f, pairs.g, pairs.damping, move = newton_step(
        pairs.cost, pairs.a, pairs.b, pairs.g, pairs.epsilon, pairs.damping, pairs.rho
    )
    return move


def _log_update(pairs: _Pairs) -> tuple[Tensor, Tensor]:
    """The next potentials, in the log domain."""
    epsilon, part = pairs.epsilon[:, None, None], pairs.part
    f = part * soft_minimum(pairs.cost, pairs.g, pairs.b, epsilon)
    f = torch.where(pairs.a > 0, f, 0)
    g = part * soft_minimum(pairs.cost.mT, f, pairs.a, epsilon)
    return f, torch.where(pairs.b > 0, g, 0)


def soft_minimum(cost: Tensor, potential: Tensor, weights: Tensor, epsilon: Tensor) -> Tensor:
    """``−ε log Σ_j b_j exp((g_j − c_ij)/ε)``, shape ``(B, n)``, with ``ε (B, 1, 1)``."""
    exponent = (potential[..., None, :] - cost) / epsilon + weights.log()[..., None, :]
    return -epsilon[..., 0] * exponent.logsumexp(-1)


def _update(pairs: _Pairs) -> Tensor:
    """The next potentials, by products with the kernel where these are safe; the move of ``g``."""
    epsilon, part, last = pairs.epsilon[:, None], pairs.part, pairs.g
    away = torch.maximum(
        (pairs.f - pairs.f_kernel).abs().amax(-1), (pairs.g - pairs.g_kernel).abs().amax(-1)
    )
    stale = ~(away <= _DRIFT * pairs.epsilon)
    if bool(stale.any()):
        some = pairs.some(stale)
        exponent = some.f[..., :, None] + some.g[..., None, :] - some.cost
        pairs.kernel[stale] = (exponent / some.epsilon[:, None, None]).exp()
        pairs.f_kernel, pairs.g_kernel = (
            torch.where(stale[:, None], now, then)
            for now, then in ((pairs.f, pairs.f_kernel), (pairs.g, pairs.g_kernel))
        )

    def sums(kernel: Tensor, weights: Tensor, potential: Tensor, reference: Tensor) -> Tensor:
        scaled = weights * ((potential - reference) / epsilon).exp()
        return (kernel * scaled[..., None, :]).sum(-1)

    inner = sums(pairs.kernel, pairs.b, pairs.g, pairs.g_kernel)
    f = torch.where(pairs.a > 0, part * (pairs.f_kernel - epsilon * inner.log()), 0)
    weak = (((inner < _LEAST) | ~inner.isfinite()) & (pairs.a > 0)).any(-1)
    outer = sums(pairs.kernel.mT, pairs.a, torch.where(weak[:, None], 0, f), pairs.f_kernel)
    g = torch.where(pairs.b > 0, part * (pairs.g_kernel - epsilon * outer.log()), 0)
    weak = weak | (((outer < _LEAST) | ~outer.isfinite()) & (pairs.b > 0)).any(-1)
    if bool(weak.any()):
        f, g = f.clone(), g.clone()
        f[weak], g[weak] = _log_update(pairs.some(weak))
    pairs.f, pairs.known_g, pairs.g = f, last, last + pairs.omega[:, None] * (g - last)
    # Times the part of its mass that an atom is to receive.
    due = (-last / pairs.rho[:, None]).exp().clamp_max(1)
    return (due * (g - last).abs()).amax(-1) / part[:, 0]
