r"""How far clouds are from each other, as losses and as figures; each result is per cloud.

All take points ``x (B, n, d)`` with weights ``(B, n)`` and ``y (B, m, d)`` with theirs; padding is
weight 0 and counts nothing. With ``d(x, Y) = min_j ‖x − y_j‖`` over the points of positive weight:

==================  ===========================================================================
`chamfer_l1`        ``½ (Σ_i w_i d(x_i, Y) + Σ_j v_j d(y_j, X))``: "CD-l1" of PCN and PoinTr
`chamfer_l2`        ``Σ_i w_i d(x_i, Y)² + Σ_j v_j d(y_j, X)²``: "CD-l2", there is no half
`energy_distance`   ``2 E‖x − y‖ − E‖x − x'‖ − E‖y − y'‖``: Székely and Rizzo 2013; MMD² of −‖·‖
`f_score`           harmonic mean of the shares of points within a threshold of the other cloud
`wasserstein`       ``W_2``, by an exact solver (needs POT)
`sinkhorn`          ``2 S_ε``, the debiased divergence of `wgf_solver.Sinkhorn`: W_2² as ε → 0
`neighbour`         ``Σ_i w_i min_{j≠i} ‖x_i − x_j‖`` of one cloud: 0 where all points coincide
`kernel_entropy`    ``−Σ_i w_i log Σ_j w_j N(x_i − x_j; 0, h² I)`` of one cloud, or over j ≠ i
==================  ===========================================================================

(Literature's figures are often given times 1,000; these are not.)
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ddeq_models._internal.device import has_float64
from wgf_solver import MMD, Energy, Measure, Sinkhorn


def nearest(x: Tensor, y: Tensor, v: Tensor) -> Tensor:
    """``d(x_i, Y)``, ``(B, n)``; infinite where ``Y`` is empty. Its gradient is 0 at distance 0.

    Args:
        x: ``(B, n, d)``.
        y: ``(B, m, d)``.
        v: ``(B, m)``, the weights of ``y``.
    """
    inside = (v > 0)[..., None]
    with torch.no_grad():
        gaps = torch.cdist(
            x, torch.where(inside, y, 0), compute_mode="donot_use_mm_for_euclid_dist"
        )
        closest = torch.where(inside.mT, gaps, torch.inf).argmin(-1)  # (B, n)
    partner = torch.where(inside, y, 0).gather(-2, closest[..., None].expand(x.shape))
    squared = (x - partner).square().sum(-1)
    apart = squared > 0
    distance = torch.where(apart, torch.where(apart, squared, 1).sqrt(), 0)
    return torch.where(inside.any(-2), distance, torch.inf)


def chamfer_l1(x: Tensor, w: Tensor, y: Tensor, v: Tensor) -> Tensor:
    """See the module's table, ``(B,)``."""
    there, back = _both_ways(x, w, y, v)
    return 0.5 * (_mean(there, w) + _mean(back, v))


def chamfer_l2(x: Tensor, w: Tensor, y: Tensor, v: Tensor) -> Tensor:
    """See the module's table, ``(B,)``."""
    there, back = _both_ways(x, w, y, v)
    return _mean(there.square(), w) + _mean(back.square(), v)


def energy_distance(x: Tensor, w: Tensor, y: Tensor, v: Tensor) -> Tensor:
    """See the module's table, ``(B,)``."""
    return 2 * MMD(Energy())(Measure(x, w), Measure(y, v))


def f_score(x: Tensor, w: Tensor, y: Tensor, v: Tensor, threshold: float) -> Tensor:
    """Harmonic mean of precision (x near Y) and recall (y near X), ``(B,)``; Knapitsch et al. 2017.

    Args:
        x: ``(B, n, d)``.
        w: Its weights.
        y: ``(B, m, d)``.
        v: Its weights.
        threshold: Distance up to which a point counts as near, in the unit of the points.
    """
    there, back = _both_ways(x, w, y, v)
    precision = _mean((there <= threshold).to(x.dtype), w)
    recall = _mean((back <= threshold).to(x.dtype), v)
    total = precision + recall
    return 2 * precision * recall / torch.where(total > 0, total, 1)


def wasserstein(x: Tensor, w: Tensor, y: Tensor, v: Tensor) -> Tensor:
    """``W_2``, ``(B,)``, cloud by cloud on the processor; no gradient.

    Raises:
        ImportError: POT is not installed.
    """
    try:
        import ot
    except ImportError as error:
        raise ImportError("exact W2 needs POT: pip install 'ddeq-models[ot]'") from error
    costs = []
    for a, p, b, q in zip(*(t.detach().cpu().double() for t in (x, w, y, v)), strict=True):
        a, p, b, q = a[p > 0], p[p > 0], b[q > 0], q[q > 0]
        gaps = torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist").square()
        costs.append(ot.emd2((p / p.sum()).numpy(), (q / q.sum()).numpy(), gaps.numpy()))
    return torch.tensor(costs, dtype=torch.float64).clamp(min=0).sqrt().to(x.dtype).to(x.device)


def sinkhorn(x: Tensor, w: Tensor, y: Tensor, v: Tensor, blur: float) -> Tensor:
    """``2 S_ε`` for the cost ``½‖x − y‖²``, ``ε = blur²``, ``(B,)``; Feydy et al. 2019.

    As a loss it needs no potentials to many digits: the iteration ends when they have settled to
    a hundredth of ``ε``, or after 50 steps at the final blur. Cloud by cloud, so slower than the
    other distances by far.

    Args:
        x: ``(B, n, d)``.
        w: Its weights.
        y: ``(B, m, d)``.
        v: Its weights.
        blur: Length below which mass is not told apart, in the unit of the points.
    """
    divergence = Sinkhorn(blur, tolerance=1e-2, max_steps=50)
    place = x.device if has_float64(x.device) else torch.device("cpu")  # it is found in float64
    mu, nu = (Measure(z.to(place), t.to(place)) for z, t in ((x, w), (y, v)))
    return 2 * divergence(mu, nu).to(x.device)


def neighbour(x: Tensor, w: Tensor) -> Tensor:
    """Mean distance of a point to the nearest other one, ``(B,)``; 0 for a single point."""
    inside = w > 0
    clean = torch.where(inside[..., None], x, 0)
    gaps = torch.cdist(clean, clean, compute_mode="donot_use_mm_for_euclid_dist")
    itself = torch.eye(x.shape[-2], dtype=torch.bool, device=x.device)
    other = inside[..., None, :] & ~itself
    least = torch.where(other, gaps, torch.inf).amin(-1)
    return _mean(torch.where(least.isfinite(), least, 0), w)


def kernel_entropy(x: Tensor, w: Tensor, bandwidth: float, itself: bool = True) -> Tensor:
    r"""Entropy of a Gaussian kernel density estimate at its own points, ``(B,)``, in nats.

    The regulariser of Geuter et al. (2025), who add it to the loss with the weight −1e-6 so that
    completed points do not crowd together. With the point among its own neighbours it is the
    resubstitution estimate (Ahmad and Lin 1976); without, as in their code, the leave-one-out
    estimate ``−Σ_i w_i log Σ_{j≠i} w_j/(1 − w_i) N(x_i − x_j; 0, h² I)`` (Hall and Morton 1993), in
    which a point written down twice is two, and which is 0 for a single one.

    Args:
        x: ``(B, n, d)``.
        w: Its weights.
        bandwidth: ``h``, in the unit of the points.
        itself: Whether a point counts among its own neighbours.
    """
    inside = w > 0
    clean = torch.where(inside[..., None], x, 0)
    squared = (clean[..., :, None, :] - clean[..., None, :, :]).square().sum(-1)
    mass = w[..., None, :].expand_as(squared)
    if not itself:
        mass = mass.masked_fill(torch.eye(x.shape[-2], dtype=torch.bool, device=x.device), 0)
        mass = mass / _or_one(mass.sum(-1, keepdim=True))
    known = (mass > 0).any(-1) & inside
    # Rows without neighbours are left out; what is computed of them must be finite all the same.
    mass = torch.where(known[..., None], mass, 1)
    log_density = (
        (_or_one(mass).log() - squared / (2 * bandwidth**2))
        .masked_fill(mass == 0, -torch.inf)
        .logsumexp(-1)
    )
    log_density = log_density - x.shape[-1] * math.log(bandwidth * math.sqrt(2 * math.pi))
    return -_mean(torch.where(known, log_density, 0), w)


def _both_ways(x: Tensor, w: Tensor, y: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    x, y = (torch.where((t > 0)[..., None], z, 0) for z, t in ((x, w), (y, v)))
    return nearest(x, y, v), nearest(y, x, w)


def _mean(values: Tensor, weights: Tensor) -> Tensor:
    """``Σ_i w_i values_i`` over the points that count, ``(B,)``."""
    return torch.where(weights > 0, weights * torch.where(weights > 0, values, 0), 0).sum(-1)


def _or_one(masses: Tensor) -> Tensor:
    """Masses to divide by, or to take the logarithm of: 1 where there is none."""
    return torch.where(masses > 0, masses, 1)
