r"""Radial kernels ``k(x, y) = ψ(‖x − y‖)`` in closed form, and how they combine.

A kernel gives ``ψ``, ``ψ'/r`` and ``ψ''`` of the distance ``r``; with the unit vector
``e = (x − y)/r`` that is all a gradient flow and its linearisation need:

    ∇_x k      = (ψ'(r)/r) (x − y)
    ∇²_x k · u = (ψ'(r)/r) (u − ⟨e, u⟩ e) + ψ''(r) ⟨e, u⟩ e

``ψ'/r`` is asked for and not ``ψ'``, because it is what stays finite at ``r = 0`` for smooth
kernels. Where a kernel is not differentiable at ``r = 0`` (`Energy`, `Laplacian`), force and
curvature of a coincident pair are 0, the symmetric subgradient.

Kernels add (``Gaussian(0.3) + Gaussian(1.0)``), scale (``0.5 * Energy()``), and multiply into a
kernel on *marked* measures, the left factor reading the marks and the right one the points:
``Gaussian(0.1) * Energy()`` is ``κ(m, m') k(x, x')``.

`Energy` and `Multiquadric` are positive definite only between measures of one mass. As the right
factor of a product they compare measures that have one mass *at each mark*, such as ``μ`` and
``F(μ)`` where ``F`` moves points and keeps marks; where masses differ at a mark, ``κ * k`` is no
kernel, and what `MMD` returns may be negative and fall without bound. Take `Gaussian`, `Laplacian`
or `InverseMultiquadric` on the points there.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from wgf_solver.kernels.constants import constant, hold_constants


class Kernel(ABC):
    """What `MMD` takes: a sum of terms, each a radial kernel with or without a kernel on marks."""

    @property
    @abstractmethod
    def terms(self) -> tuple[Term, ...]:
        """The kernel as a sum."""

    def __add__(self, other: Kernel) -> Kernel:
        if not isinstance(other, Kernel):
            return NotImplemented
        return Combination(self.terms + other.terms)

    def __mul__(self, point: Kernel) -> Kernel:
        """``κ * k``: ``self`` reads the marks, ``point`` the points; sums multiply out."""
        if not isinstance(point, Kernel):
            return NotImplemented
        if any(term.mark is not None for term in self.terms + point.terms):
            raise ValueError(
                "a product of kernels has two factors, the left one for marks and the right one "
                "for points; one of these is a product already"
            )
        return Combination(
            tuple(
                Term(left.factor * right.factor, left.point, right.point)
                for left in self.terms
                for right in point.terms
            )
        )

    def __rmul__(self, factor: float) -> Kernel:
        factor = constant(factor, "a multiple of a kernel", "factor")
        if not factor >= 0:
            raise ValueError(f"a negative multiple of a kernel is no kernel; got factor {factor}")
        return Combination(tuple(Term(factor * t.factor, t.mark, t.point) for t in self.terms))


@dataclass(frozen=True)
class Term:
    """``factor · κ(m, m') · ψ(‖x − x'‖)``; ``mark`` None is ``κ = 1``."""

    factor: float
    mark: RadialKernel | None
    point: RadialKernel


@dataclass(frozen=True)
class Combination(Kernel):
    """A sum of terms; made by ``+`` and ``*`` and seldom by hand."""

    summands: tuple[Term, ...]

    @property
    def terms(self) -> tuple[Term, ...]:
        """The kernel as a sum."""
        return self.summands


def by_mark(kernel: Kernel) -> list[tuple[RadialKernel | None, RadialKernel]]:
    """The kernel as ``Σ_κ κ(m, m') ψ_κ(r)``: one radial kernel for each kernel on marks.

    What is summed in ``ψ_κ`` shares the distances of one pass over the pairs.
    """
    groups: dict[RadialKernel | None, list[tuple[float, RadialKernel]]] = {}
    for term in kernel.terms:
        groups.setdefault(term.mark, []).append((term.factor, term.point))
    return [
        (mark, parts[0][1] if len(parts) == 1 and parts[0][0] == 1 else _Sum(tuple(parts)))
        for mark, parts in groups.items()
    ]


class RadialKernel(Kernel):
    """``k(x, y) = ψ(‖x − y‖)``. Subclasses give the three functions of the distance ``r ≥ 0``."""

    @abstractmethod
    def value(self, r: Tensor) -> Tensor:
        """``ψ(r)``."""

    @abstractmethod
    def slope_ratio(self, r: Tensor) -> Tensor:
        """``ψ'(r)/r``, with its limit, or 0 where there is none, at ``r = 0``."""

    @abstractmethod
    def curvature(self, r: Tensor) -> Tensor:
        """``ψ''(r)``; its value at ``r = 0`` is not used (``e = 0`` there)."""

    @property
    def terms(self) -> tuple[Term, ...]:
        """The kernel as a sum of one term."""
        return (Term(1.0, None, self),)


@dataclass(frozen=True)
class Energy(RadialKernel):
    """``k(x, y) = −‖x − y‖^power``: the kernel of the energy distance (Székely and Rizzo 2013).

    Conditionally positive definite for ``0 < power < 2``, so that `MMD` vanishes only between
    equal measures; no bandwidth to choose, and forces that do not fade with distance. They do not
    fade near the target either: a matched pair still pulls with its full weight, so that where the
    target has as many atoms as the measure no flow comes to rest at its tolerance, whatever the
    integrator. `Multiquadric` is this kernel with that corner rounded off, and settles.

    Below ``power = 1`` the force ``power · r^(power−1)`` grows without bound as a pair meets. It is
    returned as it is, and as 0 where the pair coincides: no cut-off is hidden here, so that value
    and velocity belong to each other; take short steps, or a power of 1 or more.
    """

    power: float = 1.0

    def __post_init__(self) -> None:
        hold_constants(self, "power")
        if not 0 < self.power < 2:
            raise ValueError(f"Energy needs 0 < power < 2; got {self.power}")

    def value(self, r: Tensor) -> Tensor:
        """``−r^p``."""
        return -r if self.power == 1 else _power(r, self.power, -1.0)

    def slope_ratio(self, r: Tensor) -> Tensor:
        """``−p r^{p−2}``, 0 at ``r = 0``."""
        return _power(r, self.power - 2, -self.power)

    def curvature(self, r: Tensor) -> Tensor:
        """``−p (p−1) r^{p−2}``, 0 at ``r = 0``."""
        if self.power == 1:
            return torch.zeros_like(r)
        return _power(r, self.power - 2, -self.power * (self.power - 1))


@dataclass(frozen=True)
class Gaussian(RadialKernel):
    """``k(x, y) = exp(−‖x − y‖² / (2 σ²))`` with ``σ = bandwidth``, in the unit of the points."""

    bandwidth: float

    def __post_init__(self) -> None:
        hold_constants(self, "bandwidth")
        if not self.bandwidth > 0:
            raise ValueError(f"Gaussian needs bandwidth > 0; got {self.bandwidth}")

    def value(self, r: Tensor) -> Tensor:
        """``exp(−r²/2σ²)``."""
        return torch.exp(-0.5 * (r / self.bandwidth).square())

    def slope_ratio(self, r: Tensor) -> Tensor:
        """``−ψ/σ²``."""
        return self.value(r) * (-1 / self.bandwidth**2)

    def curvature(self, r: Tensor) -> Tensor:
        """``ψ (r²/σ² − 1)/σ²``."""
        scaled = (r / self.bandwidth).square()
        return self.value(r) * (scaled - 1) / self.bandwidth**2


@dataclass(frozen=True)
class Laplacian(RadialKernel):
    """``k(x, y) = exp(−‖x − y‖ / b)`` with ``b = bandwidth``, in the unit of the points.

    Characteristic, with the short range of a bandwidth and, like `Energy`, a force between near
    points that does not fade: ``1/b`` as ``r → 0``, and 0 where points coincide.
    """

    bandwidth: float

    def __post_init__(self) -> None:
        hold_constants(self, "bandwidth")
        if not self.bandwidth > 0:
            raise ValueError(f"Laplacian needs bandwidth > 0; got {self.bandwidth}")

    def value(self, r: Tensor) -> Tensor:
        """``exp(−r/b)``."""
        return torch.exp(r * (-1 / self.bandwidth))

    def slope_ratio(self, r: Tensor) -> Tensor:
        """``−ψ/(b r)``, 0 at ``r = 0``."""
        return self.value(r) * _power(r, -1.0, -1 / self.bandwidth)

    def curvature(self, r: Tensor) -> Tensor:
        """``ψ/b²``."""
        return self.value(r) * (1 / self.bandwidth**2)


@dataclass(frozen=True)
class InverseMultiquadric(RadialKernel):
    """``k(x, y) = (c² + ‖x − y‖²)^(−1/2)``: smooth, characteristic, with a heavy tail.

    Its value at ``x = y`` is ``1/c``; ``c`` is in the unit of the points.
    """

    c: float = 1.0

    def __post_init__(self) -> None:
        hold_constants(self, "c")
        if not self.c > 0:
            raise ValueError(f"InverseMultiquadric needs c > 0; got {self.c}")

    def value(self, r: Tensor) -> Tensor:
        """``(c² + r²)^(−1/2)``."""
        return (r.square() + self.c**2).rsqrt()

    def slope_ratio(self, r: Tensor) -> Tensor:
        """``−ψ³``."""
        return -(self.value(r) ** 3)

    def curvature(self, r: Tensor) -> Tensor:
        """``ψ³ (3 r² ψ² − 1)``."""
        value = self.value(r)
        return value**3 * (3 * (r * value).square() - 1)


@dataclass(frozen=True)
class Multiquadric(RadialKernel):
    """``k(x, y) = c − √(c² + ‖x − y‖²)``: `Energy` with a force that fades within ``c``.

    Conditionally positive definite (Micchelli 1986) and characteristic, so that `MMD` vanishes only
    between equal measures. From afar it pulls as the energy distance does, with a force that does
    not fade, where atoms under a `Gaussian` may be left behind; near its target an atom comes to
    rest, and the implicit gradient exists, where `Energy` has a corner.

    ``c`` is in the unit of the points: a tenth of their spread is a good first choice. It changes
    how a flow gets to a fixed point ``μ = F(μ)``, not which it is.
    """

    c: float = 0.1

    def __post_init__(self) -> None:
        hold_constants(self, "c")
        if not self.c > 0:
            raise ValueError(f"Multiquadric needs c > 0; got {self.c}. For c = 0: Energy()")

    def value(self, r: Tensor) -> Tensor:
        """``−r² / (c + √(c² + r²))``, which keeps its digits where ``r`` is small."""
        s = r.square()
        return -s / (self.c + (s + self.c**2).sqrt())

    def slope_ratio(self, r: Tensor) -> Tensor:
        """``−(c² + r²)^(−1/2)``."""
        return -(r.square() + self.c**2).rsqrt()

    def curvature(self, r: Tensor) -> Tensor:
        """``−c² (c² + r²)^(−3/2)``."""
        return -(self.c**2) * (r.square() + self.c**2).rsqrt() ** 3


@dataclass(frozen=True)
class SquaredDistance(RadialKernel):
    """``k(x, y) = −½‖x − y‖²``: alone it sees means only, ``½MMD² = ½‖mean μ − mean ν‖²``.

    Times a kernel on marks it ties atoms to their partners: `Dirac` ``* SquaredDistance()`` makes
    fixed-point iteration a Wasserstein gradient flow (see `wgf_solver.velocities.Residual`).
    """

    def value(self, r: Tensor) -> Tensor:
        """``−r²/2``."""
        return -0.5 * r.square()

    def slope_ratio(self, r: Tensor) -> Tensor:
        """``−1``."""
        return -torch.ones_like(r)

    def curvature(self, r: Tensor) -> Tensor:
        """``−1``."""
        return -torch.ones_like(r)


@dataclass(frozen=True)
class Dirac(RadialKernel):
    """``κ(m, m') = 1`` where ``m = m'`` and 0 elsewhere: a kernel for marks alone (no gradient)."""

    def value(self, r: Tensor) -> Tensor:
        """``1_{r = 0}``."""
        return (r == 0).to(r.dtype)

    def slope_ratio(self, r: Tensor) -> Tensor:
        """There is none: the Dirac kernel is not differentiable."""
        raise TypeError(
            "Dirac() is a kernel for marks; on points it has no gradient. "
            "Multiply it from the left: Dirac() * SquaredDistance()"
        )

    curvature = slope_ratio


@dataclass(frozen=True)
class _Sum(RadialKernel):
    """``Σ_k factor_k ψ_k(r)``: terms that are evaluated on the same distances."""

    parts: tuple[tuple[float, RadialKernel], ...]

    def value(self, r: Tensor) -> Tensor:
        """``Σ_k factor_k ψ_k``."""
        return _total([factor * kernel.value(r) for factor, kernel in self.parts])

    def slope_ratio(self, r: Tensor) -> Tensor:
        """``Σ_k factor_k ψ_k'/r``."""
        return _total([factor * kernel.slope_ratio(r) for factor, kernel in self.parts])

    def curvature(self, r: Tensor) -> Tensor:
        """``Σ_k factor_k ψ_k''``."""
        return _total([factor * kernel.curvature(r) for factor, kernel in self.parts])


def parts_of(kernel: RadialKernel) -> tuple[tuple[float, RadialKernel], ...]:
    """The kernel as ``Σ_k factor_k ψ_k``, of those that `by_mark` summed up."""
    return kernel.parts if isinstance(kernel, _Sum) else ((1.0, kernel),)


def _total(values: list[Tensor]) -> Tensor:
    total = values[0]
    for value in values[1:]:
        total = total + value
    return total


def _power(r: Tensor, exponent: float, factor: float) -> Tensor:
    """``factor · r^exponent``, 0 at ``r = 0``, with finite gradients of every order there."""
    if not (torch.is_grad_enabled() and r.requires_grad):
        return (r**exponent).mul_(factor).masked_fill_(r == 0, 0)  # fewer passes over the tile
    apart = r > 0
    return torch.where(apart, factor * torch.where(apart, r, 1) ** exponent, 0)
