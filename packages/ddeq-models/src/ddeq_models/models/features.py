"""What a model reads its answer from: that which its head is given.

Of a model that solves, these are the features of the equilibrium, pooled over the particles.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from ddeq_models.errors import UserError

__all__ = ["answer_and_features", "check_features", "has_features"]


def has_features(model: nn.Module) -> bool:
    """Whether a model has a ``head``, a module that makes its answer of one vector a cloud."""
    return isinstance(getattr(model, "head", None), nn.Module)


def check_features(model: nn.Module, kind: str) -> None:
    """See that a model has features.

    Args:
        model: The model.
        kind: What it is called.

    Raises:
        UserError: It has none.
    """
    if not has_features(model):
        raise UserError(
            f"the model {kind} has no features of a whole cloud: there is no module `head` that "
            "they are given to; take a model that classifies"
        )


def answer_and_features(model: nn.Module, points: Tensor, weights: Tensor) -> tuple[Any, Tensor]:
    """What a model answers, and the features ``(B, F)`` that its head made the answer of.

    Args:
        model: One of which `has_features` is true.
        points: ``(B, n, d)``.
        weights: ``(B, n)``.
    """
    given: list[Tensor] = []
    head: Any = model.head
    hook = head.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0]))
    try:
        answer = model(points, weights)
    finally:
        hook.remove()
    return answer, given[-1].flatten(1)
