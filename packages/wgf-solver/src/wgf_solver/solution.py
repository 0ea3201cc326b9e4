"""What a solve returns: the equilibrium, and for each measure how it went."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import torch
from torch import Tensor

from wgf_solver.adjoints.base import AdjointReport
from wgf_solver.measure import Measure


class Status(IntEnum):
    """How the solve of one measure ended. `sentence` says it in words, with a remedy."""

    RUNNING = 0
    CONVERGED = 1
    STATIONARY = 2
    MAX_STEPS = 3
    NONFINITE = 4
    EMPTY = 5

    @property
    def sentence(self) -> str:
        """The status in words, with what to do about it."""
        return _SENTENCES[self]


_BELOW = "The velocity fell below the tolerance:"
_AT_ROUNDING = (
    "The velocity is down to the rounding of {dtype}, which is above the tolerance that was asked "
    "for (a larger rtol, or float64, would meet it):"
)
_EQUILIBRIUM = "this is an equilibrium."
_RESTS = "the flow rests here, at a stationary point of the functional."

_SENTENCES = {
    Status.RUNNING: "The solve has not ended.",
    Status.CONVERGED: f"{_BELOW} {_EQUILIBRIUM}",
    Status.STATIONARY: (
        "The velocity fell below the tolerance, but this is no equilibrium: F(mu) lies elsewhere, "
        "or a small push, or an atom put elsewhere, lets the discrepancy fall further. It is a "
        "saddle of D, a local minimum, a plateau, or a slope too flat for rtol; or the map has no "
        "fixed point. Raise max_steps, start elsewhere, lower rtol, take a wider kernel, or "
        "descend longer before accelerating (Anderson(basin=...))."
    ),
    Status.MAX_STEPS: (
        "The tolerance was not reached within max_steps; the best iterate is returned. Raise "
        "max_steps or rtol, take a smaller or decaying step, or make the map more contractive; if "
        "the iterates run away, it has no equilibrium, or one so far out that only float64 sees it."
    ),
    Status.NONFINITE: (
        "The velocity became NaN or infinite, or the points so large that their squares overflow; "
        "the best iterate before that is returned, and no gradient flows through it. Check the "
        "inputs of the map for NaN and their scale, take a smaller step, or solve in float64."
    ),
    Status.EMPTY: "The measure has no atoms (total weight 0): there was nothing to solve.",
}


class EquilibriumError(RuntimeError):
    """A solve failed under ``on_failure="raise"``; `solution` holds what was reached."""

    def __init__(self, message: str, solution: Solution) -> None:
        super().__init__(message)
        self.solution = solution


class EquilibriumWarning(UserWarning):
    """A solve failed under ``on_failure="warn"``."""


@dataclass(frozen=True, eq=False)
class Solution:
    """The result of `equilibrium` or `gradient_flow`, with one entry for each measure of the batch.

    Attributes:
        measure: the equilibrium ``μ*`` (or the best iterate); differentiable by the adjoint with
            respect to everything that the map closes over.
        residual: ``‖v‖ / scale``, shape ``(...)``: the weighted RMS velocity relative to the
            larger of its first value and the field's own scale; what ``rtol`` bounds.
        discrepancy: ``D(μ*, F(μ*))``, shape ``(...)``; for `Residual` the transport cost
            ``½ Σ w_i ‖z_i − f(Z)_i‖²``, and for a gradient flow the energy ``𝓕(μ*)``.
        steps: evaluations of the velocity field until the measure was done, ``(...)`` int64.
        probe_steps: those made beyond them to see whether a root is a minimum (see
            `wgf_solver.equilibrium`), ``(...)`` int64; 0 for a measure that was not in doubt.
        status: codes of `Status`, ``(...)`` int64.
        trajectory: the points at each evaluation, from the start to the last one that any measure
            needed, ``(K, ..., n, d)``, if asked for; the iterate that is returned is among them.
        energies: of a `wgf_solver.gradient_flow`, the energy at each evaluation, ``(K, ...)``; a
            measure that is done repeats its last. None otherwise.
        times: the sum of the integrator's steps up to each point of the trajectory, ``(K,)``, if
            that was asked for: for `Euler` the time of the flow, for integrators that choose their
            steps themselves a count of nominal ones. A measure that is done rests from then on.
        adjoint: how the backward solve went; filled in when the backward pass has run, None if no
            gradient was to be recorded.
        at_rounding: ``(...)`` bool: the converged measures whose velocity is down to what floating
            point leaves of it, and not to the tolerance that was asked for, which is below that.
        aux: what a map with ``has_aux=True`` returns beside its measure, at ``measure``; None else.
        of_functional: whether this is where a `wgf_solver.gradient_flow` led, which has no map.
    """

    measure: Measure
    residual: Tensor
    discrepancy: Tensor
    steps: Tensor
    status: Tensor
    trajectory: Tensor | None = None
    times: Tensor | None = None
    energies: Tensor | None = None
    probe_steps: Tensor | None = None
    adjoint: AdjointReport | None = None
    at_rounding: Tensor | None = None
    of_functional: bool = False
    aux: Any = None

    @property
    def converged(self) -> Tensor:
        """``(...)`` bool: the measures that reached an equilibrium."""
        return self.status == int(Status.CONVERGED)

    @property
    def failed(self) -> Tensor:
        """``(...)`` bool: the measures that did not, the empty ones left out."""
        return ~(self.converged | (self.status == int(Status.EMPTY)))

    def message(self, index: int | tuple[int, ...] = ()) -> str:
        """What happened to one measure, in a sentence; reads values, so it waits for the device.

        Args:
            index: of the measure in the batch shape, or its number in a flat count, as `summary`
                prints it; ``()`` if there is no batch.

        Raises:
            IndexError: there is no such measure.
        """
        if isinstance(index, int) and self.status.dim() > 1:
            count = self.status.numel()
            if not -count <= index < count:
                raise IndexError(f"there are {count} measures, 0 to {count - 1}; got {index}")
            index %= count
            place = torch.unravel_index(torch.tensor(index, device="cpu"), self.status.shape)
            index = tuple(int(i) for i in place)
        status = Status(int(self.status[index]))
        what = "energy" if self.of_functional else "discrepancy"
        sentence = status.sentence
        if status is Status.CONVERGED:
            limited = self.at_rounding is not None and bool(self.at_rounding[index])
            sentence = " ".join(
                [
                    _AT_ROUNDING.format(dtype=self.residual.dtype) if limited else _BELOW,
                    _RESTS if self.of_functional else _EQUILIBRIUM,
                ]
            )
        return (
            f"{status.name} after {int(self.steps[index])} evaluations (relative residual "
            f"{float(self.residual[index]):.1e}, {what} {float(self.discrepancy[index]):.1e})."
            f" {sentence}"
        )

    def summary(self) -> str:
        """All failed measures in one paragraph; reads values, so it waits for the device."""
        failed = self.failed.reshape(-1)
        count, total = int(failed.sum()), failed.numel()
        what = "did not come to rest" if self.of_functional else "reached no equilibrium"
        lines = [f"{count} of {total} measures {what}."]
        status = self.status.reshape(-1)
        for code in Status:
            where = (failed & (status == int(code))).nonzero()[:, 0]
            if len(where):
                worst = where[self.residual.reshape(-1)[where].nan_to_num(nan=torch.inf).argmax()]
                lines.append(
                    f"{len(where)} x {code.name}, the worst at index {int(worst)} (relative "
                    f"residual {float(self.residual.reshape(-1)[worst]):.1e}): {code.sentence}"
                )
        return "\n  ".join(lines)

    def __repr__(self) -> str:
        return f"Solution({self.measure!r}, adjoint={self.adjoint!r})"
