"""The Wasserstein gradient flow of a discrepancy between ``μ`` and ``F(μ)``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from wgf_solver.discrepancies.base import Discrepancy, check_discrepancy, towards
from wgf_solver.evaluation import Evaluation
from wgf_solver.integrators.quasi_newton import LBFGS
from wgf_solver.measure import Measure
from wgf_solver.velocities.base import Map, image_of
from wgf_solver.wasserstein_gradient import wasserstein_gradient


@dataclass(frozen=True)
class Descent:
    r"""Descent of ``D(μ, F(μ))``, the target held fixed or followed.

    * ``target="frozen"``: ``v_i = −∇_{z_i} (δD/δμ)(μ, ν)`` at ``ν = F(μ)`` held fixed. One
      evaluation of ``F``. A root is a measure that rests under the pull of its own image. It is
      better conditioned than the next and three times cheaper, but no energy is promised to fall:
      ``ν`` moves as ``μ`` does.
    * ``target="through"``: ``v_i = −(1/w_i) ∂_{z_i} [D(μ, F(μ))]``, through ``F``: the gradient
      flow of the objective itself (Geuter et al. 2025). One evaluation of ``F`` and one
      vector-Jacobian product. A root is a stationary point of the objective, and that may be a
      saddle or a local minimum with ``D > 0``; the driver says so (`Status.STATIONARY`).

    ``F`` may return another number of atoms than it was given. Assumes that ``D`` is
    differentiable at ``(μ, F(μ))``; `Energy` is not where atoms meet (the symmetric subgradient
    0 is taken), so that near an exact match the flow does not come to rest: `Multiquadric` does.

    Args:
        discrepancy: ``D``, such as ``MMD(Multiquadric(0.1))``.
        target: ``"frozen"`` or ``"through"``.
    """

    discrepancy: Discrepancy
    target: Literal["frozen", "through"] = "frozen"

    def __post_init__(self) -> None:
        if self.target not in ("frozen", "through"):
            raise ValueError(f"target must be 'frozen' or 'through'; got {self.target!r}")
        check_discrepancy("Descent", self.discrepancy)

    @property
    def descends(self) -> bool:
        """True."""
        return True

    def default_integrator(self) -> LBFGS:
        """`LBFGS`."""
        return LBFGS()

    def __call__(self, f: Map, mu: Measure) -> Evaluation:
        """Evaluate; gradients are recorded if they are on, and not otherwise.

        Raises:
            RuntimeError: ``target="through"`` inside `torch.inference_mode`.
        """
        return self._frozen(f, mu) if self.target == "frozen" else self._through(f, mu)

    def _frozen(self, f: Map, mu: Measure) -> Evaluation:
        image = image_of(f, mu)
        pulled = towards(self.discrepancy, image)

        def held(points: Tensor) -> tuple[Tensor, Tensor]:
            there = pulled(mu.with_points(points))
            return there.velocity, there.discrepancy

        return pulled(mu)._replace(image=image, held=held, relocated=self._relocated(mu, image))

    def _through(self, f: Map, mu: Measure) -> Evaluation:
        if torch.is_inference_mode_enabled():
            raise RuntimeError(
                "Descent(..., 'through') differentiates the map, which torch.inference_mode() "
                "forbids; use torch.no_grad() instead, or target='frozen'"
            )
        if torch.compiler.is_compiling():
            raise RuntimeError(
                "Descent(..., 'through') differentiates the map at each step, which torch.export "
                "does not record; use target='frozen'"
            )
        images = []

        def objective(here: Measure) -> Tensor:
            images.append(image_of(f, here))
            return self.discrepancy(here, images[0])

        evaluation = wasserstein_gradient(objective, mu)
        image = images[0] if torch.is_grad_enabled() else images[0].detach()
        pull = getattr(self.discrepancy, "pull", None)
        if pull is not None:  # which knows what balances
            with torch.no_grad():
                _, scale, rounding, *_ = pull(mu.detach(), image.detach())
            evaluation = evaluation._replace(scale=scale, rounding=rounding)
        return evaluation._replace(image=image, relocated=self._relocated(mu, image))

    def _relocated(self, mu: Measure, image: Measure) -> Callable[[], Tensor] | None:
        relocated = getattr(self.discrepancy, "relocated", None)
        return None if relocated is None else partial(relocated, mu.detach(), image.detach())
