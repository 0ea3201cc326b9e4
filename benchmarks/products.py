"""The arithmetic of the products of matrices in a call."""

from collections.abc import Callable
from typing import Any

from torch.utils.flop_counter import FlopCounterMode


def gflop(function: Callable[[], object]) -> float:
    """Of the products of matrices that a call makes: two for each multiplication and addition."""
    counter = FlopCounterMode(display=False)
    counter.mod_tracker = _Everywhere()  # type: ignore[assignment]
    with counter:
        function()
    return counter.get_total_flops() / 1e9


class _Everywhere:
    """In the place of torch's tracker of modules: here all products are counted alike.

    The tracker hooks onto the inputs of each module, to know when the backward pass has left it.
    An input that is a leaf cannot be hooked in `torch.autograd.grad`, torch says: and the particles
    are one where a velocity goes through the map, or where the exact gradient is solved for.
    """

    parents = frozenset({"Global"})

    def __enter__(self) -> "_Everywhere":
        return self

    def __exit__(self, *_: Any) -> None:
        return None
