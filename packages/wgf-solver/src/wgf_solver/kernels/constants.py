"""Numbers that a value holds for good: a bandwidth, a step, a power."""

from __future__ import annotations

import torch
from torch import Tensor


def constant(value: object, owner: str, name: str) -> float:
    """``value`` as a float.

    Raises:
        TypeError: it is no number, or a tensor that wants a gradient, which it would not get.
    """
    if isinstance(value, Tensor) and value.requires_grad:
        raise TypeError(
            f"{owner} holds {name} as a plain number, through which no gradient flows; got a "
            f"tensor that wants one. Give {name}.item(), or write a discrepancy of your own by "
            "torch operations, which are differentiated"
        )
    if isinstance(value, (torch.nn.Module, str, bytes, bool)):
        raise TypeError(f"{owner} takes a number as its {name}; got {value!r}")
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f"{owner} takes a number as its {name}; got {value!r}") from error


def hold_constants(value: object, *names: str) -> None:
    """Make the named fields of a frozen dataclass floats; see `constant`."""
    for name in names:
        number = constant(getattr(value, name), type(value).__name__, name)
        object.__setattr__(value, name, number)
