r"""Sums over pairs of points, in row chunks, with closed-form derivatives.

    potential_i = Σ_j b_j c_ij ψ(‖x_i − y_j‖)                      (..., n)
    force_i     = Σ_j b_j c_ij (ψ'(r_ij)/r_ij) (x_i − y_j)         (..., n, d)

``b (..., m)`` are weights and ``c (..., n, m)`` an optional factor for each pair (a kernel on
marks). The derivatives are written out and not left to autograd for three reasons. Autograd would
keep ``n·m·d`` numbers alive. `torch.cdist`, the usual way out, is wrong by up to 7e-4 on
self-distances in float32 and has no second derivative for 25 points or fewer. And a
sum over pairs is singular where points meet, which must be decided once: coincident pairs exert no
force.

Distances come from differences, never from ``‖x‖² + ‖y‖² − 2⟨x, y⟩``: a matched pair, the very
thing a flow aims for, would be lost to cancellation.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from wgf_solver.kernels import RadialKernel
from wgf_solver.precision import full_precision

# Numbers that one chunk of rows may hold at a time (64 MB in float32).
_CHUNK_ELEMENTS = 2**24


def potential(
    kernel: RadialKernel, x: Tensor, y: Tensor, b: Tensor, c: Tensor | None = None
) -> Tensor:
    """``Σ_j b_j c_ij ψ(‖x_i − y_j‖)``.

    Args:
        kernel: gives ``ψ``.
        x: ``(..., n, d)``.
        y: ``(..., m, d)``.
        b: ``(..., m)``.
        c: ``(..., n, m)`` or None for 1.

    Returns:
        ``(..., n)``, differentiable (to any order) with respect to every tensor.
    """
    result: Tensor = _Potential.apply(kernel, x, y, b, c)  # type: ignore[no-untyped-call]
    return result


def force(kernel: RadialKernel, x: Tensor, y: Tensor, b: Tensor, c: Tensor | None = None) -> Tensor:
    """``Σ_j b_j c_ij ∇_x k(x_i, y_j)``: the gradient of `potential` with respect to ``x_i``.

    Arguments as in `potential`; returns ``(..., n, d)``, differentiable like it.
    """
    result: Tensor = _Force.apply(kernel, x, y, b, c)  # type: ignore[no-untyped-call]
    return result


def pair_factors(kernel: RadialKernel, m: Tensor, m_other: Tensor) -> Tensor:
    """``c_ij = κ(m_i, m'_j)``, shape ``(..., n, n')``, for marks ``(..., n, k)`` of each side."""
    r, _ = _distances(m, m_other)
    return kernel.value(r)


class _Potential(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, kernel: RadialKernel, x: Tensor, y: Tensor, b: Tensor, c: Tensor | None
    ) -> Tensor:
        ctx.kernel = kernel
        ctx.save_for_backward(x, y, b, c)
        rows = []
        for part in _row_chunks(x, y):
            r, _ = _distances(x[..., part, :], y)
            values = kernel.value(r) if c is None else c[..., part, :] * kernel.value(r)
            rows.append((values @ b[..., None])[..., 0])
        return torch.cat(rows, dim=-1) if len(rows) > 1 else rows[0]

    @staticmethod
    def backward(ctx: Any, p: Tensor) -> tuple[Tensor | None, ...]:
        # L = Σ_i p_i potential_i is symmetric in the two clouds, so its derivatives are forces
        # and potentials again, and those are differentiable: any order comes for free.
        x, y, b, c = ctx.saved_tensors
        kernel, c_t = ctx.kernel, None if c is None else c.mT
        _, need_x, need_y, need_b, need_c = ctx.needs_input_grad
        with full_precision(x.device):
            along_x = p[..., None] * force(kernel, x, y, b, c) if need_x else None
            along_y = b[..., None] * force(kernel, y, x, p, c_t) if need_y else None
            along_b = potential(kernel, y, x, p, c_t) if need_b else None
            along_c = None
            if need_c:
                along_c = p[..., None] * b[..., None, :] * kernel.value(_distances(x, y)[0])
        return None, along_x, along_y, along_b, along_c


class _Force(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, kernel: RadialKernel, x: Tensor, y: Tensor, b: Tensor, c: Tensor | None
    ) -> Tensor:
        ctx.kernel = kernel
        ctx.save_for_backward(x, y, b, c)
        rows = []
        for part in _row_chunks(x, y):
            r, difference = _distances(x[..., part, :], y)
            strength = b[..., None, :] * kernel.slope_ratio(r)
            if c is not None:
                strength = c[..., part, :] * strength
            rows.append((strength[..., None, :] @ difference)[..., 0, :])
        return torch.cat(rows, dim=-2) if len(rows) > 1 else rows[0]

    @staticmethod
    def backward(ctx: Any, u: Tensor) -> tuple[Tensor | None, ...]:
        # L = Σ_ij b_j c_ij (ψ'/r) ⟨x_i − y_j, u_i⟩. With H_ij = (ψ'/r)(I − eeᵀ) + ψ'' eeᵀ:
        #   ∂L/∂x_i =  Σ_j b_j c_ij H_ij u_i        ∂L/∂b_j = Σ_i c_ij (ψ'/r) ⟨x_i − y_j, u_i⟩
        #   ∂L/∂y_j = −Σ_i b_j c_ij H_ij u_i        ∂L/∂c_ij = b_j (ψ'/r) ⟨x_i − y_j, u_i⟩
        x, y, b, c = ctx.saved_tensors
        kernel = ctx.kernel
        _, need_x, need_y, need_b, need_c = ctx.needs_input_grad
        along_x, along_y, along_b, along_c = [], [], [], []
        with full_precision(x.device):
            for part in _row_chunks(x, y):
                r, difference = _distances(x[..., part, :], y)
                u_rows = u[..., part, :]
                safe = torch.where(r > 0, r, 1)
                direction = difference / safe[..., None]  # e_ij, 0 where r = 0
                ratio = kernel.slope_ratio(r)
                weight = b[..., None, :] if c is None else b[..., None, :] * c[..., part, :]
                inner = (difference @ u_rows[..., None])[..., 0]  # ⟨x_i − y_j, u_i⟩  (..., n, m)
                aligned = inner / safe
                if need_x or need_y:
                    isotropic = weight * ratio
                    axial = weight * (kernel.curvature(r) - ratio) * aligned
                    if need_x:
                        along_x.append(
                            isotropic.sum(-1, keepdim=True) * u_rows
                            + (axial[..., None, :] @ direction)[..., 0, :]
                        )
                    if need_y:
                        along_y.append(
                            -(isotropic.mT @ u_rows) - (axial[..., None] * direction).sum(-3)
                        )
                work = ratio * inner
                if need_b:
                    along_b.append((work if c is None else c[..., part, :] * work).sum(-2))
                if need_c:
                    along_c.append(b[..., None, :] * work)
        return (
            None,
            torch.cat(along_x, dim=-2) if need_x else None,
            torch.stack(along_y).sum(0) if need_y else None,
            torch.stack(along_b).sum(0) if need_b else None,
            torch.cat(along_c, dim=-2) if need_c else None,
        )


def _distances(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """``r_ij (..., n, m)`` and ``x_i − y_j (..., n, m, d)``; the root has gradient 0 at 0."""
    difference = x[..., :, None, :] - y[..., None, :, :]
    squared = difference.square().sum(-1)
    apart = squared > 0
    return torch.where(apart, torch.where(apart, squared, 1).sqrt(), 0), difference


def _row_chunks(x: Tensor, y: Tensor) -> Iterator[slice]:
    """Slices of the rows of ``x`` such that ``rows · m · d`` of the whole batch stays bounded."""
    n = x.shape[-2]
    batch = max(x[..., 0, 0].numel(), 1) if n and x.shape[-1] else 1
    rows = max(1, _CHUNK_ELEMENTS // max(batch * y.shape[-2] * y.shape[-1], 1))
    for start in range(0, max(n, 1), rows):
        yield slice(start, min(start + rows, n))
