r"""Projections of a measure on ``n`` atoms: ``F`` may return many more than it was given.

An iterated function system doubles the atoms and a convolution squares them; a fixed-point
iteration wants ``n`` again. Each projection here is a function from `Measure` to `Measure`, the
same in every call, and differentiable in the points of its argument; that of the empty measure is
empty, ``n`` atoms of weight 0:

    F = lambda mu: project(many_atoms(mu))

`Quantiles` is exact on the line; `Systematic` draws atoms with a fixed draw, in any dimension;
`Quantisation` descends a discrepancy to the ``n`` atoms nearest to the measure.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from wgf_solver.discrepancies.base import Discrepancy
from wgf_solver.discrepancies.mmd import MMD
from wgf_solver.drawing import position_of_last, precise, rows_at, systematic
from wgf_solver.functionals import DistanceTo
from wgf_solver.gradient_flow import gradient_flow
from wgf_solver.kernels import Multiquadric
from wgf_solver.measure import Measure


@dataclass(frozen=True)
class Quantiles:
    r"""The nearest measure of ``n`` equal atoms on the line in the Wasserstein-2 distance.

    With the quantile function ``Q`` of ``μ``, the atoms are its means over equal cells,

        z_i = n ∫_{i/n}^{(i+1)/n} Q(u) du,       i = 0, ..., n−1,

    which minimise ``W_2(μ, 1/n Σ δ_{z_i})`` (on the line ``W_2² = ∫ (Q − Q')²``) and keep the mean.
    ``∫_0^t Q`` is piecewise linear between the cumulative weights, with the cumulative sums of
    ``w_j y_j`` at them; so the cost is one sort, and the derivatives with respect to points and
    weights are exact wherever no two atoms of ``μ`` meet.

    Args:
        count: ``n``.
    """

    count: int

    def __post_init__(self) -> None:
        _check_count(self.count)

    def __call__(self, mu: Measure) -> Measure:
        """The projection of each measure of the batch, its atoms in increasing order.

        Raises:
            ValueError: the measures are not on the line.
        """
        if mu.dim != 1:
            raise ValueError(
                f"Quantiles projects measures on the line; got dimension {mu.dim}. Take "
                "Quantisation(count) or Systematic(count) there"
            )
        mu = _with_atoms(mu).zero_padding()
        # Sums of thousands of atoms far from the origin: about the mean, and in float64.
        centre = mu.mean().detach()
        y, order = (mu.points[..., 0] - centre).to(precise(mu.points)).sort(-1)
        w = mu.weights.to(y.dtype).gather(-1, order)
        w = w / torch.where(mu.mask.any(-1, keepdim=True), w.sum(-1, keepdim=True), 1)
        upto, total = w.cumsum(-1), (w * y).cumsum(-1)
        edges = torch.arange(self.count + 1, device=y.device, dtype=y.dtype) / self.count
        edges = edges.expand(*mu.batch_shape, self.count + 1).contiguous()
        # The atom within which each edge falls; the last edge is in the last atom that has mass.
        inside = torch.searchsorted(upto.detach().contiguous(), edges)
        inside = torch.minimum(inside, position_of_last(w))
        before = (inside - 1).clamp_min(0)
        first = inside == 0
        mass_before = torch.where(first, 0, upto.gather(-1, before))
        sum_before = torch.where(first, 0, total.gather(-1, before))
        integral = sum_before + (edges - mass_before) * y.gather(-1, inside)  # ∫_0^t Q
        atoms = (self.count * integral.diff(dim=-1)).to(mu.points.dtype) + centre
        return _equal_atoms(mu, atoms[..., None])


@dataclass(frozen=True)
class Systematic:
    r"""``n`` equal atoms of ``μ``, drawn with one fixed offset: systematic resampling.

    Atom ``j`` is taken as often as a number ``(i + u)/n``, ``i = 0, ..., n−1``, falls into its part
    of ``[0, 1]``, which differs from ``n w_j`` by less than 1 (Kitagawa 1996). On the line they are
    sorted first, and the result is within a cell of `Quantiles`. The draw is common noise, the same
    in each call, so that a map with it is deterministic. Gradients go to the points that were
    taken; which ones, and how often, is a constant.

    Args:
        count: ``n``.
        offset: ``u`` in ``[0, 1)``.
    """

    count: int
    offset: float = 0.5

    def __post_init__(self) -> None:
        _check_count(self.count)
        if not 0 <= self.offset < 1:
            raise ValueError(f"offset must be at least 0 and below 1; got {self.offset}")

    def __call__(self, mu: Measure) -> Measure:
        """The projection of each measure of the batch, with the marks of the atoms taken."""
        mu = _with_atoms(mu).zero_padding()
        along = mu.points[..., 0] if mu.dim == 1 else None
        taken = systematic(mu, self.count, self.count, self.offset, along)
        marks = None if mu.marks is None else rows_at(mu.marks, taken)
        return _equal_atoms(mu, rows_at(mu.points, taken), marks)


@dataclass(frozen=True)
class Quantisation:
    r"""The ``n`` equal atoms ``ν`` that minimise ``D(ν, μ)``, by descent from a `Systematic` draw.

    Where the descent rests, ``∇_ν D(ν, μ) = 0``, and the implicit function theorem gives the
    derivative with respect to points and weights of ``μ``; for that ``D`` must have second
    derivatives, as `MMD` has. ``D`` is not convex in the atoms: what is found is a local minimum.

    Args:
        count: ``n``.
        discrepancy: ``D``. None: the energy distance, rounded off below the distance of the atoms,
            ``MMD(Multiquadric(c))`` with ``c = s n^(−1/d) / 4`` and the spread ``s`` of each
            measure by itself. It comes to rest where ``MMD(Energy())`` does not, as near to ``μ``.
        rtol: of the descent.
        max_steps: of the descent.
    """

    count: int
    discrepancy: Discrepancy | None = None
    rtol: float = 1e-4
    max_steps: int = 1000

    def __post_init__(self) -> None:
        _check_count(self.count)

    def __call__(self, mu: Measure) -> Measure:
        """The projection of each measure of the batch; one that does not come to rest warns."""
        if self.discrepancy is not None:
            return self._descended(self.discrepancy, mu)
        mu = mu.zero_padding()
        # In its own unit each measure of a batch has the same c, and the unit's share of the
        # derivative is autograd's.
        unit = mu.spread()
        unit = torch.where(unit > 0, unit, 1)[..., None, None]
        near = MMD(Multiquadric(0.25 * self.count ** (-1 / mu.dim)))
        nu = self._descended(near, mu.with_points(mu.points / unit))
        return nu.with_points(nu.points * unit)

    def _descended(self, discrepancy: Discrepancy, mu: Measure) -> Measure:
        start, target = Systematic(self.count)(mu.detach()), DistanceTo(discrepancy, mu)
        return gradient_flow(target, start, rtol=self.rtol, max_steps=self.max_steps).measure


def _with_atoms(mu: Measure) -> Measure:
    """``μ``, with a row of padding where it has no rows at all, so that there is one to take."""
    if mu.points.shape[-2]:
        return mu
    marks = None if mu.marks is None else F.pad(mu.marks, (0, 0, 0, 1))
    return Measure(F.pad(mu.points, (0, 0, 0, 1)), F.pad(mu.weights, (0, 1)), marks)


def _equal_atoms(mu: Measure, points: Tensor, marks: Tensor | None = None) -> Measure:
    """Equal atoms for ``μ``; none, of weight 0, where that is empty."""
    if mu.full:
        return Measure(points, marks=marks)
    return Measure(points, mu.mask.any(-1, keepdim=True).expand(points.shape[:-1]), marks)


def _check_count(count: int) -> None:
    if count < 1:
        raise ValueError(f"count must be at least 1; got {count}")
