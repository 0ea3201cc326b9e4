"""NumPy arrays are accepted where tensors are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, cast, overload

import torch
from torch import Tensor


class Array(Protocol):
    """A NumPy array."""

    def __array__(self) -> Any: ...


@overload
def from_array(rows: Tensor | Array) -> Tensor: ...
@overload
def from_array(rows: None) -> None: ...
def from_array(rows: Tensor | Array | None) -> Tensor | None:
    """A tensor on the memory of an array; what is neither is returned as it is, to be refused."""
    if rows is None or isinstance(rows, Tensor):
        return rows
    if type(rows).__module__ == "numpy":
        array = cast(Any, rows)
        return torch.from_numpy(array if array.flags.writeable else array.copy())
    return cast(Tensor, rows)


def tensors_of(rows: Sequence[Tensor | Array] | None) -> list[Tensor] | None:
    """Tensors of a sequence of tensors or arrays.

    Raises:
        TypeError: one of them is neither.
    """
    if rows is None:
        return None
    tensors = [from_array(each) for each in rows]
    for each in tensors:
        if not isinstance(each, Tensor):
            raise TypeError(f"from_ragged takes tensors or NumPy arrays; got {type(each).__name__}")
    return tensors
