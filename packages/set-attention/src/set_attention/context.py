"""What a module needs to know of the measure it looks at, computed once and queried many times."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, Self, TypeVar

import torch
from torch import Tensor

AnyContext = TypeVar("AnyContext", bound="Context | BilinearContext | VectorContext")


def check_context(context: object, expected: type[AnyContext]) -> None:
    """Raise unless something is a context of the type that a module takes."""
    if not isinstance(context, expected):
        got = f"a tensor of shape {tuple(context.shape)}" if isinstance(context, Tensor) else None
        raise TypeError(
            f"expected a {expected.__name__}, but got {got or type(context).__name__}; make it of "
            "the other measure by this module's context(...), once for any number of calls"
        )


def own_weights(
    x: Tensor, context: AnyContext | Tensor | None, weights: Tensor | None
) -> tuple[AnyContext | None, Tensor | None]:
    """Context and weights of a call f(x, context, weights) or f(x, weights)."""
    if not isinstance(context, Tensor):
        return context, weights
    if weights is not None or context.dim() >= x.dim():
        raise TypeError(
            f"expected a context or the weights {tuple(x.shape[:-1])} of x as second argument, but "
            f"got a tensor of shape {tuple(context.shape)}"
            f"{'' if weights is None else ' beside weights'}; to attend to another measure, make a "
            "context of it by this module's context(...)"
        )
    return None, context


def _shapes(context: Any) -> str:
    """What a context holds, by its shapes."""
    parts = [(field.name, getattr(context, field.name)) for field in fields(context)]
    inner = [f"{name}={None if part is None else tuple(part.shape)}" for name, part in parts]
    return f"{type(context).__name__}({', '.join(inner)}, {parts[0][1].dtype})"


@dataclass(frozen=True, eq=False)
class Context:
    """Keys, values and log-weights of a measure of m points, in the layout of attention heads.

    Made by ``SetAttention.context`` and queried by ``SetAttention.forward``. Padded rows hold
    finite numbers and have log-weights -inf. An empty set has log-weights 0 throughout, so that its
    softmax is defined, and values 0, so that attention to it is 0.

    Attributes:
        keys: (..., heads, m, dim / heads).
        values: (..., heads, m, dim / heads).
        log_weights: (..., 1, m), or None if all sets are full and their points of equal weight.
    """

    keys: Tensor
    values: Tensor
    log_weights: Tensor | None = None

    def to(
        self, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> Self:
        """Move the tensors to a device, or convert them to a floating-point dtype, or both."""
        return self._map(lambda tensor: tensor.to(device=device, dtype=dtype))

    def detach(self) -> Self:
        """Cut the tensors from the graph that made them."""
        return self._map(Tensor.detach)

    def __repr__(self) -> str:
        return _shapes(self)

    def _map(self, function: Callable[[Tensor], Tensor]) -> Self:
        bias = None if self.log_weights is None else function(self.log_weights)
        return type(self)(function(self.keys), function(self.values), bias)


@dataclass(frozen=True, eq=False)
class BilinearContext:
    """The matrices into which ``Bilinear.context`` has contracted the mean of a measure.

    Attributes:
        matrix: A(mean), (..., dim, out_dim), applied to each row.
        mean_matrix: B(mean), (..., dim, out_dim), applied to the mean of the rows; None in the
            push-forward form.
    """

    matrix: Tensor
    mean_matrix: Tensor | None = None

    def to(
        self, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> Self:
        """Move the tensors to a device, or convert them to a floating-point dtype, or both."""
        return self._map(lambda tensor: tensor.to(device=device, dtype=dtype))

    def detach(self) -> Self:
        """Cut the tensors from the graph that made them."""
        return self._map(Tensor.detach)

    def __repr__(self) -> str:
        return _shapes(self)

    def _map(self, function: Callable[[Tensor], Tensor]) -> Self:
        mean_matrix = None if self.mean_matrix is None else function(self.mean_matrix)
        return type(self)(function(self.matrix), mean_matrix)


@dataclass(frozen=True, eq=False)
class VectorContext:
    """Keys, values and places of a measure of m points, made by ``VectorAttention.context``.

    Attributes:
        keys: (..., m, dim).
        values: (..., m, dim).
        points: (..., m, point_dim), 0 for padding.
        log_weights: (..., m), -inf for padding; None if all sets are full and their points of equal
            weight.
    """

    keys: Tensor
    values: Tensor
    points: Tensor
    log_weights: Tensor | None = None

    def to(
        self, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> Self:
        """Move the tensors to a device, or convert them to a floating-point dtype, or both."""
        return self._map(lambda tensor: tensor.to(device=device, dtype=dtype))

    def detach(self) -> Self:
        """Cut the tensors from the graph that made them."""
        return self._map(Tensor.detach)

    def __repr__(self) -> str:
        return _shapes(self)

    def _map(self, function: Callable[[Tensor], Tensor]) -> Self:
        bias = None if self.log_weights is None else function(self.log_weights)
        return type(self)(function(self.keys), function(self.values), function(self.points), bias)
