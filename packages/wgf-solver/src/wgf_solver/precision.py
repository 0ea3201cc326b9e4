"""The solver computes in the precision of the points, whatever `torch.autocast` is on around it.

A map may run in lower precision; sums over pairs, Gram matrices and Krylov spaces may not: in
bfloat16 a residual of 1e-4 is noise.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TypeVar

import torch

X = TypeVar("X")
Y = TypeVar("Y")


def full_precision(device: torch.device) -> AbstractContextManager[object]:
    """A context in which autocast is off for ``device``."""
    if not _autocast_is_on(device):
        return nullcontext()
    return torch.autocast(device.type, enabled=False)


def in_present_autocast(f: Callable[[X], Y], device: torch.device) -> Callable[[X], Y]:
    """``f``, to be run under the autocast that is on now, wherever it is called."""
    if not _autocast_is_on(device):
        return f
    dtype = torch.get_autocast_dtype(device.type)

    def mixed(x: X) -> Y:
        with torch.autocast(device.type, dtype=dtype):
            return f(x)

    return mixed


def _autocast_is_on(device: torch.device) -> bool:
    kind = device.type
    return torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)
