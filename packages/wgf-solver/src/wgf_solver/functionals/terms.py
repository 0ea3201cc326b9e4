r"""Functionals whose velocity is known: distances to a target, potentials, interactions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from wgf_solver.discrepancies.base import Discrepancy, check_discrepancy, towards
from wgf_solver.discrepancies.mmd import MMD
from wgf_solver.evaluation import Evaluation
from wgf_solver.functionals.base import Functional
from wgf_solver.kernels import Kernel
from wgf_solver.measure import Measure


@dataclass(frozen=True, eq=False)
class DistanceTo(Functional):
    """``D(μ, ν)`` to a fixed target ``ν``, with the discrepancy's own velocity.

    ``ν`` may lack the batch shape of ``μ`` (one target for all) and may want gradients: what the
    flow converges to is then differentiable with respect to its points and weights.

    Args:
        discrepancy: ``D``, such as ``MMD(Multiquadric(0.1))``.
        target: ``ν``.
    """

    discrepancy: Discrepancy
    target: Measure
    _pulled: Callable[[Measure], Evaluation] | None = field(default=None, repr=False, init=False)

    def __post_init__(self) -> None:
        check_discrepancy("DistanceTo", self.discrepancy)
        if not isinstance(self.target, Measure):
            raise TypeError(f"the target must be a Measure; got {type(self.target).__name__}")

    def __call__(self, mu: Measure) -> Tensor:
        """``D(μ, ν)``."""
        return self.discrepancy(mu, self.target.expand(mu.batch_shape))

    def slope(self, mu: Measure) -> Evaluation:
        """``D`` and its pull."""
        pulled = self._pulled
        if pulled is None:
            pulled = towards(self.discrepancy, self.target.expand(mu.batch_shape))
        return pulled(mu)

    def prepared(self, mu: Measure) -> Functional:
        """With what is the target's own, such as the ``½ ∬ k dν dν`` of an MMD, computed once."""
        same = replace(self)
        pulled = towards(self.discrepancy, self.target.expand(mu.batch_shape))
        object.__setattr__(same, "_pulled", pulled)
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
            return MMD(self.kernel).self_energy(mu)
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

    def slope(self, mu: Measure) -> Evaluation:
        """In closed form for a kernel, by autograd for a function."""
        if not isinstance(self.kernel, Kernel):
            return super().slope(mu)
        # An empty target at the mean does not pull, and what is left is the repulsion.
        marks = None if mu.marks is None else mu.marks[..., :1, :]
        here = mu.with_points(mu.points - mu.mean().detach()[..., None, :]).zero_padding()
        origin = torch.zeros_like(mu.points[..., :1, :])
        nothing = Measure(origin, torch.zeros_like(mu.weights[..., :1]), marks)
        velocity = MMD(self.kernel).pull(here, nothing).velocity
        with torch.no_grad():
            return Evaluation(velocity, discrepancy=self(mu).detach())
