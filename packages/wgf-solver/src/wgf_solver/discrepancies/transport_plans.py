"""What discrepancies of optimal transport share: loops over measures, and plans held fixed."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import torch
from torch import Tensor

from wgf_solver.discrepancies.base import without_padding
from wgf_solver.evaluation import Evaluation
from wgf_solver.measure import Measure
from wgf_solver.norms import weighted_rms

Cloud = tuple[Tensor, Tensor]


def each_pair(mu: Measure, nu: Measure) -> Iterator[tuple[tuple[int, ...], Cloud, Cloud]]:
    """The place in the batch, and points and weights of both sides without padding.

    Measures that are empty or hold NaN or infinity are left out: there is nothing to transport.
    Detached, each side's weights summing to 1 as closely as float64 can: in float64 on the CPU,
    where plans are found and which has it.
    """
    for place in product(*map(range, mu.batch_shape)):
        sides = []
        for side in (mu, nu):
            rows = side.mask[place]
            points = side.points.detach()[place][rows].cpu().to(torch.float64)
            weights = side.weights.detach()[place][rows].cpu().to(torch.float64)
            sides.append((points, weights / weights.sum()))
        if all(len(w) and bool(z.isfinite().all() & w.isfinite().all()) for z, w in sides):
            yield place, sides[0], sides[1]


def costs(x: Tensor, y: Tensor, p: float) -> Tensor:
    """``‖x_i − y_j‖^p / p``, shape ``(..., n, m)``; differentiable, with gradient 0 at 0."""
    squared = (x[..., :, None, :] - y[..., None, :, :]).square().sum(-1)
    if p == 2:
        return 0.5 * squared
    apart = squared > 0
    return torch.where(apart, torch.where(apart, squared, 1) ** (p / 2) / p, 0)


def drift(plan: Tensor, x: Tensor, y: Tensor, p: float) -> Tensor:
    """``Σ_j P_ij ‖y_j − x_i‖^{p−2} (y_j − x_i)``, shape ``(..., n, d)``.

    The plan ``P (..., n, m)`` is a constant. Row sums of ``P`` need not be 1.
    """
    if p != 2:
        difference = y[..., None, :, :] - x[..., :, None, :]
        squared = difference.square().sum(-1)
        apart = squared > 0
        pace = torch.where(apart, torch.where(apart, squared, 1) ** (p / 2 - 1), 0)
        return ((plan * pace)[..., None, :] @ difference)[..., 0, :]
    return plan @ y - plan.sum(-1, keepdim=True) * x


def refuse_weights(name: str, mu: Measure, nu: Measure) -> None:
    """Raise where a gradient of the velocity with respect to weights is wanted: there is none.

    How an optimal plan answers to weights is known where its vertex is not degenerate, which
    measures of equal weights never are: half a derivative, or 0, would go unnoticed.
    """
    if torch.is_grad_enabled() and (mu.weights.requires_grad or nu.weights.requires_grad):
        raise ValueError(
            f"the velocity of {name} has no derivative with respect to weights, since its plan is "
            "held fixed, and these weights want a gradient. Detach them where only the points are "
            "to be learnt, or take MMD(kernel) or SlicedWasserstein(slices), which have one"
        )


def with_envelope(
    value: Tensor, cost: Tensor, mu: Measure, nu: Measure, potentials: tuple[Tensor, Tensor]
) -> Tensor:
    """``value`` with the gradients that the envelope theorem gives it.

    To points through ``cost``, a function of them at the optimal plan; to weights through the
    potentials at the optimum, all held fixed. NaN in a measure stays with it.
    """
    for potential, weights in zip(potentials, (mu.weights, nu.weights), strict=True):
        cost = cost + (potential * (weights - weights.detach())).sum(-1)
    return value.detach() + (cost - cost.detach())


def transport_pull(
    velocity: Tensor, mu: Measure, nu: Measure, p: float, value: Tensor
) -> Evaluation:
    """A pull judged by the spreads: what two measures would pull that are far from a match."""
    with torch.no_grad():
        mean = nu.mean()[..., None, :]
        size = (mu.spread() + nu.spread()) / max(mu.dim, 1) ** 0.5
        centred = mu.with_points(mu.points - mean).zero_padding().points
        reach = size + weighted_rms(centred, mu.weights)
        scale = size ** (p - 1)
        rounding = 4 * torch.finfo(size.dtype).eps * scale * reach / torch.where(size > 0, size, 1)
    return Evaluation(without_padding(velocity, mu), scale, rounding, value)
