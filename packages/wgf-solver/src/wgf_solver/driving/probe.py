"""Is a root of a descent field a minimum? Push it, move what is lost, descend, and compare."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

if TYPE_CHECKING:
    from wgf_solver.driving.iteration import Iteration

# The push, relative to the spread of the measure; plain steps of descent after it; by how much the
# discrepancy must have fallen below that of the root, relative to it: from a saddle it falls to a
# small part, while a minimum reached to a loose tolerance has a tenth or two left to fall. And how
# small the discrepancy of a root, relative to that of the pushed measure, counts as 0: float
# rounding leaves a positive one between equal measures. And for how many steps lost atoms may jump
# (where their images are lost as well, each jump brings them as much nearer as F contracts).
_PUSH = 0.02
PROBE_STEPS = 50
_JUMPS = 15
_FALL = 0.5
_ZERO = 1e-3


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
    for some (`wgf_solver.MMD.relocated`), they go there instead of a step.
    """
    flow, mu = iteration.flow, iteration.mu
    root, level = iteration.best_points, iteration.discrepancy
    spread = mu.with_points(root).spread()
    size = (
        torch.where(spread > 0, spread, iteration.image().spread())[..., None, None] / mu.dim**0.5
    )
    generator = torch.Generator("cpu").manual_seed(0)
    push = torch.randn(root.shape[-2:], generator=generator, device="cpu").to(root)
    points = flow.placed(torch.where(mu.mask[..., None], root + _PUSH * size * push, 0))
    best, lowest, zero, jumping = root, level, torch.zeros_like(level), True
    for k in range(PROBE_STEPS):
        evaluation = flow(mu.with_points(points))
        if k == 0:
            zero = _ZERO * evaluation.discrepancy
        better = evaluation.discrepancy < lowest
        best = torch.where(better[..., None, None], points, best)
        lowest = torch.where(better, evaluation.discrepancy, lowest)
        ahead = points + iteration.plain_step(k)[..., None, None] * evaluation.velocity
        if jumping and k < _JUMPS and evaluation.relocated is not None:
            elsewhere = evaluation.relocated()
            jumps = (elsewhere != points).flatten(-2).any(-1)
            ahead = torch.where(jumps[..., None, None], elsewhere, ahead)
            jumping = bool(jumps.any())
        points = ahead
    return Fallen(best, (lowest < (1 - _FALL) * level) & (level > zero))
