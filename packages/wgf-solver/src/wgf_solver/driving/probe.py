"""Is a root of a descent field an equilibrium?

Push it, move what is lost, descend, and compare; and see whether its image is elsewhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from wgf_solver.drawing import rows_at, systematic
from wgf_solver.measure import Measure

if TYPE_CHECKING:
    from wgf_solver.driving.iteration import Iteration

# The push, relative to the spread of the measure; plain steps of descent after it; by how much the
# discrepancy must have fallen below that of the root, relative to it: from a saddle it falls to a
# small part, while a minimum reached to a loose tolerance has a tenth or two left to fall. And how
# small the discrepancy of a root, relative to that of the pushed measure, counts as 0: float
# rounding leaves a positive one between equal measures. And for how many steps lost atoms may jump
# (where their images are lost as well, each jump brings them as much nearer as F contracts). And by
# how many tolerances a measure may miss its image: along a direction in which D is flatter than on
# average by a factor q, a velocity of one tolerance leaves 1/q of them, and √q of that in D.
_PUSH = 0.02
# Steps of a probe whose solve began at rest, relative to the push: from a smooth saddle the
# distance grows by up to this part at each.
_STRIDE = 0.3
PROBE_STEPS = 50
_JUMPS = 15
_FALL = 0.5
_ZERO = 1e-3
_LOOSE = 50


class Fallen(NamedTuple):
    """Where a descent from beside a root led.

    Attributes:
        points: ``(..., n, d)``, the lowest point of the descent.
        lower: ``(...)`` bool: whether the discrepancy there is less than half of that at the root.
    """

    points: Tensor
    lower: Tensor


def descend_from(iteration: Iteration) -> Fallen:
    """Probe every root of the iteration by plain descent, `PROBE_STEPS` evaluations of the field.

    A minimum is returned to from nearby; from beside a saddle the discrepancy falls far below its
    value at the saddle, because a random push has a component along every direction that leads
    down. The push is the same for each measure and each call. Atoms that rest where no force
    reaches them are on no slope, and no push shows it: while the discrepancy knows better places
    for some (`wgf_solver.MMD.relocated`), they go there instead of a step. The steps are those of
    the integrator; of a solve that began at rest nothing tells the unit of a velocity, and its
    first step is a part of the push.
    """
    flow, mu = iteration.flow, iteration.mu
    root, level = iteration.best_points, iteration.discrepancy
    spread = mu.with_points(root).spread()
    spread = torch.where(spread > 0, spread, iteration.image().spread())
    push = _PUSH * spread
    points = _pushed(iteration, push)
    untold = iteration.yardstick.reference == 0
    best, lowest, zero = root, level, torch.zeros_like(level)
    jumping = torch.ones_like(level, dtype=torch.bool)
    for k in range(PROBE_STEPS):
        evaluation = flow(mu.with_points(points))
        if k == 0:
            zero = _ZERO * evaluation.discrepancy
            size = flow.size(evaluation, mu)
            stride = torch.where(size > 0, _STRIDE * push / size, 0)
        better = evaluation.discrepancy < lowest
        best = torch.where(better[..., None, None], points, best)
        lowest = torch.where(better, evaluation.discrepancy, lowest)
        step = torch.where(untold, stride, iteration.plain_step(k))
        ahead = points + step[..., None, None] * evaluation.velocity
        if k < _JUMPS and evaluation.relocated is not None and bool(jumping.any()):
            elsewhere = evaluation.relocated()
            jumping = jumping & (elsewhere != points).flatten(-2).any(-1)
            ahead = torch.where(jumping[..., None, None], elsewhere, ahead)
        points = ahead
    return Fallen(best, (lowest < (1 - _FALL) * level) & (level > zero))


def image_is_elsewhere(iteration: Iteration) -> Tensor:
    """``(...)`` bool: whether ``F(μ)`` is so far from ``μ`` that the root is no equilibrium.

    With means ``m``, ``m'`` and spreads ``s``, ``s'`` of ``μ`` and ``F(μ)``, the length ``L`` of
    the problem (`wgf_solver.driving.yardstick`), ``Λ = max(s, s', √d L)`` and
    ``δ = max(0.02, 4 rtol) Λ``:

    * the mean of what is nearest to ``μ`` lies within its spread, whatever atoms ``F`` returns: it
      is not where ``|m − m'| > max(s + s', δ)``;
    * where ``F`` returns other atoms and those of ``μ`` are equal, so many drawn of ``F(μ)`` are
      no farther from it than ``μ``, which was found by descent: it is not where
      ``D(draw, F(μ)) < ½ D(μ, F(μ))``;
    * where ``F`` returns as many atoms of the same weights, ``μ`` could be its own image. It is not
      where ``max(|m − m'|, |s − s'|) > δ``, which holds however little the kernel sees; nor where
      ``D(μ, F(μ)) > D(μ', μ)``, with ``μ'`` the measure ``μ`` with each atom pushed by about
      ``max(50 rtol, ε^¼) Λ``: that is the tolerance in the unit of ``D``, and finds the local
      minima with ``D > 0`` at which atoms rest under the images of others.
    """
    flow, image = iteration.flow, iteration.image()
    if image is iteration.mu:  # the field does not say what F(μ) is
        return torch.zeros_like(iteration.running)
    mu = iteration.mu.with_points(iteration.best_points)
    eps, rtol = torch.finfo(mu.points.dtype).eps, iteration.rtol
    spread, other = mu.spread(), image.spread()
    length = torch.fmax(spread, other)
    length = torch.fmax(length, mu.dim**0.5 * iteration.yardstick.length)
    near = max(_PUSH, 4 * rtol) * length
    apart: Tensor = torch.linalg.vector_norm(mu.mean() - image.mean(), dim=-1)
    far: Tensor = apart > torch.fmax(spread + other, near)
    if flow.held is not None:
        return far
    if mu.weights.shape != image.weights.shape:
        return far | _worse_than_drawn(iteration, mu, image)
    own: Tensor = ((image.weights - mu.weights).abs() <= eps**0.5 * mu.weights).all(-1)
    if mu.marks is not None and image.marks is not None:
        own = own & ((image.marks == mu.marks) | ~mu.mask[..., None]).flatten(-2).all(-1)
    pushed = mu.with_points(_pushed(iteration, max(_LOOSE * rtol, eps**0.25) * length))
    unit = flow.of(lambda _: mu)(pushed).discrepancy
    off = (torch.fmax(apart, (spread - other).abs()) > near) | (iteration.discrepancy > unit)
    return far | (own & off)


def _worse_than_drawn(iteration: Iteration, mu: Measure, image: Measure) -> Tensor:
    """``(...)`` bool: whether as many atoms drawn of ``F(μ)`` are much nearer to it than ``μ``.

    Said of unmarked measures of equal atoms alone: others could not be the draw.
    """
    if mu.marks is not None or 0 in (mu.points.shape[-2], image.points.shape[-2]):
        return torch.zeros_like(iteration.running)
    counts = mu.mask.sum(-1)
    even = (mu.weights * counts[..., None] - 1).abs() <= 1e-3
    equal = (even | ~mu.mask).all(-1)
    n = mu.points.shape[-2]
    # Sorted along some line, atoms that are near one another stand for each other.
    line = torch.arange(mu.dim, device=counts.device, dtype=image.points.dtype).cos()
    taken = systematic(image, counts, n, 0.5, image.points @ line)
    kept = torch.arange(n, device=counts.device) < counts[..., None]
    draw = Measure(rows_at(image.points, taken), kept).zero_padding()
    there = iteration.flow.of(lambda _: image)(draw).discrepancy
    return equal & (there < (1 - _FALL) * iteration.discrepancy)


def _pushed(iteration: Iteration, size: Tensor) -> Tensor:
    """The roots, each atom pushed by about ``size (...)``; the same for all, and for each call."""
    root, mu = iteration.best_points, iteration.mu
    generator = torch.Generator("cpu").manual_seed(0)
    push = torch.randn(root.shape[-2:], generator=generator, device="cpu").to(root)
    pushed = root + size[..., None, None] / mu.dim**0.5 * push
    return iteration.flow.placed(torch.where(mu.mask[..., None], pushed, 0))
