"""GMRES for a batch of linear systems given by one matrix-vector product."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple, Protocol, TypeAlias

import torch
from torch import Tensor


class LinearStatus(IntEnum):
    """How the linear solve of one measure ended."""

    CONVERGED = 1
    STAGNATED = 2
    MAX_STEPS = 3
    NONFINITE = 4


class LinearSolution(NamedTuple):
    """The result of a batched linear solve.

    Attributes:
        solution: ``u``, of the shape of the right-hand side.
        residual: ``‖b − A u‖ / ‖b‖``, computed from ``u`` itself, ``(...)``; 0 where ``b = 0`` and
            infinite where ``b`` is not finite.
        steps: products with ``A`` that went into ``u`` and its residual, ``(...)`` int64.
        status: codes of `LinearStatus`, ``(...)`` int64.
    """

    solution: Tensor
    residual: Tensor
    steps: Tensor
    status: Tensor


Linear: TypeAlias = Callable[[Tensor], Tensor]
"""A linear function of rows ``(..., n, d)``, block-diagonal over the batch."""


class LinearSolver(Protocol):
    """What `wgf_solver.Implicit` takes: `GMRES`, or your own.

    ``preconditioner`` is passed only where the user gave `Implicit` one; a solver that has no use
    for it need not take it.
    """

    def solve(
        self,
        product: Linear,
        right: Tensor,
        *,
        start: Tensor | None = None,
        precision: torch.dtype | None = None,
        preconditioner: Linear | None = None,
    ) -> LinearSolution:
        """Solve ``A u = b`` for every measure of a batch.

        Args:
            product: ``u ↦ A u``, block-diagonal over the batch.
            right: ``b (..., n, d)``.
            start: a guess of the direction of ``u``, or None.
            precision: the type in which ``product`` computes inside, if it is known.
            preconditioner: ``u ↦ M⁻¹ u``, an approximate inverse of ``A``.
        """
        ...


@dataclass(frozen=True)
class GMRES:
    r"""Restarted GMRES (Saad and Schultz 1986) on every measure of a batch at once.

    ``A u = b`` with ``A`` block-diagonal over the batch and known only as ``u ↦ A u``. Each measure
    has its own Krylov space, projected problem ``min_y ‖β e_1 − H y‖`` and stop test, relative to
    its own ``‖b‖``; a mean-reduced loss makes cotangents tiny, and an absolute tolerance would then
    accept ``u = 0``. Assumes nothing of ``A`` but that it is not singular on the Krylov space.

    Orthogonalisation is classical Gram-Schmidt done twice, as stable as the modified kind and two
    matrix products instead of a loop. After each cycle the true residual is computed; a
    cycle that gained less than a tenth ends in `LinearStatus.STAGNATED`. What a measure gets is
    fixed when its own projected residual meets the tolerance, however long others take.

    With a preconditioner ``M⁻¹`` the Krylov space is that of ``A M⁻¹``, and ``u = M⁻¹ w`` (on the
    right, so that the residual that is minimised is that of ``A u = b`` itself; Saad 2003, 9.3.2).

    Args:
        rtol: relative tolerance on the residual; None: what the precision of the products allows,
            1e-10 in float64, 1e-4 in float32, 1e-2 in float16 and 3e-2 in bfloat16.
        restart: dimension of the Krylov space.
        max_steps: products with ``A`` altogether, at least 2: one for a step, one for its residual.
    """

    rtol: float | None = None
    restart: int = 30
    max_steps: int = 150

    def __post_init__(self) -> None:
        if self.restart < 1 or self.max_steps < 2:
            raise ValueError(
                "restart must be at least 1 and max_steps at least 2; got "
                f"{self.restart}, {self.max_steps}"
            )
        if self.rtol is not None and not self.rtol > 0:
            raise ValueError(f"rtol must be positive; got {self.rtol}")

    def solve(
        self,
        product: Linear,
        right: Tensor,
        *,
        start: Tensor | None = None,
        precision: torch.dtype | None = None,
        preconditioner: Linear | None = None,
    ) -> LinearSolution:
        """Solve ``A u = b``.

        Args:
            product: ``u ↦ A u`` on tensors of the shape of ``right``.
            right: ``b (..., n, d)``.
            start: ``(..., n, d)``, a guess of the direction of ``u``, such as the solution of a
                similar system. Its length is chosen for it: ``α u_0`` with the ``α`` that leaves
                the least residual, so that a bad guess costs one product and does no harm.
            precision: the type in which ``product`` computes inside, if lower than that of
                ``right``; sets the tolerance where ``rtol`` is None.
            preconditioner: ``w ↦ M⁻¹ w``, linear, an approximate inverse of ``A``.

        Returns:
            The best ``u`` found, whatever the status.
        """
        shape, batch = right.shape, right.shape[:-2]
        b = right.flatten(-2)  # (..., N)
        # In units of its largest entry: the square of a tiny cotangent may not vanish in float32.
        unit = b.abs().amax(-1, keepdim=True) if b.shape[-1] else b.new_ones(*batch, 1)
        unit = torch.where(unit > 0, unit, 1)
        b = b / unit
        size = torch.linalg.vector_norm(b, dim=-1)
        rtol = self.tolerance(right.dtype if precision is None else precision)

        def apply(u: Tensor) -> Tensor:
            return product(u.reshape(shape)).flatten(-2)

        def unpreconditioned(w: Tensor) -> Tensor:
            return w if preconditioner is None else preconditioner(w.reshape(shape)).flatten(-2)

        u, residual, r = torch.zeros_like(b), torch.ones_like(size), b
        residual = torch.where(size > 0, residual, 0)
        residual = torch.where(size.isfinite(), residual, torch.inf)
        steps = torch.zeros(batch, dtype=torch.int64, device=b.device)
        status = torch.where(size > 0, 0, int(LinearStatus.CONVERGED))
        status = torch.where(size.isfinite(), status, int(LinearStatus.NONFINITE))
        done = 0
        if start is not None:
            done = 1
            steps = steps + (status == 0)
            u, r = _scaled(start.flatten(-2), apply, b)
            residual = torch.where(
                status == 0,
                torch.linalg.vector_norm(r, dim=-1) / torch.where(size > 0, size, 1),
                residual,
            )
            close = (status == 0) & (residual <= rtol)
            status = torch.where(close, int(LinearStatus.CONVERGED), status)
        while done + 1 < self.max_steps and bool((status == 0).any()):
            cycle = min(self.restart, self.max_steps - done - 1)
            update, used, made = self._cycle(
                lambda w: apply(unpreconditioned(w)), r, size * rtol, status == 0, cycle
            )
            done += made + 1  # and one product for the true residual
            steps = steps + torch.where(status == 0, used + 1, 0)
            candidate = u + unpreconditioned(update)
            r_new = b - apply(candidate)
            new = torch.linalg.vector_norm(r_new, dim=-1) / torch.where(size > 0, size, 1)
            running = status == 0
            better = running & (new < residual)
            u = torch.where(better[..., None], candidate, u)
            r = torch.where(better[..., None], r_new, r)
            stuck = running & ~(new < 0.9 * residual)
            residual = torch.where(better, new, residual)
            status = torch.where(stuck, int(LinearStatus.STAGNATED), status)
            status = torch.where(running & ~new.isfinite(), int(LinearStatus.NONFINITE), status)
            status = torch.where(running & (residual <= rtol), int(LinearStatus.CONVERGED), status)
        status = torch.where(status == 0, int(LinearStatus.MAX_STEPS), status)
        return LinearSolution((unit * u).reshape(shape), residual, steps, status)

    def tolerance(self, dtype: torch.dtype) -> float:
        """The relative tolerance for products that are computed in ``dtype``."""
        if self.rtol is not None:
            return self.rtol
        return {torch.float64: 1e-10, torch.float16: 1e-2, torch.bfloat16: 3e-2}.get(dtype, 1e-4)

    def _cycle(
        self,
        apply: Linear,
        r: Tensor,
        target: Tensor,
        wanted: Tensor,
        dimension: int,
    ) -> tuple[Tensor, Tensor, int]:
        """One Krylov space from the residual ``r``, for the measures that are ``wanted``.

        Returns:
            The update of ``u`` (of ``w``, with a preconditioner), the products that it took,
            ``(...)``, and those made for any.
        """
        batch = r.shape[:-1]
        beta = torch.linalg.vector_norm(r, dim=-1)
        basis = r.new_zeros(*batch, dimension + 1, r.shape[-1])  # (..., k, N), rows orthonormal
        hessenberg = r.new_zeros(*batch, dimension + 1, dimension)
        basis[..., 0, :] = _normalised(r, beta)
        y = r.new_zeros(*batch, dimension)
        used = torch.zeros(batch, dtype=torch.int64, device=r.device)
        made = 0
        for k in range(dimension):
            q = apply(basis[..., k, :])
            known = basis[..., : k + 1, :]
            for _ in range(2):
                # Rows times matrices: with one column, CPU's batched product is ten times slower.
                overlap = q[..., None, :] @ known.mT  # (..., 1, k+1)
                q = q - (overlap @ known)[..., 0, :]
                hessenberg[..., : k + 1, k] += overlap[..., 0, :]
            height = torch.linalg.vector_norm(q, dim=-1)
            hessenberg[..., k + 1, k] = height
            basis[..., k + 1, :] = _normalised(q, height)
            trial, left = _least_squares(hessenberg[..., : k + 2, : k + 1], beta)
            y[..., : k + 1] = torch.where(wanted[..., None], trial, y[..., : k + 1])
            used = used + wanted
            made = k + 1
            wanted = wanted & (left > target)
            # One look at the values for each product with A, which costs a backward pass of F.
            if not bool(wanted.any()):
                break
        return (y[..., None, :made] @ basis[..., :made, :])[..., 0, :], used, made


def _scaled(guess: Tensor, apply: Linear, b: Tensor) -> tuple[Tensor, Tensor]:
    """``α u_0`` with the ``α`` that minimises ``‖b − α A u_0‖``, and that residual; else 0."""
    guess = _normalised(guess, guess.abs().amax(-1)) if guess.shape[-1] else guess
    image = apply(guess)
    square = image.square().sum(-1, keepdim=True)
    alpha = (image * b).sum(-1, keepdim=True) / torch.where(square > 0, square, 1)
    r = b - alpha * image
    fine = r.isfinite().all(-1, keepdim=True) & guess.isfinite().all(-1, keepdim=True)
    return torch.where(fine, alpha * guess, 0), torch.where(fine, r, b)


def _least_squares(h: Tensor, beta: Tensor) -> tuple[Tensor, Tensor]:
    """``argmin_y ‖β e_1 − H y‖`` and that minimum, for ``H (..., k+1, k)``; by QR.

    A column that vanished (the Krylov space of a measure is exhausted, and its solve is done) has
    a zero on the diagonal of R; its unknown is set to 0.
    """
    q, upper = torch.linalg.qr(h)  # (..., k+1, k), (..., k, k)
    right = beta[..., None] * q[..., 0, :]
    diagonal = torch.diagonal(upper, dim1=-2, dim2=-1)
    floor = torch.finfo(h.dtype).eps * diagonal.abs().amax(-1, keepdim=True)
    spent = diagonal.abs() <= floor
    upper = torch.where(
        spent[..., None], torch.eye(h.shape[-1], dtype=h.dtype, device=h.device), upper
    )
    right = torch.where(spent, 0, right)
    y = torch.linalg.solve_triangular(upper, right[..., None], upper=True)[..., 0]
    left = -(h @ y[..., None])[..., 0]
    left[..., 0] += beta
    return y, torch.linalg.vector_norm(left, dim=-1)


def _normalised(q: Tensor, norm: Tensor) -> Tensor:
    """``q / ‖q‖``, 0 for 0."""
    return q / torch.where(norm > 0, norm, 1)[..., None]
