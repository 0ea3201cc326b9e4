r"""What counts as at rest, in units that are fixed where a solve starts.

A velocity is small beside something. That something must be the problem's own, so it is read off at
the start ``μ_0`` and no later iterate changes it: an extrapolation may throw the atoms far out, and
a spread or a rounding that was measured there would call anything small. With ``v_0 = v(Z_0)``,

    reference   R = max(‖v_0‖, scale(μ_0))                     the size of a velocity
    tolerance   T = max(rtol · R, atol)
    length      L = extent of μ_0 and F(μ_0)                   the size of a displacement

Where there is no extent, or no map, ``L`` is at least a plain step ``τ ‖v_0‖``.

Floating point limits what can be told. A place ``z`` is known to within ``4 ε |z|`` and a velocity
to within the rounding ``ρ(μ)`` that its field names. Of the digits of ``R`` and ``L`` half must be
left (``√ε``), unless they are not there at the start either:

    resolved    4 ε |z| ≤ max(√ε L, rtol L, 4 ε · 2 |z_0|)
    converged   resolved, and   ‖v‖ ≤ T   or   ‖v‖ ≤ ρ ≤ max(T, √ε R, 2 R · 4 ε |z_0| / L)

So ``F(z) = z + 1``, which has no fixed point, is not at rest at 1e16, where floats have
``z + 1 = z``. The velocity of a functional is no such difference of places, and its flow is
resolved however far it leads.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from wgf_solver.evaluation import Evaluation, image_beside
from wgf_solver.measure import Measure, extent
from wgf_solver.norms import weighted_rms

# By so much of its size a velocity may differ from F(z) − z to count as that.
_SAME = 1e-3


@dataclass
class Yardstick:
    """The sizes above, for each measure ``(...)``.

    Attributes:
        reference: ``R``.
        tolerance: ``T``; finite.
        rounding: the largest ``ρ`` below which a velocity may count as 0; finite.
        reach: the largest ``‖Z‖`` (Frobenius) at which the problem is resolved; finite.
        length: ``L``; 0 where nothing is apart.
    """

    reference: Tensor
    tolerance: Tensor
    rounding: Tensor
    reach: Tensor
    length: Tensor

    def renewed(self, chosen: Tensor, other: Yardstick) -> Yardstick:
        """This one, but where ``chosen`` the larger of both: a measure that starts again."""
        pairs = ((getattr(self, f.name), getattr(other, f.name)) for f in fields(self))
        return Yardstick(*(torch.where(chosen, torch.fmax(a, b), a) for a, b in pairs))


def yardstick_at(
    evaluation: Evaluation,
    mu: Measure,
    size: Tensor,
    step: float,
    rtol: float,
    atol: float,
    of_functional: bool = False,
) -> Yardstick:
    """The yardstick of a solve that starts at ``mu``.

    Args:
        evaluation: the field there.
        mu: ``μ_0``.
        size: ``‖v_0‖ (...)``.
        step: ``τ`` of the integrator.
        rtol: relative to ``R``.
        atol: absolute, in the unit of the velocity.
        of_functional: whether the flow has no map.
    """
    eps = torch.finfo(size.dtype).eps
    reference = torch.fmax(size, evaluation.scale)
    largest = torch.finfo(size.dtype).max  # an infinite velocity is not small beside anything
    tolerance = torch.clamp(rtol * reference, atol, largest)
    length, ahead = extent(mu, image_beside(evaluation, mu)) / max(mu.dim, 1) ** 0.5, step * size
    if evaluation.image is None:  # the flow of a functional: there is no map that shows the way
        length = torch.fmax(length, ahead)
    length = torch.where(length > 0, length, ahead)
    atoms = (mu.mask.sum(-1) * max(mu.dim, 1)).to(size.dtype).sqrt()  # ‖Z‖ is so many times |z|
    there = frobenius(mu.points)
    # Of the field's word for its rounding so much is believed, however much it says.
    part = 4 * eps * there / torch.where((length > 0) & (atoms > 0), length * atoms, torch.inf)
    rounding = torch.fmax(tolerance, torch.clamp(2 * part, min=eps**0.5) * reference)
    rounding = rounding.clamp(max=largest)
    reach = max(eps**0.5, rtol) / (4 * eps) * length * atoms
    reach = torch.fmax(reach, 2 * there).clamp(max=largest)
    if of_functional:
        reach = torch.full_like(reach, largest)
    return Yardstick(reference, tolerance, rounding, reach, length)


def of_places(evaluation: Evaluation, mu: Measure) -> tuple[Evaluation, Tensor | None]:
    """What the driver finds by itself of a field whose unit step leads to ``F(μ)``, atom by atom.

    It looks whether ``z_i + v_i`` is ``F(μ)_i``: nobody has to say so, or can say so falsely.
    The scale of such a field is the spread ``(Σ_i w_i ‖y_i − ȳ‖² / d)^½`` of the image, and its
    rounding that of places, ``4 ε |z|``.

    Args:
        evaluation: the field at the start.
        mu: where it was evaluated.

    Returns:
        The evaluation with that scale, and the rounding as a part ``(...)`` of ``‖Z‖``, 0 for other
        measures; None where images have other atoms.
    """
    image = evaluation.image
    if image is None or image.points.shape != mu.points.shape:
        return evaluation, None
    y, w = image.points.detach(), mu.weights.detach()
    mask = None if mu.full else mu.mask[..., None]
    velocity = evaluation.velocity.detach()
    off = velocity - (y - mu.points.detach())
    # The weighted mean of equal weights is the mean, five times faster.
    centred = y - (y.mean(-2, keepdim=True) if mask is None else w[..., None, :] @ y)
    if mask is not None:
        off, centred = torch.where(mask, off, 0), torch.where(mask, centred, 0)
    # Not of one that is 0 at its root, which says nothing of what its steps would lead to.
    leads = weighted_rms(off, w, mu.full) < _SAME * weighted_rms(velocity, w, mu.full)
    spread = torch.where(leads, weighted_rms(centred, w, mu.full), 0)
    atoms = (mu.mask.sum(-1) * max(mu.dim, 1)).clamp(min=1).to(w.dtype).sqrt()
    rounding = torch.where(leads, 4 * torch.finfo(w.dtype).eps / atoms, 0)
    return evaluation._replace(scale=torch.fmax(evaluation.scale, spread)), rounding


def frobenius(points: Tensor) -> Tensor:
    """``‖Z‖ (...)``; infinite where squares overflow, NaN where there is one."""
    norm: Tensor = torch.linalg.vector_norm(points, dim=(-2, -1))
    return norm
