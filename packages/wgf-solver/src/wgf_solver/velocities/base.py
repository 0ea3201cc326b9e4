"""What a velocity field is to the driver, the integrators and the adjoints."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeAlias

import torch
from torch import Tensor

from wgf_solver.evaluation import Evaluation
from wgf_solver.measure import Measure
from wgf_solver.norms import has_values

Map: TypeAlias = Callable[[Measure], Measure]
"""``F``: takes a measure and returns one, of the same batch shape and dimension."""


class VelocityField(Protocol):
    """A velocity field; write these two members and every integrator and adjoint works.

    A field is a function of the measure and of what ``F`` closes over, by torch operations.
    Called while gradients are recorded, with points that require one, it returns a velocity that
    can be differentiated (that is what the adjoints need); called without, it may save the graph.

    Four more members are used where they exist. ``default_integrator()``: what follows this field
    where nobody chose; without it, or where it returns None, that is `wgf_solver.LBFGS` if the
    field descends and `wgf_solver.Anderson` if it does not. ``picard``: True if a unit step leads
    to ``F(μ)``, up to the order of its atoms; `wgf_solver.Phantom` then differentiates such steps.
    ``prepared(mu)``: an equal field for measures like ``mu``, for which what will not change is
    computed once. ``labelled``: True if atom ``i`` of ``F(μ)`` is compared with ``z_i`` alone; of
    an atom that is held (see `wgf_solver.equilibrium`) the image is then ``z_i``, whatever ``F``
    says of it.
    """

    @property
    def descends(self) -> bool:
        """Whether small steps along the velocity lower the discrepancy of the evaluation.

        If so, the discrepancy is what judges an accelerated step and an equilibrium; otherwise
        the residual is.
        """
        ...

    def __call__(self, f: Map, mu: Measure) -> Evaluation:
        """Evaluate at ``mu``, whose padded rows hold zeros."""
        ...


class WritesInPlaceError(ValueError):
    """The map wrote into the measure that it was given."""


def image_of(f: Map, mu: Measure) -> Measure:
    """``F(μ)``, checked and without what its padding holds, in the floating-point type of ``μ``.

    Raises:
        TypeError: ``F`` does not return a `Measure`.
        ValueError: ``F`` changes the batch shape or the dimension, or writes into its argument.
    """
    before = _versions(mu)
    image = f(mu)
    if _versions(mu) != before:
        raise WritesInPlaceError(
            "the map wrote into the measure that it was given (mul_, add_, copy_, x[...] = ...): "
            "the solver still needs it. Make a new tensor: mu.with_points(0.5 * mu.points + 1)"
        )
    if not isinstance(image, Measure):
        raise TypeError(
            f"the map must return a Measure; got {type(image).__name__}. To move the points of mu: "
            "return mu.with_points(new_points). To return more beside it: has_aux=True"
        )
    if image.batch_shape != mu.batch_shape or image.dim != mu.dim:
        raise ValueError(
            f"the map must keep the batch shape {tuple(mu.batch_shape)} and the dimension "
            f"{mu.dim}; it returned {image!r}"
        )
    if image.points.dtype != mu.points.dtype:  # a map under autocast returns lower precision
        image = image.to(dtype=mu.points.dtype)
    return image.zero_padding()


def check_constant(f: Map, mu: Measure, image: Tensor) -> None:
    """Raise if an ``image`` that autograd takes for a constant is none: derivatives would be 0.

    Raises:
        ValueError: ``F`` changes with the points, and does not lead back to them.
    """
    with torch.no_grad():
        elsewhere = image_of(f, mu.with_points(1.25 * mu.points + 0.125)).points
    if has_values(image) and not bool(torch.isclose(image, elsewhere, equal_nan=True).all()):
        raise ValueError(
            "the map must lead back to the points by torch operations, and this one does not, "
            "though it changes with them: is there no_grad, detach, item or numpy on the way?"
        )


def _versions(mu: Measure) -> list[int]:
    """How often each tensor of the measure was written to; nothing where torch does not count."""
    if torch.compiler.is_compiling():
        return []
    parts = (mu.points, mu.weights, mu.marks)
    return [rows._version for rows in parts if rows is not None and not rows.is_inference()]
