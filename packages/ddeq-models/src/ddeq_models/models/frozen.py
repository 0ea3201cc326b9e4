"""Parts of a model that a training leaves as they are."""

from __future__ import annotations

from torch import nn

from ddeq_models.errors import UserError

__all__ = ["freeze"]

# What of a cell is the input branch: see `ddeq_models.models.cell`.
_INPUT = ("points", "fourier", "embed", "lift", "encoder", "encoder_norm")


def freeze(model: nn.Module, part: str) -> list[nn.Module]:
    """Ask for no gradient of a part of a model.

    Args:
        model: The model.
        part: ``none``; ``encoder``, the input branch of a model that solves an equilibrium: all
            that looks at the points; or ``body``, everything but the head.

    Returns:
        The frozen modules, which belong in evaluation mode while the others are trained: without
        dropout, and with the running means of batch norms as they are.

    Raises:
        UserError: The model has no such part.
    """
    if part == "none":
        return []
    cell, head = getattr(model, "cell", None), getattr(model, "head", None)
    if part == "encoder":
        frozen = [m for name in _INPUT if isinstance(m := getattr(cell, name, None), nn.Module)]
        parameters = [p for module in frozen for p in module.parameters()]
    else:
        frozen = [] if head is None else [m for m in model.children() if m is not head]
        kept = set() if head is None else {id(p) for p in head.parameters()}
        parameters = [p for p in model.parameters() if id(p) not in kept] if kept else []
    if not parameters:
        has = "no encoder of its own; take body" if part == "encoder" else "no head beside a body"
        raise UserError(f"freeze is {part}, but the model {type(model).__name__} has {has}")
    for parameter in parameters:
        parameter.requires_grad_(False)
    return frozen
