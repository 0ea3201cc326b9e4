"""Systematic resampling: which atoms stand for a measure when only so many may."""

from __future__ import annotations

import torch
from torch import Tensor

from wgf_solver.measure import Measure

# Parts are open on the left where they are searched, and ``u = 0`` would be the end of the part
# before: of padding, or of an atom that would be taken twice.
_AFTER = 1e-6


def systematic(
    mu: Measure, count: Tensor | int, most: int, offset: float, along: Tensor | None = None
) -> Tensor:
    """Indices ``(..., most)`` of atoms of ``μ``, each as often as a place falls into its part.

    The places are ``(i + u)/n`` for ``i = 0, 1, ...``, ``u`` the offset; the parts of ``[0, 1]``
    are as long as the weights, in their order or in that of ``along``.

    Args:
        mu: has at least one row.
        count: ``n``, or one for each measure ``(...)``, of which rows beyond hold the last atom.
        most: the largest ``n``.
        offset: ``u`` in ``[0, 1)``.
        along: ``(..., m)``, by which the atoms are sorted first; None: they are not.
    """
    # A half precision has not places for thousands of atoms, and its weights sum to 1 roughly.
    w, order = mu.weights.detach().to(precise(mu.weights)), None
    if along is not None:
        order = along.detach().argsort(-1)
        w = w.gather(-1, order)
    w = w / torch.where(mu.mask.any(-1, keepdim=True), w.sum(-1, keepdim=True), 1)
    steps = torch.arange(most, device=w.device, dtype=w.dtype)
    n = count[..., None].clamp(min=1) if isinstance(count, Tensor) else count
    places = ((steps + max(offset, _AFTER)) / n).expand(*mu.batch_shape, most)
    taken = torch.searchsorted(w.cumsum(-1), places.contiguous())
    taken = torch.minimum(taken, position_of_last(w))
    return taken if order is None else order.gather(-1, taken)


def rows_at(rows: Tensor, taken: Tensor) -> Tensor:
    """``rows (..., m, k)`` at the indices ``(..., n)``."""
    return rows.gather(-2, taken[..., None].expand(*taken.shape, rows.shape[-1]))


def precise(rows: Tensor) -> torch.dtype:
    """float64, where the device has it; else float32."""
    return torch.float32 if rows.device.type == "mps" else torch.float64


def position_of_last(w: Tensor) -> Tensor:
    """``(..., 1)``: the last place of ``w (..., m)`` with mass; 0 if there is none."""
    places = torch.arange(w.shape[-1], device=w.device)
    return torch.where(w > 0, places, 0).amax(-1, keepdim=True)
