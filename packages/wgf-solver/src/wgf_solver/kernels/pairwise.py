r"""Sums over pairs of points, tile by tile, with closed-form derivatives.

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

The pairs are cut into tiles of some rows and some columns that stay in a core's cache from the
differences to the sum; memory is O(n + m), but for ``c`` and for what autograd keeps if a second
derivative is recorded.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from wgf_solver.kernels.families import RadialKernel
from wgf_solver.norms import safe_sqrt
from wgf_solver.precision import full_precision

# Numbers in one array of a tile. On a CPU half a dozen such arrays should fit the second-level
# cache of a core; a GPU wants few and large launches.
_TILE_ELEMENTS = {"cpu": 2**16}
_TILE_ELEMENTS_ELSEWHERE = 2**24
_COLUMNS = 1024
# Up to this dimension differences are kept coordinate by coordinate: arrays (rows, columns) whose
# inner loop is long. Above, the inner loop runs over the dimension itself.
_FEW_DIMENSIONS = 8


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
        ``(..., n)``, differentiable with respect to every tensor: to any order where no two
        points meet, and where they do up to the third, beyond which what they add is taken for 0.
    """
    result: Tensor = _Potential.apply(kernel, x, y, b, c)  # type: ignore[no-untyped-call]
    return result


def force(kernel: RadialKernel, x: Tensor, y: Tensor, b: Tensor, c: Tensor | None = None) -> Tensor:
    """``Σ_j b_j c_ij ∇_x k(x_i, y_j)``: the gradient of `potential` with respect to ``x_i``.

    Arguments as in `potential`; returns ``(..., n, d)``, differentiable like it.
    """
    result: Tensor = _Force.apply(kernel, x, y, b, c, False)[0]  # type: ignore[no-untyped-call]
    return result


def force_and_potential(
    kernel: RadialKernel, x: Tensor, y: Tensor, b: Tensor, c: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Both from one pass over the pairs; the potential is a plain value without a gradient."""
    forces, values = _Force.apply(kernel, x, y, b, c, True)  # type: ignore[no-untyped-call]
    return forces, values


def pair_factors(kernel: RadialKernel, m: Tensor, m_other: Tensor) -> Tensor:
    """``c_ij = κ(m_i, m'_j)``, shape ``(..., n, n')``, for marks ``(..., n, k)`` of each side.

    Marks that are integers or truth values are numbers first: differences of narrow types wrap.
    """
    return kernel.value(_distances(_as_numbers(m), _as_numbers(m_other)))


def _as_numbers(marks: Tensor) -> Tensor:
    if marks.is_floating_point():
        return marks
    return marks.to(torch.float32 if marks.device.type == "mps" else torch.float64)


class _Potential(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, kernel: RadialKernel, x: Tensor, y: Tensor, b: Tensor, c: Tensor | None
    ) -> Tensor:
        ctx.kernel = kernel
        ctx.save_for_backward(x, y, b, c)
        return _sums(kernel, x, y, b, c, forces=False, values=True)[1]

    @staticmethod
    def backward(ctx: Any, p: Tensor) -> tuple[Tensor | None, ...]:
        # L = Σ_i p_i potential_i is symmetric in the two clouds, so its derivatives are forces
        # and potentials again, and those are differentiable: any order comes for free, but for
        # pairs that meet, of which the root of r² = 0 has only so many; see `potential`.
        x, y, b, c = ctx.saved_tensors
        kernel, c_t = ctx.kernel, None if c is None else c.mT
        _, need_x, need_y, need_b, need_c = ctx.needs_input_grad
        with full_precision(x.device):
            along_x = p[..., None] * force(kernel, x, y, b, c) if need_x else None
            along_y = b[..., None] * force(kernel, y, x, p, c_t) if need_y else None
            along_b = potential(kernel, y, x, p, c_t) if need_b else None
            along_c = None
            if need_c:
                along_c = p[..., None] * b[..., None, :] * kernel.value(_distances(x, y))
        return None, along_x, along_y, along_b, along_c


class _Force(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        kernel: RadialKernel,
        x: Tensor,
        y: Tensor,
        b: Tensor,
        c: Tensor | None,
        values: bool,
    ) -> tuple[Tensor, Tensor]:
        ctx.kernel = kernel
        ctx.save_for_backward(x, y, b, c)
        forces, potentials = _sums(kernel, x, y, b, c, forces=True, values=values)
        ctx.mark_non_differentiable(potentials)
        return forces, potentials

    @staticmethod
    def backward(ctx: Any, u: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        x, y, b, c = ctx.saved_tensors
        needs = ctx.needs_input_grad[1:5]
        with full_precision(x.device):
            return (None, *_force_products(ctx.kernel, x, y, b, c, u, needs), None)


def _sums(
    kernel: RadialKernel,
    x: Tensor,
    y: Tensor,
    b: Tensor,
    c: Tensor | None,
    *,
    forces: bool,
    values: bool,
) -> tuple[Tensor, Tensor]:
    """Forces ``(..., n, d)`` and potentials ``(..., n)``; what is not asked for is empty."""
    batch, (n, d) = x.shape[:-2], x.shape[-2:]
    pairs, b, c = _Pairs(x, y), _flat(b, 1), None if c is None else _flat(c, 2)
    force_sum = x.new_zeros((pairs.batch, n, d) if forces else 0)
    value_sum = x.new_zeros((pairs.batch, n) if values else 0)
    for part, rows, columns in pairs.tiles():
        tile = pairs.tile(part, rows, columns)
        r = tile.squared_distances().sqrt_()
        weight = b[part, None, columns]
        if c is not None:
            weight = weight * c[part, rows, columns]
        if values:
            value_sum[part, rows] += (kernel.value(r) * weight).sum(-1)
        if forces:
            tile.add_over_columns(kernel.slope_ratio(r) * weight, force_sum[part, rows])
    return (
        force_sum.reshape(*batch, n, d) if forces else force_sum,
        value_sum.reshape(*batch, n) if values else value_sum,
    )


def _force_products(
    kernel: RadialKernel,
    x: Tensor,
    y: Tensor,
    b: Tensor,
    c: Tensor | None,
    u: Tensor,
    needs: tuple[bool, bool, bool, bool],
) -> list[Tensor | None]:
    """The derivatives of ``L = Σ_ij b_j c_ij (ψ'/r) ⟨x_i − y_j, u_i⟩``.

    With ``H_ij = (ψ'/r)(I − eeᵀ) + ψ'' eeᵀ``:

        ∂L/∂x_i =  Σ_j b_j c_ij H_ij u_i        ∂L/∂b_j = Σ_i c_ij (ψ'/r) ⟨x_i − y_j, u_i⟩
        ∂L/∂y_j = −Σ_i b_j c_ij H_ij u_i        ∂L/∂c_ij = b_j (ψ'/r) ⟨x_i − y_j, u_i⟩

    By operations that autograd can differentiate, and nothing in place: a third derivative may be
    asked for.
    """
    need_x, need_y, need_b, need_c = needs
    shapes = (x.shape, y.shape, b.shape, None if c is None else c.shape)
    pairs, b, c, u = _Pairs(x, y), _flat(b, 1), None if c is None else _flat(c, 2), _flat(u, 2)
    along = [_Assembly() for _ in needs]
    for part, rows, columns in pairs.tiles():
        tile = pairs.tile(part, rows, columns)
        r = safe_sqrt(tile.squared_distances())
        safe = torch.where(r > 0, r, 1)
        u_rows, ratio, weight = u[part, rows], kernel.slope_ratio(r), b[part, None, columns]
        factors = None if c is None else c[part, rows, columns]
        inner = tile.inner(u_rows)  # ⟨x_i − y_j, u_i⟩  (batch, rows, columns)
        at_rows, at_columns = (part.start, rows.start), (part.start, columns.start)
        if need_x or need_y:
            both = weight if factors is None else weight * factors
            isotropic = both * ratio
            axial = both * (kernel.curvature(r) - ratio) * (inner / safe) / safe
            if need_x:
                across = isotropic.sum(-1, keepdim=True) * u_rows
                along[0].add(at_rows, across + tile.over_columns(axial))
            if need_y:
                across = isotropic.mT @ u_rows
                along[1].add(at_columns, -across - tile.over_rows(axial))
        work = ratio * inner
        if need_b:
            along[2].add(at_columns, (work if factors is None else factors * work).sum(-2))
        if need_c:
            along[3].add((*at_rows, columns.start), weight * work)
    return [
        a.whole().reshape(shape) if need and shape is not None else None
        for a, need, shape in zip(along, needs, shapes, strict=True)
    ]


class _Pairs:
    """All pairs of two batches of clouds, laid out for speed and cut into tiles."""

    def __init__(self, x: Tensor, y: Tensor) -> None:
        self.n, self.m, self.d = x.shape[-2], y.shape[-2], x.shape[-1]
        self.batch = x.shape[:-2].numel()
        self.device = x.device
        x, y = _flat(x, 2), _flat(y, 2)
        self.by_coordinate = 0 < self.d <= _FEW_DIMENSIONS
        if self.by_coordinate:
            x, y = x.mT.contiguous(), y.mT.contiguous()
        self.x, self.y = x, y

    def tiles(self) -> Iterator[tuple[slice, slice, slice]]:
        """Slices of the batch, of the rows and of the columns, in that order of nesting."""
        budget = _TILE_ELEMENTS.get(self.device.type, _TILE_ELEMENTS_ELSEWHERE)
        budget = max(1, budget // (1 if self.by_coordinate else max(self.d, 1)))
        columns = max(1, min(self.m, _COLUMNS, budget))
        rows = max(1, min(self.n, budget // columns))
        if rows >= self.n:  # all rows fit: then so may more columns
            columns = max(columns, min(self.m, budget // max(self.n, 1)))
        together = max(1, budget // (rows * columns)) if columns >= self.m and rows >= self.n else 1
        for part in _slices(self.batch, together):
            for row in _slices(self.n, rows):
                for column in _slices(self.m, columns):
                    yield part, row, column

    def tile(self, part: slice, rows: slice, columns: slice) -> _Tile:
        """The differences of some pairs."""
        if self.by_coordinate:
            x, y = self.x[part, :, rows, None], self.y[part, :, None, columns]
            return _Coordinates([x[:, k] - y[:, k] for k in range(self.d)])
        return _Differences(self.x[part, rows, None, :] - self.y[part, None, columns, :])


class _Coordinates:
    """``x_i − y_j`` as one array ``(batch, rows, columns)`` a coordinate."""

    def __init__(self, differences: list[Tensor]) -> None:
        self.differences = differences

    def squared_distances(self) -> Tensor:
        """``‖x_i − y_j‖²``, shape ``(batch, rows, columns)``."""
        squared = self.differences[0].square()
        for difference in self.differences[1:]:
            squared = torch.addcmul(squared, difference, difference)
        return squared

    def add_over_columns(self, s: Tensor, out: Tensor) -> None:
        """Add `over_columns` to ``out``; the differences are used up."""
        for k, difference in enumerate(self.differences):
            out[..., k] += difference.mul_(s).sum(-1)

    def over_columns(self, s: Tensor) -> Tensor:
        """``Σ_j s_ij (x_i − y_j)``, shape ``(batch, rows, d)``."""
        return torch.stack([(s * difference).sum(-1) for difference in self.differences], -1)

    def over_rows(self, s: Tensor) -> Tensor:
        """``Σ_i s_ij (x_i − y_j)``, shape ``(batch, columns, d)``."""
        return torch.stack([(s * difference).sum(-2) for difference in self.differences], -1)

    def inner(self, u: Tensor) -> Tensor:
        """``⟨x_i − y_j, u_i⟩`` for ``u (batch, rows, d)``."""
        total = self.differences[0] * u[..., 0, None]
        for k, difference in enumerate(self.differences[1:], 1):
            total = total + difference * u[..., k, None]
        return total


class _Differences:
    """``x_i − y_j`` as one array ``(batch, rows, columns, d)``; members as in `_Coordinates`."""

    def __init__(self, difference: Tensor) -> None:
        self.difference = difference

    def squared_distances(self) -> Tensor:
        return self.difference.square().sum(-1)

    def add_over_columns(self, s: Tensor, out: Tensor) -> None:
        out += self.over_columns(s)

    def over_columns(self, s: Tensor) -> Tensor:
        return (s[..., None, :] @ self.difference)[..., 0, :]

    def over_rows(self, s: Tensor) -> Tensor:
        return (s[..., None] * self.difference).sum(-3)

    def inner(self, u: Tensor) -> Tensor:
        return (self.difference @ u[..., None])[..., 0]


_Tile = _Coordinates | _Differences


class _Assembly:
    """A tensor made of pieces ``[batch, axis, ...]``, each the sum of what its place received."""

    def __init__(self) -> None:
        self.pieces: dict[tuple[int, ...], Tensor] = {}

    def add(self, place: tuple[int, ...], piece: Tensor) -> None:
        """Add at the place that starts there."""
        present = self.pieces.get(place)
        self.pieces[place] = piece if present is None else present + piece

    def whole(self, place: tuple[int, ...] = ()) -> Tensor:
        """All pieces whose place begins with ``place``, joined axis by axis."""
        if place in self.pieces:
            return self.pieces[place]
        axis = len(place)
        starts = sorted({key[axis] for key in self.pieces if key[:axis] == place})
        parts = [self.whole((*place, start)) for start in starts]
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=axis)


def _distances(x: Tensor, y: Tensor) -> Tensor:
    """``r_ij (..., n, m)``, all at once; the root has gradient 0 at 0."""
    return safe_sqrt((x[..., :, None, :] - y[..., None, :, :]).square().sum(-1))


def _flat(tensor: Tensor, kept: int) -> Tensor:
    """All but the last ``kept`` dimensions as one."""
    shape = tensor.shape
    return tensor.reshape(shape[:-kept].numel(), *shape[-kept:])


def _slices(size: int, step: int) -> Iterator[slice]:
    """``range(size)`` in pieces; one empty piece if there is nothing."""
    for start in range(0, max(size, 1), step):
        yield slice(start, min(start + step, size))
