r"""What a functional ``𝓕(μ)`` is to its gradient flow: an energy and a velocity; sums of them.

The Wasserstein gradient flow of ``𝓕`` moves each atom by its derivative per unit of mass,
``v_i = −(1/w_i) ∂_{z_i} 𝓕(μ) = −∇(δ𝓕/δμ)(z_i)``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from wgf_solver.evaluation import Evaluation, completed
from wgf_solver.measure import Measure
from wgf_solver.norms import weighted_rms
from wgf_solver.wasserstein_gradient import wasserstein_gradient

FunctionalLike: TypeAlias = "Functional | Callable[[Measure], Tensor]"


class Functional(ABC):
    """``𝓕``: one number for each measure of a batch. Subclasses give `__call__`, and perhaps more.

    Values of this class add and subtract, also with plain functions, and are multiplied by numbers
    or by tensors that hold one for each measure.
    """

    @abstractmethod
    def __call__(self, mu: Measure) -> Tensor:
        """``𝓕(μ)``, shape ``(...)``; differentiable by torch."""

    def slope(self, mu: Measure) -> Evaluation:
        """Energy and velocity, the latter differentiable if gradients are on.

        By autograd here; a subclass that knows its derivative overrides it.

        Args:
            mu: its padded rows hold zeros.

        Raises:
            TypeError: the functional does not return a tensor.
            ValueError: the functional does not return one number for each measure, or its value
                does not lead back to the points.
            RuntimeError: within `torch.inference_mode`, where there is nothing to differentiate.
        """
        return wasserstein_gradient(self, mu)

    def prepared(self, mu: Measure) -> Functional:
        """An equal functional for measures like ``mu``: what will not change is computed once."""
        return self

    def __add__(self, other: FunctionalLike) -> Functional:
        if not callable(other):
            return NotImplemented
        return Combination((*_parts(self), *_parts(as_functional(other))))

    def __radd__(self, other: FunctionalLike | int) -> Functional:
        if other == 0:  # so that sum(...) works
            return self
        return self + other if callable(other) else NotImplemented

    def __sub__(self, other: FunctionalLike) -> Functional:
        return self + (-1.0) * as_functional(other)

    def __mul__(self, factor: float | Tensor) -> Functional:
        """``c 𝓕`` for a number, or a tensor that holds one for each measure of the batch."""
        if not isinstance(factor, (int, float, Tensor)):
            return NotImplemented
        return Combination(tuple((factor * c, part) for c, part in _parts(self)))

    __rmul__ = __mul__


def as_functional(functional: FunctionalLike) -> Functional:
    """A functional of a function.

    Raises:
        TypeError: it cannot be called.
    """
    if isinstance(functional, Functional):
        return functional
    if isinstance(functional, type) or not callable(functional):
        raise TypeError(
            "a functional is a value such as DistanceTo(MMD(Multiquadric(0.1)), target), or a "
            f"function from a Measure to one number for each measure; got {functional!r}"
        )
    return FunctionOf(functional)


@dataclass(frozen=True)
class FunctionOf(Functional):
    """A plain function of a measure, by autograd; `gradient_flow` and ``+`` make it by themselves.

    Args:
        function: from a `Measure` to one number for each measure of the batch.
    """

    function: Callable[[Measure], Tensor]

    def __call__(self, mu: Measure) -> Tensor:
        """What the function returns."""
        return self.function(mu)


@dataclass(frozen=True)
class Combination(Functional):
    """``Σ_k c_k 𝓕_k``; made by ``+`` and ``*`` and seldom by hand."""

    terms: tuple[tuple[float | Tensor, Functional], ...]

    def __call__(self, mu: Measure) -> Tensor:
        """The sum."""
        total = mu.weights.new_zeros(mu.batch_shape)
        for factor, part in self.terms:
            total = total + _factor(factor, mu) * part(mu)
        return total

    def slope(self, mu: Measure) -> Evaluation:
        """The sum; its scale is the size of the parts that balance each other."""
        velocity = torch.zeros_like(mu.points)
        energy = mu.weights.new_zeros(mu.batch_shape)
        squares, noise = torch.zeros_like(energy), torch.zeros_like(energy)
        for number, part in self.terms:
            factor = _factor(number, mu)
            each = completed(part.slope(mu), mu)
            rows = factor[..., None, None] if isinstance(factor, Tensor) else factor
            velocity = velocity + rows * each.velocity
            with torch.no_grad():
                energy = energy + factor * each.discrepancy
                size = each.scale
                if len(self.terms) > 1:
                    size = torch.maximum(size, weighted_rms(each.velocity, mu.weights))
                squares = squares + (factor * size).square()
                noise = noise + (factor * each.rounding).square()
        return Evaluation(velocity, squares.sqrt(), noise.sqrt(), energy)

    def prepared(self, mu: Measure) -> Functional:
        """The sum of the prepared parts."""
        return Combination(tuple((factor, part.prepared(mu)) for factor, part in self.terms))


def _factor(factor: float | Tensor, mu: Measure) -> float | Tensor:
    """``c``, where it is a tensor in the type of the measure.

    Raises:
        ValueError: it does not hold one number for each measure.
    """
    if not isinstance(factor, Tensor):
        return factor
    batch = tuple(mu.batch_shape)
    last = tuple(factor.shape)[::-1]
    if len(last) > len(batch) or any(
        k not in (1, b) for k, b in zip(last, batch[::-1], strict=False)
    ):
        raise ValueError(
            "the factor of a functional is a number or holds one for each measure, "
            f"{batch or 'no dimensions'} here; got shape {tuple(factor.shape)}"
        )
    return factor.to(mu.weights.dtype)


def _parts(functional: Functional) -> tuple[tuple[float | Tensor, Functional], ...]:
    return functional.terms if isinstance(functional, Combination) else ((1.0, functional),)
