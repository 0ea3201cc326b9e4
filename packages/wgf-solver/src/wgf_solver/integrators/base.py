"""What an integrator is to the driver."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

from torch import Tensor

from wgf_solver.evaluation import Evaluation
from wgf_solver.measure import Measure

StepSize: TypeAlias = float | Callable[[int], float]
"""``τ``: a number, or a function of the step number 0, 1, 2, ..."""


class Integrator(Protocol):
    """Proposes the next points; the driver owns the loop, the stop test and the freezing.

    An integrator keeps what it remembers in a state of its own, one entry for each measure, so
    that no measure of a batch is changed by another. Two more members are used where they exist:
    ``perturb(state, mu)``, where to evaluate the field, see `NoiseInjection`, and
    ``plain_step(state, k)``, the ``τ_k (...)`` of each measure where they differ, see `LBFGS`.
    """

    def step_size(self, k: int) -> float:
        """``τ_k``, the step of plain descent."""
        ...

    def start(self, mu: Measure) -> Any:
        """The state before the first step."""
        ...

    def propose(self, state: Any, mu: Measure, evaluation: Evaluation, descends: bool) -> Tensor:
        """The next points ``(..., n, d)``; ``state`` is updated in place.

        Args:
            state: from `start`.
            mu: where the field was evaluated.
            evaluation: the field there.
            descends: whether the discrepancy of the evaluation judges the last step.
        """
        ...


def step_at(step: StepSize, k: int) -> float:
    """``τ_k`` of a number or a schedule."""
    return step(k) if callable(step) else step


def plain_step(integrator: Integrator, state: Any, k: int) -> Tensor | float:
    """``τ_k`` of plain descent, ``(...)`` where each measure has its own.

    What wraps an integrator forwards to this, so that one that learns its step is not lost in it.
    """
    own: Callable[[Any, int], Tensor | float] | None = getattr(integrator, "plain_step", None)
    return integrator.step_size(k) if own is None else own(state, k)


def check_step(step: StepSize) -> None:
    """Raise ValueError unless the first step is positive."""
    if not step_at(step, 0) > 0:
        raise ValueError(f"step must be positive; got {step!r}")
