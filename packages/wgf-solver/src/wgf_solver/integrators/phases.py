"""One integrator after another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from wgf_solver.evaluation import Evaluation, merit_of
from wgf_solver.integrators.base import Integrator, plain_step
from wgf_solver.measure import Measure
from wgf_solver.norms import where_measure


@dataclass
class _Both:
    first: Any
    then: Any
    switched: Tensor  # (...) bool
    level: Tensor | None = None  # (...)  the merit at which to switch
    k: int = 0


@dataclass(frozen=True)
class Phases:
    r"""``first`` far from the solution, ``then`` near it; each measure switches by itself, once.

    A measure switches when its merit has fallen to ``basin`` times the first one, or after
    ``steps`` evaluations, whichever comes first. The merit is ``D`` on a field that descends and
    ``‖v‖`` on others. Both integrators see every evaluation, so that ``then`` has a history when
    its turn comes (differences along any path are secants of the field), and its schedules count
    from the start of the solve. More than two phases: ``Phases(a, Phases(b, c))``.

        Phases(HeavyBall(0.3), Anderson(step=0.3), basin=1e-3)

    Args:
        first: integrator far from the solution; its step is the one that probes and adjoints use.
        then: integrator near it.
        basin: the merit at which to switch, relative to the first; 0: never on that account.
        steps: evaluations after which to switch; None: never on that account.
    """

    first: Integrator
    then: Integrator
    basin: float = 1e-2
    steps: int | None = None

    def __post_init__(self) -> None:
        for name in ("first", "then"):
            value = getattr(self, name)
            if isinstance(value, type) or not hasattr(value, "propose"):
                raise TypeError(f"{name} takes a value such as Euler(0.3); got {value!r}")
            if hasattr(value, "perturb"):
                raise TypeError(
                    f"{name} cannot be noisy by itself, both phases see the same evaluations; put "
                    "the noise outside: NoiseInjection(Phases(...), level, steps)"
                )
        if not self.basin >= 0 or (self.steps is not None and self.steps < 0):
            raise ValueError(
                f"basin and steps must not be negative; got {self.basin}, {self.steps}"
            )

    def step_size(self, k: int) -> float:
        """That of the first phase."""
        return self.first.step_size(k)

    def plain_step(self, state: _Both, k: int) -> Tensor | float:
        """That of the first phase."""
        return plain_step(self.first, state.first, k)

    def start(self, mu: Measure) -> _Both:
        """The states of both."""
        switched = torch.zeros(mu.batch_shape, dtype=torch.bool, device=mu.points.device)
        return _Both(self.first.start(mu), self.then.start(mu), switched)

    def propose(self, state: _Both, mu: Measure, evaluation: Evaluation, descends: bool) -> Tensor:
        """The next points, of the phase that each measure is in."""
        merit = merit_of(evaluation, mu, descends)
        if state.level is None:
            state.level = self.basin * merit
        state.switched = state.switched | (merit <= state.level)
        if self.steps is not None and state.k >= self.steps:
            state.switched = torch.ones_like(state.switched)
        state.k += 1
        early = self.first.propose(state.first, mu, evaluation, descends)
        late = self.then.propose(state.then, mu, evaluation, descends)
        return where_measure(state.switched, late, early)
