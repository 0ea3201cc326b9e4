"""Gradient descent with momentum."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from wgf_solver.evaluation import Evaluation
from wgf_solver.integrators.base import StepSize, check_step, step_at
from wgf_solver.measure import Measure


@dataclass
class _Ball:
    momentum: Tensor  # (..., n, d)
    k: int = 0


@dataclass(frozen=True)
class HeavyBall:
    """``P ← m P + τ_k v(Z)``, ``Z ← Z + P`` (Polyak 1964): Euler with momentum.

    Where the rates of contraction lie between ``a`` and ``b``, the best constants bring the error
    down by ``(√b − √a)/(√b + √a)`` a step, and Euler's by ``(b − a)/(b + a)``. Stable while
    ``τ < 2 (1 + m)/b``. Momentum carries over flat stretches, and over a minimum as well: ``D``
    falls in waves.

    Args:
        step: ``τ``, a number or a schedule.
        momentum: ``m`` in ``[0, 1)``; 0 is `Euler`.
    """

    step: StepSize = 1.0
    momentum: float = 0.9

    def __post_init__(self) -> None:
        check_step(self.step)
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum must be at least 0 and below 1; got {self.momentum}")

    def step_size(self, k: int) -> float:
        """``τ_k``."""
        return step_at(self.step, k)

    def start(self, mu: Measure) -> _Ball:
        """At rest."""
        return _Ball(torch.zeros_like(mu.points))

    def propose(self, state: _Ball, mu: Measure, evaluation: Evaluation, descends: bool) -> Tensor:
        """The next points."""
        tau = self.step_size(state.k)
        state.k += 1
        state.momentum = torch.add(self.momentum * state.momentum, evaluation.velocity, alpha=tau)
        return mu.points + state.momentum
