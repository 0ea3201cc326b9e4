"""The one norm that residuals are measured in, and choices made measure by measure."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def weighted_rms(rows: Tensor, weights: Tensor, uniform: bool = False) -> Tensor:
    """``(Σ_i w_i ‖r_i‖² / d)^½`` per measure: one size for every number of points and dimensions.

    Args:
        rows: ``r (..., n, d)``, 0 in padded rows.
        weights: ``w (..., n)``.
        uniform: that all weights are ``1/n`` is known, see `Measure.full`; it saves operations.

    Returns:
        Shape ``(...)``.
    """
    if rows.numel() == 0:
        return weights.new_zeros(weights.shape[:-1])
    size = _plain_rms(rows, None if uniform else weights)
    if may_look(size) and _in_range(size.detach() if size.requires_grad else size):
        return size
    lost = (size == 0) | (size == torch.inf)  # the squares may have left the range of the type
    unit = rows.abs().amax((-2, -1))
    unit = torch.where((unit > 0) & unit.isfinite(), unit, 1)
    scaled = unit * _plain_rms(rows / unit[..., None, None], None if uniform else weights)
    return torch.where(lost, scaled, size)  # so that no measure depends on its neighbours


def _in_range(size: Tensor) -> bool:
    """Whether all are positive and finite."""
    if size.numel() == 1:
        return 0 < float(size) < math.inf
    least, largest = torch.aminmax(size)
    return float(least) > 0 and float(largest) < math.inf  # NaN is neither


def _plain_rms(rows: Tensor, weights: Tensor | None) -> Tensor:
    if weights is None:
        n, d = rows.shape[-2:]
        norm: Tensor = torch.linalg.vector_norm(rows, dim=(-2, -1))
        return norm / math.sqrt(n * d)
    row_sizes = torch.linalg.vector_norm(rows, dim=-1)
    mean_square: Tensor = row_sizes.square().mul(weights).sum(-1) / rows.shape[-1]
    return mean_square.sqrt()


def safe_sqrt(x: Tensor) -> Tensor:
    """``√x`` with gradient 0 at 0."""
    positive = x > 0
    return torch.where(positive, torch.where(positive, x, 1).sqrt(), 0)


def where_measure(chosen: Tensor, rows: Tensor, others: Tensor) -> Tensor:
    """``rows (..., n, d)`` of the measures that are ``chosen (...)``, ``others`` of the rest.

    It is `torch.where`, but on the CPU, where a look at the values costs next to nothing, it moves
    no memory if all measures or none are chosen.
    """
    count = known_count(chosen)
    if count == 0:
        return others
    if count == chosen.numel():
        return rows
    return torch.where(chosen[..., None, None], rows, others)


def clear_measures(rows: Tensor, chosen: Tensor) -> None:
    """Write 0 into ``rows (..., n, d)`` of the measures that are ``chosen (...)``, and only there.

    On the CPU nothing else is read or written either, as it is under a mask.
    """
    if may_look(chosen):
        index = chosen.flatten().nonzero().squeeze(-1)
        rows.view(-1, *rows.shape[-2:]).index_fill_(0, index, 0)
    else:
        rows.masked_fill_(chosen[..., None, None], 0)


def may_look(tensor: Tensor) -> bool:
    """Whether reading values stops nothing: on the CPU, and not on a device that works ahead."""
    return tensor.device.type == "cpu" and has_values(tensor)


def known_count(chosen: Tensor) -> int | None:
    """How many of the measures are chosen; None where a look would wait for a device."""
    if not may_look(chosen):
        return None
    # Of a single one without a reduction, which costs ten times as much as the look itself.
    return int(chosen if chosen.numel() == 1 else torch.count_nonzero(chosen))


def known_none(chosen: Tensor) -> bool:
    """Whether it is known, with no wait for a device, that none of the measures is chosen."""
    if not may_look(chosen):
        return False
    return not bool(chosen if chosen.numel() == 1 else chosen.any())


def known_all(chosen: Tensor) -> bool:
    """Whether it is known, with no wait for a device, that all of the measures are chosen."""
    return may_look(chosen) and bool(chosen if chosen.numel() == 1 else chosen.all())


def has_values(tensor: Tensor) -> bool:
    """Whether there is anything to read: not while torch compiles or exports."""
    return not torch.compiler.is_compiling()
