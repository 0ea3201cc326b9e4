"""Does a tensor want a gradient on account of anything but the points of the measure?"""

from __future__ import annotations

from typing import Any

from torch import Tensor


def depends_beyond(tensor: Tensor | None, points: Tensor) -> bool:
    """Whether ``tensor`` leads a gradient to anything else than the leaf ``points``.

    Where the points want no gradient that is `Tensor.requires_grad`. Where they do, the graph is
    searched for another leaf; the search ends at the first, and reads no values.
    """
    if tensor is None or not tensor.requires_grad:
        return False
    if not points.requires_grad:
        return True
    if tensor.grad_fn is None:
        return tensor is not points
    waiting: list[Any] = [tensor.grad_fn]
    seen = set()
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        leaf = getattr(node, "variable", None)  # of the node that accumulates into a leaf
        if leaf is not None and leaf is not points:
            return True
        waiting.extend(following for following, _ in node.next_functions)
    return False
