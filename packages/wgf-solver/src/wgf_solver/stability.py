r"""Whether an equilibrium attracts: the spectral radius of the map's derivative there.

`equilibrium` finds fixed points, of plain iteration attracting ones and by acceleration others as
well. Plain iteration returns to ``Z*`` from nearby if ``ρ(∂F/∂Z) < 1`` and leaves it if ``> 1``.
"""

from __future__ import annotations

import torch
from torch import Tensor

from wgf_solver.inference import ordinary, outside_inference_mode
from wgf_solver.measure import Measure
from wgf_solver.velocities.base import Map, check_constant, image_of


def spectral_radius(f: Map, mu: Measure, steps: int = 50) -> Tensor:
    r"""``ρ(∂F/∂Z)`` at each measure of a batch, ``(...)``, by power iteration on ``(∂F/∂Z)ᵀ``.

        u_{k+1} = (∂F/∂Z)ᵀ u_k,      ρ ≈ (‖u_K‖ / ‖u_{K/2}‖)^{2/K},

    whose mean over the second half of the steps also settles where eigenvalues come in complex
    pairs. The error falls like the ratio of the second largest eigenvalue to the largest. One
    evaluation of ``F`` and a backward pass for each step; no gradient is recorded.

    Args:
        f: ``F``, which returns as many atoms as it is given.
        mu: where; such as `Solution.measure`.
        steps: ``K``, at least 2.

    Raises:
        ValueError: ``F`` returns another number of atoms, or does not lead back to the points by
            torch operations, or ``steps`` is less than 2.
    """
    if steps < 2:
        raise ValueError(f"steps must be at least 2; got {steps}")
    with outside_inference_mode():
        return _spectral_radius(f, ordinary(mu.detach()).zero_padding(), steps)


def _spectral_radius(f: Map, mu: Measure, steps: int) -> Tensor:
    with torch.enable_grad():
        z = mu.points.clone().requires_grad_()
        image = image_of(f, mu.with_points(z)).points
    if image.shape != z.shape:
        raise ValueError(
            f"the spectral radius is that of a map from {z.shape[-2]} atoms to as many; this one "
            f"returned {image.shape[-2]}. Project it first: Quantiles(count), Quantisation(count)"
        )
    if not image.requires_grad:
        check_constant(f, mu, image)
        return torch.zeros_like(mu.weights.sum(-1))
    generator = torch.Generator("cpu").manual_seed(0)
    u = torch.randn(z.shape[-2:], generator=generator, dtype=torch.float64, device="cpu").to(z)
    u = torch.where(mu.mask[..., None], u.expand_as(z), 0)
    growth = torch.zeros_like(u.sum((-2, -1)))
    half = steps // 2
    for k in range(steps):
        size = torch.linalg.vector_norm(u, dim=(-2, -1))
        u = u / torch.where(size > 0, size, 1)[..., None, None]
        if k > half:
            growth = growth + size.log()
        (u,) = torch.autograd.grad(image, z, u, retain_graph=True, materialize_grads=True)
        u = torch.where(mu.mask[..., None], u, 0)
    growth = growth + torch.linalg.vector_norm(u, dim=(-2, -1)).log()
    radius: Tensor = (growth / (steps - half)).exp()
    return radius
