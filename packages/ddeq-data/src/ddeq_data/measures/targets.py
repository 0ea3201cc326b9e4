"""What is to be found of a cloud beside its class: numbers, or a label of each point."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["check_targets"]


def check_targets(targets: Tensor, clouds: int, rows: Sequence[int]) -> None:
    """See that targets are numbers of the clouds or labels of the points.

    Args:
        targets: (C, k) floating, k numbers of each cloud; or int64 of the shape `rows`, a label
            for each point.
        clouds: C.
        rows: The shape of the weights.

    Raises:
        ValueError: They are neither.
    """
    numbers = targets.is_floating_point() and targets.ndim == 2 and len(targets) == clouds
    if numbers and targets.shape[1]:
        return
    if targets.dtype == torch.int64 and targets.shape == tuple(rows):
        return
    raise ValueError(
        f"targets must be floating of shape ({clouds}, k), numbers of each cloud, or torch.int64 "
        f"of shape {tuple(rows)}, a label for each point; got {targets.dtype} of shape "
        f"{tuple(targets.shape)}"
    )
