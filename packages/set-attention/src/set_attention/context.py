"""What a module needs to know of the measure it looks at, computed once and queried many times."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor


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

    def _map(self, function: Callable[[Tensor], Tensor]) -> Self:
        bias = None if self.log_weights is None else function(self.log_weights)
        return type(self)(function(self.keys), function(self.values), function(self.points), bias)
