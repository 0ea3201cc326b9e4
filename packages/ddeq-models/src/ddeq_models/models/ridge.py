"""Ridge regression that chooses its penalty and knows how it does on what it has not seen."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Ridge(NamedTuple):
    """A fitted map.

    Attributes:
        slope: ``(F, k)``.
        missed: ``(C, k)``: what is said of each row by all the others, less what is true.
    """

    slope: Tensor
    missed: Tensor


def ridge(x: Tensor, y: Tensor) -> Ridge:
    r"""Ridge regression whose penalty is the one that does best on rows that are left out.

    With ``x = U S Vᵀ`` and the penalty λ, ``ŷ = U diag(s² / (s² + λ)) Uᵀ y``. Without row i, the
    means included, the map would have missed ``y_i`` by ``(ŷ_i − y_i) / (1 − h_i)`` with the
    leverage ``h_i = 1/C + Σ_r U_ir² s_r² / (s_r² + λ)`` (Allen 1974, "The relationship between
    variable selection and data augmentation and a method for prediction"). Each column of y has the
    λ of the least sum of these squares, among powers of the root of ten from 1e-2 to 1e6.

    Args:
        x: ``(C, F)``, of means 0.
        y: ``(C, k)``, of means 0.
    """
    u, s, vt = torch.linalg.svd(x, full_matrices=False)
    seen = u.T @ y  # (r, k)
    best = Ridge(x.new_zeros(x.shape[1], y.shape[1]), torch.full_like(y, torch.inf))
    for penalty in 10.0 ** torch.arange(-2, 6.25, 0.5, dtype=x.dtype, device=x.device):
        shrink = s.square() / (s.square() + penalty)  # (r,)
        leverage = 1 / len(x) + u.square() @ shrink  # (C,)
        # A row that alone decides what is said of it tells nothing of the others.
        missed = (u @ (shrink[:, None] * seen) - y) / (1 - leverage).clamp(min=1e-9)[:, None]
        slope = vt.T @ (seen * (s / (s.square() + penalty))[:, None])
        better = missed.square().sum(0) < best.missed.square().sum(0)
        best = Ridge(
            torch.where(better, slope, best.slope), torch.where(better, missed, best.missed)
        )
    return best
