"""What a module needs to know of the measure it looks at, computed once and queried many times."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, Self, TypeVar, cast

import torch
from torch import Tensor

from set_attention.measures import check_features, check_tensor


class _Tensors:
    """What the three contexts share: each is a record of tensors, some of them None."""

    def to(
        self, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> Self:
        """Move the tensors to a device, or convert them to a floating-point dtype, or both."""
        return self._map(lambda tensor: tensor.to(device=device, dtype=dtype))

    def detach(self) -> Self:
        """Cut the tensors from the graph that made them."""
        return self._map(Tensor.detach)

    def contiguous(self) -> Self:
        """Copy the tensors, once, into the layout in which they are read fastest.

        The keys and values of a fresh context are views of one product. A query of few rows costs
        little more than reading them; from some ten queries on the copy pays (for the measured
        figures see the README).
        """
        return self._map(Tensor.contiguous)

    def __repr__(self) -> str:
        parts = self._parts()
        shapes = [f"{name}={None if t is None else tuple(t.shape)}" for name, t in parts.items()]
        dtype = next(t.dtype for t in parts.values() if t is not None)
        return f"{type(self).__name__}({', '.join(shapes)}, {dtype})"

    def _parts(self) -> dict[str, Tensor | None]:
        return {field.name: getattr(self, field.name) for field in fields(cast(Any, self))}

    def _map(self, function: Callable[[Tensor], Tensor]) -> Self:
        return type(self)(
            **{name: None if t is None else function(t) for name, t in self._parts().items()}
        )


@dataclass(frozen=True, eq=False, repr=False)
class Context(_Tensors):
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


@dataclass(frozen=True, eq=False, repr=False)
class BilinearContext(_Tensors):
    """The matrices into which ``Bilinear.context`` has contracted the mean of a measure.

    Attributes:
        matrix: A(mean), (..., dim, out_dim), applied to each row.
        mean_matrix: B(mean), (..., dim, out_dim), applied to the mean of the rows; None in the
            push-forward form.
    """

    matrix: Tensor
    mean_matrix: Tensor | None = None


@dataclass(frozen=True, eq=False, repr=False)
class VectorContext(_Tensors):
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
    check_features(x)
    if context is not None and not isinstance(context, _Tensors):
        check_tensor("a context, or the weights of x,", context)
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
