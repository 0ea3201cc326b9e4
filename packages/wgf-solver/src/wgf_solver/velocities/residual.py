"""The labelled residual ``f(Z) − Z``."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from wgf_solver.evaluation import Evaluation
from wgf_solver.integrators.anderson import Anderson
from wgf_solver.measure import Measure
from wgf_solver.norms import may_look
from wgf_solver.velocities.base import Map, image_of


@dataclass(frozen=True)
class Residual:
    r"""``v_i = f(Z)_i − z_i``: a root is a fixed point, particle by particle.

    With a unit `Euler` step this is Picard iteration. It is a Wasserstein gradient flow as well:
    mark each atom with its own label and take the kernel ``Dirac * SquaredDistance``, then

        ½ MMD²(μ, F(μ)) = ½ Σ_i w_i² ‖z_i − f(Z)_i‖²

    and the frozen velocity of that discrepancy is ``w_i (f(Z)_i − z_i)``. The discrepancy reported
    is ``½ Σ_i w_i ‖z_i − f(Z)_i‖²``, the cost of the transport plan that pairs ``z_i`` with
    ``f(Z)_i``: an upper bound of ``½ W_2²(μ, F(μ))`` that does not change when an atom is split.

    Assumes that ``F`` returns the atoms of its argument, moved, in their order. If ``F`` also is
    permutation-equivariant and its labelled fixed point is unique, all atoms of the equilibrium
    coincide, unless ``μ`` carries marks that ``F`` reads (``docs/mathematics.md``, "Collapse").
    """

    @property
    def descends(self) -> bool:
        """False: nothing is promised to fall along the way."""
        return False

    @property
    def picard(self) -> bool:
        """True: it is ``F`` itself."""
        return True

    @property
    def labelled(self) -> bool:
        """True: atom ``i`` of ``F(μ)`` is the image of ``z_i``."""
        return True

    def default_integrator(self) -> Anderson:
        """`Anderson`."""
        return Anderson()

    def __call__(self, f: Map, mu: Measure) -> Evaluation:
        """One evaluation of ``F``.

        Raises:
            ValueError: ``F`` returned another number of atoms, other weights or other marks. On a
                device that is not the CPU, where a look at the values would wait for it, other
                weights or marks make the velocity of their measure NaN instead.
        """
        image = image_of(f, mu)
        if image.points.shape != mu.points.shape:
            raise ValueError(
                f"Residual compares atom by atom and needs the {mu.points.shape[-2]} atoms it "
                f"gave; the map returned {image.points.shape[-2]}. For a map that changes the "
                "number of atoms use velocity=Descent(MMD(kernel)), and Phantom(velocity=None) if "
                "the adjoint is a phantom gradient"
            )
        velocity = image.points - mu.points
        if image.weights is not mu.weights:
            velocity = _of_equal_weights(velocity, mu, image)
        if image.marks is not None and mu.marks is not None and image.marks is not mu.marks:
            velocity = _of_equal_marks(velocity, mu, image.marks, mu.marks)
        if not mu.full:
            velocity = torch.where(mu.mask[..., None], velocity, 0)
        with torch.no_grad():
            if mu.full:
                norm = torch.linalg.vector_norm(velocity, dim=(-2, -1))
                discrepancy = norm.square() * (0.5 / max(mu.points.shape[-2], 1))
            else:
                rows = torch.linalg.vector_norm(velocity, dim=-1)
                discrepancy = 0.5 * (rows.square() * mu.weights).sum(-1)
        return Evaluation(velocity, discrepancy=discrepancy, image=image)


def _of_equal_weights(velocity: Tensor, mu: Measure, image: Measure) -> Tensor:
    """``velocity``; raises, or is NaN, where ``F(μ)`` has other weights than ``μ``."""
    apart = (image.weights - mu.weights).detach().abs().amax(-1) if mu.weights.numel() else None
    if apart is None:
        return velocity
    largest = mu.weights.detach().amax(-1)  # 0 of an empty measure, whose image is nobody's
    other = (apart > torch.finfo(apart.dtype).eps ** 0.5 * largest) & (largest > 0)
    if not may_look(other):
        return torch.where(other[..., None, None], torch.nan, velocity)
    if bool(other.any()):
        raise ValueError(
            "Residual moves atoms and keeps their weights, but the map returned other weights, by "
            f"up to {float(apart.max()):.1e}: its root would be no fixed point of measures. "
            "Let the map keep them (mu.with_points), or take velocity=Descent(MMD(kernel))"
        )
    return velocity


def _of_equal_marks(velocity: Tensor, mu: Measure, marks: Tensor, own: Tensor) -> Tensor:
    """``velocity``; raises, or is NaN, where ``F(μ)`` has other marks than ``μ``."""
    message = (
        "Residual moves atoms and keeps their marks, but the map returned other marks: its root "
        "would be no fixed point of marked measures. Let the map keep them (mu.with_points)"
    )
    if marks.shape != own.shape:
        raise ValueError(f"{message}; shape {tuple(marks.shape)} for {tuple(own.shape)}")
    there = mu.mask[..., None]
    other = (there & (marks != own) & ~(marks.isnan() & own.isnan())).flatten(-2).any(-1)
    if not may_look(other):
        return torch.where(other[..., None, None], torch.nan, velocity)
    if bool(other.any()):
        raise ValueError(message)
    return velocity
