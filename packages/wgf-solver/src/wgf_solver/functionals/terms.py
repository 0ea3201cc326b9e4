r"""Functionals whose velocity is known: distances to a target, potentials, interactions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from wgf_solver.discrepancies.base import Discrepancy
from wgf_solver.discrepancies.mmd import MMD
from wgf_solver.functionals.base import Functional, Slope
from wgf_solver.kernels import Kernel, RadialKernel
from wgf_solver.measure import Measure
from wgf_solver.pairwise import force, pair_factors, potential


@dataclass(frozen=True, eq=False)
class DistanceTo(Functional):
    """``D(μ, ν)`` to a fixed target ``ν``, with the discrepancy's own velocity.

    ``ν`` may lack the batch shape of ``μ`` (one target for all) and may want gradients: what the
    flow converges to is then differentiable with respect to its points and weights.

    Args:
        discrepancy: ``D``, such as ``MMD(Energy())``.
        target: ``ν``.
    """

    discrepancy: Discrepancy
    target: Measure
    _constant: Tensor | None = field(default=None, repr=False, init=False)

    def __post_init__(self) -> None:
        if not hasattr(self.discrepancy, "pull"):
            raise TypeError(
                "DistanceTo takes a discrepancy such as MMD(Energy()), then the target; got "
                f"{self.discrepancy!r}"
            )
        if not isinstance(self.target, Measure):
            raise TypeError(f"the target must be a Measure; got {type(self.target).__name__}")

    def __call__(self, mu: Measure) -> Tensor:
        """``D(μ, ν)``."""
        return self.discrepancy(mu, self.target.expand(mu.batch_shape))

    def slope(self, mu: Measure) -> Slope:
        """``D`` and its pull."""
        target = self.target.expand(mu.batch_shape)
        velocity, scale, *_ = self.discrepancy.pull(mu, target)
        with torch.no_grad():
            if self._constant is None or not isinstance(self.discrepancy, MMD):
                energy = self.discrepancy(mu, target)
            else:
                kernel = self.discrepancy.kernel
                within, between = _mutual(kernel, mu, mu), _mutual(kernel, mu, target)
                energy = (0.5 * within - between + self._constant).clamp(min=0)
        return Slope(velocity, scale, energy.detach())

    def prepared(self, mu: Measure) -> Functional:
        """With the part of an MMD that is the target's own, ``½ ∬ k dν dν``, computed once."""
        if not isinstance(self.discrepancy, MMD):
            return self
        same = replace(self)
        with torch.no_grad():
            constant = 0.5 * _mutual(self.discrepancy.kernel, self.target, self.target)
        object.__setattr__(same, "_constant", constant)
        return same


@dataclass(frozen=True)
class Potential(Functional):
    """``∫ V dμ = Σ_i w_i V(z_i)``.

    Args:
        function: ``V``, from points ``(..., n, d)`` to ``(..., n)``, each by itself.
    """

    function: Callable[[Tensor], Tensor]

    def __call__(self, mu: Measure) -> Tensor:
        """The integral; padded rows are evaluated at an atom, where ``V`` is finite, and dropped.

        Raises:
            ValueError: ``V`` does not return one number for each point.
        """
        points = mu.points
        if not mu.full and points.shape[-2]:
            heaviest = mu.weights.argmax(-1)[..., None, None].expand(*mu.batch_shape, 1, mu.dim)
            points = torch.where(mu.mask[..., None], points, points.detach().gather(-2, heaviest))
        values = self.function(points)
        if not isinstance(values, Tensor) or values.shape != mu.weights.shape:
            came = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
            raise ValueError(
                "the function of a Potential takes points (..., n, d) to (..., n), here "
                f"{tuple(mu.weights.shape)}; it returned {came}"
            )
        return (mu.weights * torch.where(mu.mask, values, 0)).sum(-1)


@dataclass(frozen=True)
class Interaction(Functional):
    """``½ ∬ W(x − y) dμ dμ``, every pair of atoms and each with itself.

    Args:
        kernel: ``W``: a kernel such as ``Energy()`` or ``Gaussian(1.0)``, whose sums are closed
            forms in chunks (atoms fall apart where it is positive definite; ``-1.0 *
            Interaction(kernel)`` draws them together), or a function from differences
            ``(..., n, n, d)`` to ``(..., n, n)``, finite and differentiable at 0.
    """

    kernel: Kernel | Callable[[Tensor], Tensor]

    def __call__(self, mu: Measure) -> Tensor:
        """The double integral.

        Raises:
            ValueError: ``W`` does not return one number for each pair.
        """
        mu = mu.zero_padding()
        if isinstance(self.kernel, Kernel):
            return 0.5 * _mutual(self.kernel, mu, mu)
        differences = mu.points[..., :, None, :] - mu.points[..., None, :, :]
        both = mu.mask[..., :, None] & mu.mask[..., None, :]
        values = self.kernel(torch.where(both[..., None], differences, 0))
        if not isinstance(values, Tensor) or values.shape != both.shape:
            came = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
            raise ValueError(
                "the function of an Interaction takes differences (..., n, n, d) to (..., n, n), "
                f"here {tuple(both.shape)}; it returned {came}"
            )
        mass = mu.weights[..., :, None] * mu.weights[..., None, :]
        return 0.5 * (mass * torch.where(both, values, 0)).sum((-2, -1))

    def slope(self, mu: Measure) -> Slope:
        """In closed form for a kernel, by autograd for a function."""
        if not isinstance(self.kernel, Kernel):
            return super().slope(mu)
        velocity = torch.zeros_like(mu.points)
        centred = _moved(mu, mu.mean())
        for term in self.kernel.terms:
            factors = _factors(term.mark, mu, mu)
            pull = force(term.point, centred.points, centred.points, mu.weights, factors)
            velocity = velocity - term.factor * pull
        velocity = torch.where(mu.mask[..., None], velocity, 0)
        with torch.no_grad():
            return Slope(velocity, mu.weights.new_zeros(mu.batch_shape), self(mu).detach())


def _mutual(kernel: Kernel, mu: Measure, nu: Measure) -> Tensor:
    """``∬ k(x, y) dμ(x) dν(y)``, shape ``(...)``; at the origin, where float32 is accurate."""
    centre = nu.mean().detach()
    mu, nu = _moved(mu, centre), _moved(nu, centre)
    total = mu.weights.new_zeros(mu.batch_shape)
    for term in kernel.terms:
        factors = _factors(term.mark, mu, nu)
        at_atoms = potential(term.point, mu.points, nu.points, nu.weights, factors)
        total = total + term.factor * (mu.weights * at_atoms).sum(-1)
    return total


def _moved(mu: Measure, centre: Tensor) -> Measure:
    """``μ`` with ``centre (..., d)`` at the origin, and zeros in its padding."""
    return mu.with_points(mu.points - centre[..., None, :]).zero_padding()


def _factors(kernel: RadialKernel | None, mu: Measure, nu: Measure) -> Tensor | None:
    """``κ(m_i, m'_j)``, or None without a kernel on marks."""
    if kernel is None:
        return None
    if mu.marks is None or nu.marks is None:
        raise ValueError(
            f"the kernel {kernel!r} reads marks, and a measure has none: build it as "
            "Measure(points, weights, marks=...)"
        )
    return pair_factors(kernel, mu.marks, nu.marks).to(mu.points.dtype)
