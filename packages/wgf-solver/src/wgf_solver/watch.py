"""What the graph of a tensor tells: on what it depends, and in what precision it was computed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
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
    for node in _nodes(tensor):
        leaf = getattr(node, "variable", None)  # of the node that accumulates into a leaf
        if leaf is not None and leaf is not points:
            return True
    return False


def holds_a_parameter(value: object, depth: int = 4) -> bool:
    """Whether a tensor that wants a gradient is among the attributes of ``value``, or of theirs."""
    if isinstance(value, Tensor):
        return value.requires_grad
    if isinstance(value, (list, tuple)):
        parts: Iterable[object] = value
    elif isinstance(value, dict):
        parts = value.values()
    else:
        parts = getattr(value, "__dict__", {}).values()
    return depth > 0 and any(holds_a_parameter(part, depth - 1) for part in list(parts))


def holds_all_it_uses(value: object) -> bool:
    """Whether what ``value`` computes with is among its attributes, or theirs, as in this package.

    A function or an object of somebody else may use a tensor that it closes over, or a global one.
    """
    if type(value).__module__.split(".")[0] != __name__.split(".")[0]:
        return not callable(value)  # a number or a tensor
    return all(map(holds_all_it_uses, getattr(value, "__dict__", {}).values()))


def is_transformed(tensor: Tensor) -> bool:
    """Whether the tensor is one within a transform of torch, such as vmap."""
    kinds = torch._C._functorch
    return kinds.is_functorch_wrapped_tensor(tensor) or kinds.is_legacy_batchedtensor(tensor)


def refuse_tangents(tensor: Tensor) -> None:
    """Raise if ``tensor`` carries a tangent of forward-mode differentiation, which a solve loses.

    Raises:
        NotImplementedError: it does.
    """
    dual: Any = torch.autograd.forward_ad.unpack_dual(tensor)  # type: ignore[no-untyped-call]
    if dual.tangent is not None:
        raise NotImplementedError(
            "an equilibrium has a derivative by the backward pass alone, and the map depends on "
            "what forward mode differentiates (jvp, jacfwd): use loss.backward() or "
            "torch.autograd.grad"
        )


def lowest_precision(tensor: Tensor) -> torch.dtype:
    """The floating-point type of fewest digits among those that ``tensor`` was computed in.

    An autocast region, wherever in the map it is, leaves its results in the graph. What a compiled
    or custom function does inside is not seen, nor is anything by a torch without that record;
    then it is the type of ``tensor``.
    """
    lowest = tensor.dtype
    for node in _nodes(tensor):
        for result in getattr(node, "_input_metadata", ()):  # what its forward returned
            dtype = result.dtype
            if dtype.is_floating_point and torch.finfo(dtype).eps > torch.finfo(lowest).eps:
                lowest = dtype
    return lowest


def _nodes(tensor: Tensor) -> Iterator[Any]:
    """The nodes of the graph behind ``tensor``, each once."""
    waiting: list[Any] = [tensor.grad_fn]
    seen = set()
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        yield node
        waiting.extend(following for following, _ in node.next_functions)
