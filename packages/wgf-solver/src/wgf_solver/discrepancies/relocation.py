"""Atoms that are of no use where they are, and where they would be: what no small push can show.

Of a kernel that fades with distance, an atom far from all others feels no force: measures with such
atoms are at rest, and flat all around. ``D(·, ν) = ½ MMD²`` is quadratic in the masses, though, and
says exactly what a jump would bring. With the witness ``h = ∫ k(·, y) d(μ−ν)(y)``, moving all the
mass of atom ``i`` from ``z_i`` to ``y`` changes ``D`` by

    w_i (h(y) − h(z_i)) + w_i² (k(0) − k(z_i, y)).

The exchange step of conditional-gradient methods takes the ``y`` where the witness is lowest among
the atoms of ``ν``, and the ``i`` for which that is best: O(n + m) a step, from two passes over the
pairs.
"""

from __future__ import annotations

import torch
from torch import Tensor

from wgf_solver.kernels import RadialKernel
from wgf_solver.kernels.pairwise import potential
from wgf_solver.measure import Measure

# A jump is made if it takes away this part of ``D``. An atom that is lost among ``k`` like it has
# about a ``k``-th part of it; atoms that are well placed have far less to gain.
_GAIN = 0.1


@torch.no_grad()
def relocated(kernel: RadialKernel, mu: Measure, nu: Measure) -> Tensor:
    """The points ``(..., n, d)`` of ``mu``, some of them moved to atoms of ``nu``; greedily.

    Args:
        kernel: ``k``.
        mu: ``μ``, without what stands in its padding.
        nu: ``ν``, likewise; of the same batch shape.
    """
    z, w, y, v = mu.points, mu.weights, nu.points, nu.weights
    if min(z.numel(), y.numel()) == 0:
        return z
    at_z = potential(kernel, z, z, w) - potential(kernel, z, y, v)  # h  (..., n)
    at_y = potential(kernel, y, z, w) - potential(kernel, y, y, v)
    energy = 0.5 * ((w * at_z).sum(-1) - (v * at_y).sum(-1))  # D = ½ ∫ h d(μ−ν)
    at_y = torch.where(nu.mask, at_y, torch.inf)
    own = kernel.value(torch.zeros_like(energy))[..., None]
    for _ in range(z.shape[-2]):
        depth, j = at_y.min(-1, keepdim=True)
        place = y.gather(-2, j[..., None].expand(*j.shape, y.shape[-1]))  # (..., 1, d)
        change = w * (depth - at_z) + w.square() * (own - _from(kernel, z, place))
        fall, i = change.min(-1, keepdim=True)
        go = (energy[..., None] > 0) & (fall < -_GAIN * energy[..., None])
        if not bool(go.any()):
            break
        energy = energy + torch.where(go, fall, 0)[..., 0]
        mass = torch.where(go, w.gather(-1, i), 0)
        row = i[..., None].expand(*i.shape, z.shape[-1])
        left = z.gather(-2, row)
        z = z.scatter(-2, row, torch.where(go[..., None], place, left))
        at_z = at_z.scatter(-1, i, torch.where(go, depth, at_z.gather(-1, i)))
        at_z = at_z + mass * (_from(kernel, z, place) - _from(kernel, z, left))
        at_y = at_y + mass * (_from(kernel, y, place) - _from(kernel, y, left))
    return z


def _from(kernel: RadialKernel, points: Tensor, place: Tensor) -> Tensor:
    """``k(z_i, p)``, shape ``(..., n)``, for ``p (..., 1, d)``."""
    return kernel.value(torch.linalg.vector_norm(points - place, dim=-1))
