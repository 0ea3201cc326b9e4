r"""A penalty on the derivative of the map: what keeps a learned map's equilibria easy to find.

Training lets ``‖∂F/∂Z‖`` grow, and with it the steps of a solve and the error of phantom gradients;
Bai, Koltun and Kolter (2021) add the mean square of the derivative's entries to the loss.
"""

from __future__ import annotations

import torch
from torch import Tensor

from wgf_solver.inference import ordinary, outside_inference_mode
from wgf_solver.measure import Measure
from wgf_solver.velocities.base import Map, check_constant, image_of


def jacobian_norm(
    f: Map, mu: Measure, draws: int = 1, generator: torch.Generator | None = None
) -> Tensor:
    r"""An estimate of ``‖∂F/∂Z‖_F² / (n d)`` at each measure of a batch, ``(...)``, differentiable.

    By Hutchinson (1989): for ``ε`` with ``E[ε εᵀ] = I``,

        E ‖εᵀ J‖² = E tr(Jᵀ ε εᵀ J) = tr(Jᵀ J) = ‖J‖_F²,

    here with ``ε ~ N(0, I)`` on the atoms of ``F(μ)``, where the variance of one draw is
    ``2 ‖J Jᵀ‖_F²``. One evaluation of ``F`` and, for each draw, a backward pass that is recorded:
    the result has gradients with respect to all that ``F`` closes over. Divided by the ``n d``
    numbers of the atoms of ``μ`` it is the mean squared gain of a perturbation, 1 for the identity.
    It counts rows and not mass: an atom that is split counts twice.

        loss = loss + 0.1 * jacobian_norm(f, solution.measure).mean()

    Args:
        f: ``F``.
        mu: where; such as `Solution.measure`. Its points are taken as they are, for the penalty is
            on the map and not on where its equilibrium lies.
        draws: how many ``ε`` are averaged; in training one is enough.
        generator: of the draws, on the device of the points; None takes torch's own. The draw is
            the same for every measure of the batch.

    Raises:
        ValueError: ``draws`` is less than 1, or ``F`` does not lead back to the points by torch
            operations.
    """
    if draws < 1:
        raise ValueError(f"draws must be at least 1; got {draws}")
    recording = torch.is_grad_enabled()
    with outside_inference_mode():
        mu = ordinary(mu.with_points(mu.points.detach())).zero_padding()
        return _jacobian_norm(f, mu, draws, generator, recording)


def _jacobian_norm(
    f: Map, mu: Measure, draws: int, generator: torch.Generator | None, recording: bool
) -> Tensor:
    with torch.enable_grad():
        z = mu.points.clone().requires_grad_()
        image = image_of(f, mu.with_points(z))
        total = mu.weights.new_zeros(mu.batch_shape)
        if not image.points.requires_grad:
            check_constant(f, mu, image.points)
            return total
        for _ in range(draws):
            epsilon = torch.randn(
                image.points.shape[-2:], generator=generator, dtype=z.dtype, device=z.device
            )
            epsilon = torch.where(image.mask[..., None], epsilon, 0)
            (row,) = torch.autograd.grad(
                image.points, z, epsilon, create_graph=recording, retain_graph=True,
                materialize_grads=True,
            )  # fmt: skip
            total = total + torch.where(mu.mask[..., None], row, 0).square().sum((-2, -1))
    count = draws * mu.mask.sum(-1) * mu.dim
    estimate = total / torch.where(count > 0, count, 1)
    return estimate if recording else estimate.detach()
