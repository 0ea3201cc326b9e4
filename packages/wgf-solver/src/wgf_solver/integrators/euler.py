"""The explicit Euler method."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from wgf_solver.evaluation import Evaluation
from wgf_solver.integrators.base import StepSize, check_step, step_at
from wgf_solver.measure import Measure


@dataclass
class _Clock:
    k: int = 0


@dataclass(frozen=True)
class Euler:
    """``Z ← Z + τ_k v(Z)``: the explicit Euler method of the flow, Picard iteration for `Residual`.

    Stable for a smooth field while ``τ`` is below 2 over the largest rate of contraction.

    Args:
        step: ``τ``, a number or a schedule such as ``GeometricDecay(5.0, 0.98)``.
    """

    step: StepSize = 1.0

    def __post_init__(self) -> None:
        check_step(self.step)

    def step_size(self, k: int) -> float:
        """``τ_k``."""
        return step_at(self.step, k)

    def start(self, mu: Measure) -> _Clock:
        """The state: a step counter."""
        return _Clock()

    def propose(self, state: _Clock, mu: Measure, evaluation: Evaluation, descends: bool) -> Tensor:
        """The next points."""
        tau = self.step_size(state.k)
        state.k += 1
        return mu.points + tau * evaluation.velocity
