"""Anderson acceleration, per measure, safeguarded."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from wgf_solver.evaluation import Evaluation, size_of
from wgf_solver.integrators.base import check_step
from wgf_solver.kernels.constants import hold_constants
from wgf_solver.measure import Measure
from wgf_solver.norms import (
    clear_measures,
    has_values,
    known_all,
    known_none,
    may_look,
    where_measure,
)

# By how much an accelerated step may raise the discrepancy, relative to it: 0 takes back half of
# the steps to the root of a frozen field with D > 0, 1e-2 lets some solves drift to spurious roots.
_RISE = 1e-4


@dataclass
class _History:
    """What Anderson remembers of each measure; ``m`` columns in a ring, ``N = n·d``.

    The first ``min(k, m)`` columns are filled, the others are uninitialised. A column that does not
    count is 0, and so is its ``γ``.
    """

    du: Tensor  # (..., m, N)  ΔZ + τ ΔV, with ΔZ = Z_{k} − Z_{k−1}
    dv: Tensor  # (..., m + 1, N)  ΔV = v_{k} − v_{k−1}; the last row is v_k
    # The same memory, with atoms and coordinates apart.
    du_atoms: Tensor  # (..., m, n, d)
    dv_atoms: Tensor  # (..., m + 1, n, d)
    last: Tensor  # (..., n, d)  its last row
    gram: Tensor  # (..., m, m)  ⟨dv_i, dv_j⟩ for i ≥ j; above the diagonal nothing is read
    # (m, m) What makes the Gram matrix definite: 1, but 1 + ε on the diagonal, and 0, but there the
    # least normal number, which makes the γ of a column that is 0 itself 0 and not NaN.
    ridged: Tensor
    least: Tensor
    accelerated: Tensor  # (...) bool: whether the last step used them
    warm: Tensor  # (...) bool: whether the solve started near a root
    best: Tensor  # (...) the residual that counts as progress when it is undercut
    since: Tensor  # (...) int: the step of the last progress
    patience: Tensor  # (...) int: how many steps to wait for it
    resume: Tensor  # (...) int: the step at which a pause ends
    # What the host knows of all measures, without a look at each step: the first that may be called
    # stalled, and the last of any pause; 0 and infinite where it must not look.
    soonest: float
    pausing: float
    k: int = 0
    points: Tensor | None = None  # (..., n, d)  where the last accepted step started
    plain: Tensor | None = None  # (..., n, d)  where the plain step from there leads
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
    its first value (unless they start warm, with ``‖v‖`` below ``basin`` times its scale), and an
    accelerated step that raises ``D`` by more than 1e-4 of it is taken back (on the way to the root
    of a frozen field ``D`` may rise a little). On another field an
    accelerated step is taken back when the residual grew more than ``growth``-fold (or became NaN).
    Taking back costs the one evaluation that showed it: the history is dropped and a plain step
    made from the point before.

    A minimiser of residuals also gets stuck: at a local minimum of ``‖v‖`` that is no root, often
    where a pair of roots has just disappeared and plain iteration flows through a bottleneck. When
    the residual has not fallen by a fifth for ``patience`` steps, the history is dropped and
    as many plain steps are made; each stall doubles the patience, so that where acceleration
    does not work the method becomes the plain one.

    Args:
        memory: ``m``. What of it is filled is read at each step. Where many modes are slow (a map
            that hardly contracts), a short one takes more evaluations: 113 with 10 where 20 takes
            25 (``hatch run bench evaluations``).
        step: ``τ``, also of the plain steps.
        basin: for descent fields, where acceleration may begin: ``D`` relative to its first value,
            or the first ``‖v‖`` relative to its scale.
        growth: for other fields, the growth of the residual that an accelerated step may cause.
        patience: steps without progress after which acceleration pauses.
        ridge: ``ε``; None: 1e-10 in float64 and 1e-6 below.
    """

    memory: int = 20
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
        hold_constants(self, "step")
        check_step(self.step)
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
        batch, rows = mu.batch_shape, mu.points.shape[-2:]
        zeros, empty = mu.points.new_zeros, mu.points.new_empty
        du, dv = empty(*batch, self.memory, *rows), empty(*batch, self.memory + 1, *rows)
        one = torch.eye(self.memory, dtype=dv.dtype, device=dv.device)
        ridge = self.ridge
        if ridge is None:
            ridge = 1e-10 if dv.dtype == torch.float64 else 1e-6
        return _History(
            du=du.flatten(-2),
            dv=dv.flatten(-2),
            du_atoms=du,
            dv_atoms=dv,
            last=dv.select(-3, -1),
            gram=zeros(*batch, self.memory, self.memory),
            ridged=1 + ridge * one,
            least=torch.finfo(dv.dtype).tiny * one,
            accelerated=zeros(batch, dtype=torch.bool),
            warm=zeros(batch, dtype=torch.bool),
            best=mu.points.new_full(batch, torch.inf),
            since=zeros(batch, dtype=torch.int64),
            patience=zeros(batch, dtype=torch.int64) + self.patience,
            resume=zeros(batch, dtype=torch.int64),
            soonest=self.patience if may_look(mu.points) else 0,
            pausing=0 if may_look(mu.points) else math.inf,
        )

    def propose(
        self, state: _History, mu: Measure, evaluation: Evaluation, descends: bool
    ) -> Tensor:
        """The next points."""
        points, velocity = mu.points, evaluation.velocity
        residual = size_of(evaluation, mu)
        merit = evaluation.discrepancy if descends else residual
        rejected: Tensor | None = None
        if state.points is None or state.merit is None:
            state.first_merit = merit
            state.warm = residual <= self.basin * evaluation.scale
        else:
            limit = self.growth * state.merit
            if descends and state.first_merit is not None:  # energies may be negative
                rounding = 64 * torch.finfo(merit.dtype).eps * state.first_merit.abs()
                limit = state.merit + _RISE * state.merit.abs() + rounding
            rejected = state.accelerated > (merit <= limit)  # and not; so that NaN is rejected
            if known_none(rejected):
                rejected = None
            else:
                points = where_measure(rejected, state.points, points)
                velocity = where_measure(rejected, state.last, velocity)
                merit = torch.where(rejected, state.merit, merit)
        plain = torch.add(points, velocity, alpha=self.step)
        self._remember(state, plain, velocity, rejected)
        state.points, state.plain, state.merit = points, plain, merit
        state.k += 1

        self._pause_if_stalled(state, residual)
        if state.k == 1:
            return plain
        gamma, failed = self._coefficients(state, mu)
        # NaN is not used, nor is what overflows.
        use = torch.linalg.vector_norm(gamma, ord=torch.inf, dim=-1) < torch.inf
        if not known_none(failed):
            use = use & (failed == 0)
        if state.k <= state.pausing:
            use = use & (state.resume <= state.k)
        if descends and state.first_merit is not None:
            use = use & (state.warm | (merit <= self.basin * state.first_merit))
        if not known_all(use):
            gamma = torch.where(use[..., None], gamma, 0)
        state.accelerated = gamma.any(-1)
        return _minus_combination(plain, gamma, state.du)

    def _pause_if_stalled(self, state: _History, residual: Tensor) -> None:
        """Note progress, begin a pause where there was none for long, and end it in time."""
        k = state.k
        fresh = residual < 0.8 * state.best
        if k <= state.pausing:
            fresh = fresh | (state.resume == k)
        state.best = torch.where(fresh, residual, state.best)
        state.since = state.since.masked_fill(fresh, k)
        if k < state.soonest:
            return
        ends = state.since + state.patience
        stalled = ends <= k
        if not known_none(stalled):
            state.resume = torch.where(stalled, state.patience + k, state.resume)
            state.patience = torch.where(stalled, 2 * state.patience, state.patience)
            state.since = state.since.masked_fill(stalled, k)
            ends = state.since + state.patience
            self._drop(state, stalled)
        if may_look(ends) and ends.numel():
            state.soonest, state.pausing = float(ends.min()), float(state.resume.max())

    def _drop(self, state: _History, chosen: Tensor) -> None:
        """Forget the history of the chosen measures."""
        if known_none(chosen):
            return
        filled = min(state.k, self.memory)
        for columns in (state.du, state.dv, state.gram):
            clear_measures(columns.narrow(-2, 0, filled), chosen)

    def _remember(
        self, state: _History, plain: Tensor, velocity: Tensor, rejected: Tensor | None
    ) -> None:
        """Put the last differences into the ring, and ``v`` beside it.

        ``ΔZ + τ ΔV`` is the difference of the plain steps. Where the step was rejected both
        differences are 0, and what went before is dropped.
        """
        if state.plain is not None:
            j = (state.k - 1) % self.memory
            du, dv = state.du_atoms.select(-3, j), state.dv_atoms.select(-3, j)
            if has_values(velocity):
                torch.sub(velocity, state.last, out=dv)
                torch.sub(plain, state.plain, out=du)
            else:  # an exported program may run where gradients are on, and `out=` has none
                dv.copy_(velocity - state.last)
                du.copy_(plain - state.plain)
        if rejected is not None:
            self._drop(state, rejected)
        state.last.copy_(velocity)

    def _coefficients(self, state: _History, mu: Measure) -> tuple[Tensor, Tensor]:
        """``γ (..., k)`` of the ``k`` filled columns, 0 for one that does not count.

        They solve ``(G + ε diag G) γ = ⟨ΔV, v⟩`` with ``G = ⟨ΔV, ΔV⟩``. Nothing is scaled first:
        the error of Cholesky's factors is as if the diagonal were 1 (van der Sluis 1969; Higham
        2002, theorem 10.6), be the columns as different in size as they are near a root.

        Returns:
            ``γ``, and ``(...)`` int, not 0 where there is none.
        """
        # ⟨ΔV_i, ΔV_j⟩ for the newest column j, and ⟨ΔV_i, v⟩, in one pass over the history. As
        # rows times a matrix: with one column, CPU's batched product is ten times slower.
        j = (state.k - 2) % self.memory
        filled = min(state.k - 1, self.memory)
        rows = state.dv[..., j :: self.memory - j, :]  # (..., 2, N): row j and the last
        if not mu.full:  # a common factor of all inner products does not matter to γ
            rows = rows * mu.weights[..., None].expand_as(mu.points).flatten(-2)[..., None, :]
        products = rows @ state.dv.narrow(-2, 0, filled).mT  # (..., 2, filled)
        newest, right = products.unbind(-2)
        state.gram.select(-2, j).narrow(-1, 0, filled).copy_(newest)
        if j + 1 < filled:  # the ring is full: older columns are below the newest row
            state.gram.select(-1, j).copy_(newest)
        # Cholesky's factor is read off the diagonal and what is below it.
        gram = torch.addcmul(state.least, state.gram, state.ridged)
        gram = gram.narrow(-1, 0, filled).narrow(-2, 0, filled)
        factor, failed = torch.linalg.cholesky_ex(gram)
        # As two triangular solves: `cholesky_solve` takes half as long again.
        half = torch.linalg.solve_triangular(factor, right[..., None], upper=False)
        return torch.linalg.solve_triangular(factor.mT, half, upper=True)[..., 0], failed


def _minus_combination(plain: Tensor, gamma: Tensor, du: Tensor) -> Tensor:
    """``plain (..., n, d)`` without ``Σ_j γ_j du_j``, the first columns of ``du (..., m, N)``."""
    batch, count, size = math.prod(plain.shape[:-2]), gamma.shape[-1], math.prod(plain.shape[-2:])
    columns = du.narrow(-2, 0, count).reshape(batch, count, size)
    # `contiguous`: of a column of a solution, the CPU's batched product is ten times slower.
    coefficients = gamma.contiguous().view(batch, 1, count)
    result = torch.baddbmm(plain.reshape(batch, 1, size), coefficients, columns, alpha=-1)
    return result.view(plain.shape)
