"""Anderson acceleration, per measure, safeguarded."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from wgf_solver.measure import Measure
from wgf_solver.norms import weighted_rms
from wgf_solver.velocities.base import Evaluation


@dataclass
class _History:
    """What Anderson remembers of each measure; ``m`` columns in a ring, ``N = n·d``."""

    dz: Tensor  # (..., m, N)  Z_{k} − Z_{k−1}
    dv: Tensor  # (..., m, N)  v_{k} − v_{k−1}
    gram: Tensor  # (..., m, m)  ⟨dv_i, dv_j⟩
    valid: Tensor  # (..., m) bool: the columns that count
    accelerated: Tensor  # (...) bool: whether the last step used them
    best: Tensor  # (...) the residual that counts as progress when it is undercut
    waited: Tensor  # (...) int: steps since then
    patience: Tensor  # (...) int: how many to wait
    plain: Tensor  # (...) int: plain steps still to make after a stall
    k: int = 0
    points: Tensor | None = None  # (..., n, d)  where the last accepted step started
    velocity: Tensor | None = None
    merit: Tensor | None = None  # (...)
    first_merit: Tensor | None = None


@dataclass(frozen=True)
class Anderson:
    r"""Anderson acceleration of ``Z ← Z + τ v(Z)`` (Anderson 1965; type II of Fang and Saad 2009).

    With the last ``m`` differences as columns of ``ΔZ`` and ``ΔV``:

        γ = argmin ‖v − ΔV γ‖² + ε Σ_j ‖ΔV_j‖² γ_j²,      Z ← Z + τ v − (ΔZ + τ ΔV) γ

    For an affine field this is GMRES in disguise; in general a secant method. Inner products are
    ``⟨a, b⟩ = Σ_i w_i a_i · b_i``, so ``γ`` does not depend on the order of the atoms nor on
    whether one is written as two of half the weight. The ridge ``ε`` is relative to each column: an
    absolute one (torchdeq's, jaxopt's) drowns the small columns that matter near the solution.

    **Safeguards, per measure.** Anderson finds roots, and those of a descent field need not be
    minima. So on a field that descends, steps are plain until ``D`` has fallen to ``basin`` times
    its first value, and an accelerated step that raises ``D`` is taken back. On another field an
    accelerated step is taken back when the residual grew more than ``growth``-fold (or became NaN).
    Taking back costs the one evaluation that showed it: the history is dropped and a plain step
    made from the point before.

    A minimiser of residuals also gets stuck: at a local minimum of ``‖v‖`` that is no root, often
    where a pair of roots has just disappeared and plain iteration flows through a bottleneck. When
    the residual has not fallen by a fifth for ``patience`` steps, the history is dropped and
    as many plain steps are made; each stall doubles the patience, so that where acceleration
    does not work the method becomes the plain one.

    Args:
        memory: ``m``.
        step: ``τ``, also of the plain steps.
        basin: for descent fields, where acceleration may begin, relative to ``D`` at the start.
        growth: for other fields, the growth of the residual that an accelerated step may cause.
        patience: steps without progress after which acceleration pauses.
        ridge: ``ε``; None: 1e-10 in float64 and 1e-6 below.
    """

    memory: int = 10
    step: float = 1.0
    basin: float = 1e-2
    growth: float = 2.0
    patience: int = 20
    ridge: float | None = None

    def __post_init__(self) -> None:
        if self.memory < 1:
            raise ValueError(
                f"memory must be at least 1; got {self.memory}. 0 would be Euler(step)"
            )
        if not self.step > 0:
            raise ValueError(f"step must be positive; got {self.step!r}")
        if not (self.basin > 0 and self.growth >= 1 and self.patience >= 1):
            raise ValueError(
                "basin must be positive, growth and patience at least 1; got "
                f"{self.basin}, {self.growth}, {self.patience}"
            )

    def step_size(self, k: int) -> float:
        """``τ``."""
        return self.step

    def start(self, mu: Measure) -> _History:
        """An empty history."""
        batch, size = mu.batch_shape, mu.points.shape[-2] * mu.dim
        zeros = mu.points.new_zeros
        return _History(
            dz=zeros(*batch, self.memory, size),
            dv=zeros(*batch, self.memory, size),
            gram=zeros(*batch, self.memory, self.memory),
            valid=zeros(*batch, self.memory, dtype=torch.bool),
            accelerated=zeros(batch, dtype=torch.bool),
            best=mu.points.new_full(batch, torch.inf),
            waited=zeros(batch, dtype=torch.int64),
            patience=zeros(batch, dtype=torch.int64) + self.patience,
            plain=zeros(batch, dtype=torch.int64),
        )

    def propose(
        self, state: _History, mu: Measure, evaluation: Evaluation, descends: bool
    ) -> Tensor:
        """The next points."""
        points, velocity = mu.points, evaluation.velocity
        residual = weighted_rms(velocity, mu.weights)
        merit = evaluation.discrepancy if descends else residual
        if state.points is None or state.velocity is None or state.merit is None:
            state.first_merit = merit
        else:
            limit = state.merit if descends else self.growth * state.merit
            rejected = state.accelerated & ~(merit <= limit)  # so that NaN is rejected
            rows = rejected[..., None, None]
            points = torch.where(rows, state.points, points)
            velocity = torch.where(rows, state.velocity, velocity)
            merit = torch.where(rejected, state.merit, merit)
            dz = points - state.points  # 0 where rejected
            dv = velocity - state.velocity
            self._remember(state, dz, dv, rejected, mu.weights)
        state.points, state.velocity, state.merit = points, velocity, merit
        state.k += 1

        self._pause_if_stalled(state, residual)
        gamma = self._coefficients(state, velocity, mu.weights)
        gamma = torch.where((state.plain > 0)[..., None], 0, gamma)
        if descends and state.first_merit is not None:
            inside = merit <= self.basin * state.first_merit
            gamma = torch.where(inside[..., None], gamma, 0)
        state.accelerated = (gamma != 0).any(-1)
        correction = gamma[..., None, :] @ (state.dz + self.step * state.dv)  # (..., 1, N)
        return points + self.step * velocity - correction[..., 0, :].reshape(points.shape)

    def _pause_if_stalled(self, state: _History, residual: Tensor) -> None:
        """Count the steps without progress, and those of a pause."""
        resting = state.plain > 0
        state.plain = state.plain - resting.to(torch.int64)
        fresh = (residual < 0.8 * state.best) | (resting & (state.plain == 0))
        state.best = torch.where(fresh, residual, state.best)
        state.waited = torch.where(fresh | resting, 0, state.waited + 1)
        stalled = state.waited >= state.patience
        state.plain = torch.where(stalled, state.patience, state.plain)
        state.waited = torch.where(stalled, 0, state.waited)
        state.patience = torch.where(stalled, 2 * state.patience, state.patience)
        state.valid &= ~stalled[..., None]

    def _remember(
        self, state: _History, dz: Tensor, dv: Tensor, rejected: Tensor, weights: Tensor
    ) -> None:
        """Put a column into the ring, and its inner products into the Gram matrix."""
        j = (state.k - 1) % self.memory
        state.dz[..., j, :] = dz.flatten(-2)
        state.dv[..., j, :] = dv.flatten(-2)
        products = (state.dv @ (weights[..., None] * dv).flatten(-2)[..., None])[..., 0]
        state.gram[..., j, :] = products
        state.gram[..., :, j] = products
        state.valid[..., j] = True
        state.valid &= ~rejected[..., None]

    def _coefficients(self, state: _History, velocity: Tensor, weights: Tensor) -> Tensor:
        """``γ (..., m)``; 0 for columns that do not count, and where the system is not solvable."""
        ridge = self.ridge
        if ridge is None:
            ridge = 1e-10 if velocity.dtype == torch.float64 else 1e-6
        both = state.valid[..., :, None] & state.valid[..., None, :]
        norms = torch.diagonal(state.gram, dim1=-2, dim2=-1).sqrt()  # ‖ΔV_j‖
        norms = torch.where(state.valid & (norms > 0), norms, 1)
        # Columns of norm 1: the ridge means the same for each, and the system is equilibrated.
        gram = torch.where(both, state.gram / (norms[..., :, None] * norms[..., None, :]), 0)
        diagonal = torch.where(state.valid, torch.full_like(norms, ridge), 1)
        products = (state.dv @ (weights[..., None] * velocity).flatten(-2)[..., None])[..., 0]
        right = torch.where(state.valid, products / norms, 0)
        gamma, _ = torch.linalg.solve_ex(gram + torch.diag_embed(diagonal), right)
        gamma = torch.where(state.valid, gamma / norms, 0)
        return torch.where(gamma.isfinite().all(-1, keepdim=True), gamma, 0)
