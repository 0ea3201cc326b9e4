"""Noise where the field is evaluated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from wgf_solver.evaluation import Evaluation
from wgf_solver.integrators.base import Integrator, StepSize, plain_step, step_at
from wgf_solver.measure import Measure


@dataclass
class _Noisy:
    inner: Any
    k: int = 0


@dataclass(frozen=True)
class NoiseInjection:
    r"""Moves ``Z`` along the field at ``Z + β_k ξ_k``, ``ξ_k ~ N(0, I)`` (Arbel et al. 2019).

    A particle where the witness of a kernel is flat feels no force; beside it there may be some.
    For a smooth kernel the noise is then a flow of a smoothed witness, unlike noise added to the
    particles themselves, which would never let them rest. Works with any integrator, best with
    those that remember little: differences of noisy velocities are not curvature.

    While ``β_k > 0`` nothing is judged: no measure converges, and no iterate counts as the best so
    far. After ``steps`` evaluations the noise is off and the solve goes on as any other.

    The draw of step ``k`` depends on ``seed``, ``k`` and the shape ``(n, d)``, and is the same for
    every measure: what a measure gets does not depend on its batch. Noise belongs to rows, so
    permuting, padding or splitting atoms gives another path of the same law.

    Args:
        integrator: what makes the steps.
        level: ``β``, in the unit of the points; a number, or a schedule that decays.
        steps: evaluations with noise.
        seed: of the draws.
    """

    integrator: Integrator
    level: StepSize
    steps: int
    seed: int = 0

    def __post_init__(self) -> None:
        if isinstance(self.integrator, type) or not hasattr(self.integrator, "propose"):
            raise TypeError(f"integrator takes a value such as Euler(0.3); got {self.integrator!r}")
        if self.steps < 0 or not step_at(self.level, 0) >= 0:
            raise ValueError(
                f"steps and level must not be negative; got {self.steps}, {self.level!r}"
            )

    def step_size(self, k: int) -> float:
        """That of the integrator."""
        return self.integrator.step_size(k)

    def plain_step(self, state: _Noisy, k: int) -> Tensor | float:
        """That of the integrator."""
        return plain_step(self.integrator, state.inner, k)

    def start(self, mu: Measure) -> _Noisy:
        """The integrator's state, and a clock."""
        return _Noisy(self.integrator.start(mu))

    def perturb(self, state: _Noisy, mu: Measure) -> Measure | None:
        """Where to evaluate the field for the next step; None: at ``mu``."""
        beta = step_at(self.level, state.k)
        if state.k >= self.steps or not beta > 0:
            return None
        # On the CPU, so that every device draws the same; a new generator for each step, so that
        # a draw does not depend on how many were made before.
        generator = torch.Generator("cpu").manual_seed(self.seed * 1_000_003 + state.k)
        shape = mu.points.shape[-2:]
        draw = torch.randn(shape, generator=generator, dtype=torch.float64, device="cpu")
        return mu.with_points(mu.points + beta * draw.to(mu.points)).zero_padding()

    def propose(self, state: _Noisy, mu: Measure, evaluation: Evaluation, descends: bool) -> Tensor:
        """The integrator's next points, by a field that was evaluated at perturbed ones."""
        state.k += 1
        return self.integrator.propose(state.inner, mu, evaluation, descends)
