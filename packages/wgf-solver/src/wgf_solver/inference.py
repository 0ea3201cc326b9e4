"""Within `torch.inference_mode` the solver computes as elsewhere, on tensors of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from wgf_solver.measure import Measure


@contextmanager
def outside_inference_mode() -> Iterator[None]:
    """A context in which autograd works, also within `torch.inference_mode`."""
    if not torch.is_inference_mode_enabled():
        yield
        return
    with torch.inference_mode(False), torch.no_grad():
        yield


def ordinary(mu: Measure) -> Measure:
    """``mu`` on tensors that autograd can save: copies of those from `torch.inference_mode`."""

    def saved(rows: Tensor) -> Tensor:
        return rows.clone() if rows.is_inference() else rows

    marks = None if mu.marks is None else saved(mu.marks)
    return mu.replaced(saved(mu.points), saved(mu.weights), marks)
