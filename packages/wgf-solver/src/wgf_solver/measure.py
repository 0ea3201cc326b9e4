"""Discrete measures: points, weights and, where wanted, marks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import reduce

import torch
from torch import Tensor

from wgf_solver.arrays import Array, from_array, tensors_of
from wgf_solver.norms import safe_sqrt


@dataclass(frozen=True, eq=False, init=False, repr=False)
class Measure:
    """A batch of probability measures ``μ = Σ_i w_i δ_{z_i}``, or ``Σ_i w_i δ_{(m_i, z_i)}``.

    Padding is weight 0. Nothing here or elsewhere in the package guesses padding from the values
    of a point, and what stands in a padded row (even NaN) reaches no result and no gradient.

    NumPy arrays are accepted where tensors are, and share their memory with the measure.

    Args:
        points: ``z (..., n, d)``, floating point.
        weights: ``w (..., n)``, non-negative, of any positive total; stored divided by their sum.
            May be boolean or integer (a mask, counts) and may lack leading dimensions of
            ``points``. A measure whose weights are all 0 is the empty measure. None (default):
            every measure is full and uniform, ``1/n`` each, which `full` then says without a look
            at the values.
        marks: ``m (..., n, k)``, optional labels that are carried along and never moved; they may
            lack leading dimensions of ``points`` (a code shared by the whole batch).

    Raises:
        TypeError: ``points`` is not a floating-point tensor, or weights or marks are no real ones.
        ValueError: the shapes or devices do not fit together, or a weight is negative. On a device
            that is not the CPU, where a look at the values would wait for it, the weights of such
            a measure become NaN instead. Weights that are NaN or infinite raise nowhere: they are
            the data of one bad measure, whose solve ends in `Status.NONFINITE` beside the others.
    """

    points: Tensor
    weights: Tensor
    marks: Tensor | None
    full: bool = field(init=False)

    def __init__(
        self,
        points: Tensor | Array,
        weights: Tensor | Array | None = None,
        marks: Tensor | Array | None = None,
    ) -> None:
        points, weights, marks = from_array(points), from_array(weights), from_array(marks)
        if not isinstance(points, Tensor) or not points.is_floating_point():
            came = points.dtype if isinstance(points, Tensor) else type(points).__name__
            raise TypeError(f"points must be a floating-point tensor (..., n, d); got {came}")
        if points.dim() < 2:
            raise ValueError(
                f"points must have shape (..., n, d); got {tuple(points.shape)}. "
                "One cloud of scalars is (n, 1): points[:, None]"
            )
        atoms = points.shape[:-1]
        if weights is None:
            value = 1.0 / max(points.shape[-2], 1)
            weights = torch.full(atoms, value, dtype=points.dtype, device=points.device)
            full = points.shape[-2] > 0
        else:
            _check_rows("weights (..., n)", weights, points, 1)
            weights = _expanded(weights, atoms, "weights (..., n)")
            # Counts may be larger than a half precision holds, and sums of them than any.
            precise = torch.promote_types(points.dtype, torch.float32)
            if weights.is_floating_point():
                precise = torch.promote_types(precise, weights.dtype)
            weights = weights.to(precise)
            weights = _normalised(_not_negative(weights), points.dtype)
            full = False
        if marks is not None:
            _check_rows("marks (..., n, k)", marks, points, 2)
            marks = _expanded(marks, (*atoms, marks.shape[-1]), "marks (..., n, k)")
        _set(self, points, weights, marks, full)

    @staticmethod
    def from_ragged(
        clouds: Sequence[Tensor | Array],
        weights: Sequence[Tensor | Array] | None = None,
        marks: Sequence[Tensor | Array] | None = None,
    ) -> Measure:
        """One measure a cloud, padded to the largest with weight 0.

        Args:
            clouds: tensors ``(n_b, d)`` with the same ``d``; ``n_b`` may differ and may be 0. Of
                several types the measure has the one that holds them all.
            weights: one ``(n_b,)`` a cloud, or None: uniform on each cloud.
            marks: one ``(n_b, k)`` a cloud, or None.

        Returns:
            A measure of batch shape ``(len(clouds),)``.

        Raises:
            ValueError: there is no cloud, or the clouds do not fit together.
        """
        if isinstance(clouds, Tensor) and clouds.dim() == 2:
            raise ValueError(
                "from_ragged takes a sequence of clouds; got one tensor of shape "
                f"{tuple(clouds.shape)}: Measure(points), or from_ragged([points])"
            )
        parts = [tensors_of(rows) for rows in (clouds, weights, marks)]
        return _padded(parts[0] or [], parts[1], parts[2])

    @property
    def mask(self) -> Tensor:
        """``(..., n)`` bool: True where there is an atom, False where there is padding."""
        return self.weights > 0

    @property
    def batch_shape(self) -> torch.Size:
        """The shape ``...`` in front of the atoms."""
        return self.points.shape[:-2]

    @property
    def dim(self) -> int:
        """The dimension ``d`` of the space."""
        return self.points.shape[-1]

    def with_points(self, points: Tensor) -> Measure:
        """The same weights and marks on other points ``(..., n, d')``: a push-forward.

        Raises:
            ValueError: ``points`` has another number of atoms or another batch shape.
        """
        if points.shape[:-1] != self.points.shape[:-1]:
            raise ValueError(
                f"with_points keeps the atoms {tuple(self.points.shape[:-1])}; got points of shape "
                f"{tuple(points.shape)}. For another number of atoms build a Measure(points, ...)"
            )
        return _unchecked(points, self.weights, self.marks, self.full)

    def replaced(self, points: Tensor, weights: Tensor, marks: Tensor | None) -> Measure:
        """The same measure on other tensors of the same shapes and values: nothing is checked."""
        return _unchecked(points, weights, marks, self.full)

    def expand(self, batch_shape: Sequence[int]) -> Measure:
        """The same measure for each index of a batch: views, no copies.

        Raises:
            ValueError: the batch shape of this measure does not broadcast to ``batch_shape``.
        """
        try:
            parts = [
                None if rows is None else rows.expand(*batch_shape, *rows.shape[-kept:])
                for rows, kept in ((self.points, 2), (self.weights, 1), (self.marks, 2))
            ]
        except RuntimeError as error:
            raise ValueError(
                f"a measure of batch shape {tuple(self.batch_shape)} does not expand to "
                f"{tuple(batch_shape)}"
            ) from error
        points, weights, marks = parts
        assert points is not None
        assert weights is not None
        return _unchecked(points, weights, marks, self.full)

    def zero_padding(self) -> Measure:
        """The same measure with points and marks of padded rows replaced by 0, gradient included.

        `torch.where` and no product: 0 times NaN would be NaN.
        """
        if self.full:
            return self
        mask = self.mask[..., None]
        marks = None if self.marks is None else torch.where(mask, self.marks, 0)
        return _unchecked(torch.where(mask, self.points, 0), self.weights, marks, False)

    def detach(self) -> Measure:
        """The same measure, cut from the autograd graph."""
        marks = None if self.marks is None else self.marks.detach()
        return _unchecked(self.points.detach(), self.weights.detach(), marks, self.full)

    def to(
        self, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> Measure:
        """The same measure on another device or in another floating-point type."""
        marks = None if self.marks is None else self.marks.to(device=device, dtype=dtype)
        points = self.points.to(device=device, dtype=dtype)
        if points.dtype == self.points.dtype:
            return _unchecked(points, self.weights.to(device=device), marks, self.full)
        # In another type weights are rounded otherwise, and their sum is: 1/n is taken anew.
        weights = None if self.full else self.weights.to(device=device, dtype=dtype)
        return Measure(points, weights, marks)

    def mean(self) -> Tensor:
        """``Σ_i w_i z_i``, shape ``(..., d)``; 0 for the empty measure."""
        return (self.weights[..., None, :] @ self.zero_padding().points)[..., 0, :]

    def spread(self, relative: bool = False) -> Tensor:
        """``(Σ_i w_i ‖z_i − mean‖²)^½``, shape ``(...)``, in the unit of the points.

        Args:
            relative: divide by ``(Σ_i w_i ‖z_i‖²)^½``: 0 for a single point (a Dirac away from
                the origin), 1 for a measure centred at the origin. 0/0 is 0.
        """
        clean = self.zero_padding().points
        centred = (clean - self.mean()[..., None, :]).square().sum(-1)
        spread = safe_sqrt((self.weights * centred).sum(-1))
        if not relative:
            return spread
        size = safe_sqrt((self.weights * clean.square().sum(-1)).sum(-1))
        return spread / torch.where(size > 0, size, 1)

    def sample(self, count: int, generator: torch.Generator | None = None) -> Measure:
        """``count`` independent draws of each measure, as a uniform measure with their marks.

        Args:
            count: number of atoms of the result.
            generator: on the device of the weights; None takes torch's own.

        Raises:
            ValueError: a measure has no atoms to draw from.
        """
        if not bool(self.mask.any(-1).all()):
            raise ValueError(
                f"sample cannot draw from an empty measure (total weight 0); in {self!r} "
                "at least one is"
            )
        flat = self.weights.detach().reshape(-1, self.weights.shape[-1])
        index = torch.multinomial(flat, count, replacement=True, generator=generator)
        index = index.reshape(*self.batch_shape, count)[..., None]

        def drawn(rows: Tensor) -> Tensor:
            return rows.gather(-2, index.expand(*index.shape[:-1], rows.shape[-1]))

        return Measure(drawn(self.points), marks=None if self.marks is None else drawn(self.marks))

    def __repr__(self) -> str:
        marks = "" if self.marks is None else f", marks {self.marks.shape[-1]}"
        batch = "x".join(map(str, self.batch_shape)) or "one"
        return (
            f"Measure(batch {batch}, {self.points.shape[-2]} atoms in dimension {self.dim}{marks}, "
            f"{self.points.dtype}, {self.points.device})"
        )


def _padded(
    clouds: list[Tensor], weights: list[Tensor] | None, marks: list[Tensor] | None
) -> Measure:
    """See `Measure.from_ragged`."""
    if len(clouds) == 0:
        raise ValueError("from_ragged needs at least one cloud; got an empty sequence")
    if weights is None:
        weights = [cloud.new_ones(cloud.shape[:1]) for cloud in clouds]
    for name, rows in (("weights", weights), ("marks", marks)):
        if rows is not None and [len(r) for r in rows] != [len(c) for c in clouds]:
            raise ValueError(
                f"{name} must have one row for each point: clouds have "
                f"{[len(c) for c in clouds]} points, {name} {[len(r) for r in rows]} rows"
            )
    if len({cloud.shape[1:] for cloud in clouds}) != 1 or clouds[0].dim() != 2:
        raise ValueError(
            "all clouds must be (n_b, d) with one d; got "
            f"{[tuple(cloud.shape) for cloud in clouds]}"
        )
    return Measure(_stacked(clouds), _stacked(weights), None if marks is None else _stacked(marks))


def _stacked(rows: list[Tensor]) -> Tensor:
    """All rows in one tensor, padded with 0, in the type that holds each of them."""
    dtype = reduce(torch.promote_types, (part.dtype for part in rows))
    return torch.nn.utils.rnn.pad_sequence([part.to(dtype) for part in rows], batch_first=True)


def extent(mu: Measure, nu: Measure) -> Tensor:
    """``(...)``: how far two measures reach, alone and from one another, in the unit of points."""
    apart = torch.linalg.vector_norm(mu.mean() - nu.mean(), dim=-1)
    return torch.hypot(torch.hypot(mu.spread(), nu.spread()), apart)


def _set(
    measure: Measure, points: Tensor, weights: Tensor, marks: Tensor | None, full: bool
) -> None:
    """Fill the fields of a frozen measure under construction."""
    for name, value in (("points", points), ("weights", weights), ("marks", marks), ("full", full)):
        object.__setattr__(measure, name, value)


def _unchecked(points: Tensor, weights: Tensor, marks: Tensor | None, full: bool) -> Measure:
    """A measure from parts that are known to fit: nothing is checked, nothing normalised."""
    measure = object.__new__(Measure)
    _set(measure, points, weights, marks, full)
    return measure


def _check_rows(name: str, rows: Tensor, points: Tensor, dimensions: int) -> None:
    """Raise unless ``rows`` is a real tensor on the device of the points."""
    if not isinstance(rows, Tensor) or rows.is_complex():
        came = rows.dtype if isinstance(rows, Tensor) else type(rows).__name__
        raise TypeError(f"{name} must be a tensor of real numbers; got {came}")
    if rows.dim() < dimensions:
        raise ValueError(f"{name} must have at least {dimensions} dimensions; got {rows.dim()}")
    if rows.device != points.device:
        raise ValueError(
            f"{name} must be on the device of the points, {points.device}; got {rows.device}. "
            "Move them with .to(points.device)"
        )


def _not_negative(weights: Tensor) -> Tensor:
    """Weights none of which is negative; raises on the CPU, else makes the measure NaN."""
    negative = weights < 0
    if weights.device.type == "cpu" and not torch.compiler.is_compiling():
        try:
            found = bool(negative.any())
        except RuntimeError:  # fake tensors and the transforms of torch.func have no values
            found = False
        if found:
            raise ValueError(
                f"weights must not be negative; got {float(weights.min()):g} as the least of "
                f"{tuple(weights.shape)}. Padding is weight 0"
            )
        return weights
    return torch.where(negative.any(-1, keepdim=True), torch.nan, weights)


def _expanded(rows: Tensor, shape: tuple[int, ...], name: str) -> Tensor:
    """``rows`` with the leading dimensions it lacks."""
    if rows.dim() <= len(shape) and tuple(rows.shape) == tuple(shape)[len(shape) - rows.dim() :]:
        return rows.expand(shape)
    raise ValueError(f"{name} must have shape {tuple(shape)} here; got {tuple(rows.shape)}")


def _normalised(weights: Tensor, dtype: torch.dtype) -> Tensor:
    """``w / Σw`` in ``dtype``; the empty measure keeps its zeros, an infinite weight makes NaN.

    A sum within rounding of 1 counts as 1, so that normalising twice changes no bit; its gradient
    is that of ``w / Σw`` all the same.
    """
    total = weights.sum(-1, keepdim=True)
    if weights.shape[-1]:  # a sum may overflow where no weight does
        largest = weights.detach().amax(-1, keepdim=True)
        weights = weights / torch.where(total.isinf() & largest.isfinite(), largest, 1)
        total = weights.sum(-1, keepdim=True)
    # Of weights that were rounded to `dtype`, half a unit each at most; and of their sum here.
    n, stored = weights.shape[-1], torch.finfo(dtype)
    rounding = stored.eps + n * stored.smallest_normal * stored.eps
    rounding = rounding + 8 * torch.finfo(weights.dtype).eps * n**0.5
    near = (total - 1).abs() <= rounding
    divisor = total + torch.where(near, 1 - total, 0).detach()  # exactly 1 where near
    divisor = torch.where(divisor == 0, 1, divisor)
    weights = weights / torch.where(divisor.isinf(), torch.nan, divisor)  # not 0, which is empty
    return weights.to(dtype)
