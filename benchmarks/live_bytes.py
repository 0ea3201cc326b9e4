"""The bytes of the tensors that are alive at once, at most, while a function runs."""

import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter


class LiveBytes(TorchDispatchMode):
    """Counts each storage from the operator that makes it until nothing holds it.

    Exact and the same on each run; what an operator uses within itself is not seen.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = 0
        self.peak = 0
        self._known: dict[int, weakref.ref[torch.UntypedStorage]] = {}

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        given = {x.untyped_storage().data_ptr() for x in tree_iter(args) if isinstance(x, Tensor)}
        out = func(*args, **(kwargs or {}))
        for tensor in tree_iter(out):
            if isinstance(tensor, Tensor):
                self._count(tensor.untyped_storage(), given)
        return out

    def _count(self, storage: torch.UntypedStorage, given: set[int]) -> None:
        key, size = storage.data_ptr(), storage.nbytes()
        known = self._known.get(key)
        if key in given or not size or (known is not None and known() is not None):
            return  # A view of what was there before.

        def forget(_: object) -> None:
            self.now -= size

        self._known[key] = weakref.ref(storage, forget)
        self.now += size
        self.peak = max(self.peak, self.now)


def peak_bytes(function: Callable[[], object]) -> int:
    """Largest number of bytes that a call has alive at once, beyond what was there before."""
    with LiveBytes() as live:
        function()
    return live.peak


def growth_table(rows: dict[str, dict[str, int]], head: str, unit: str) -> str:
    """Peaks in MB, a row for each way, a column for each count, and the largest by the smallest."""
    counts = list(next(iter(rows.values())))
    lines = [
        f"| {head} | " + " | ".join(f"{count} {unit}" for count in counts) + " | growth |",
        "| --- |" + " --- |" * (len(counts) + 1),
    ]
    for name, row in rows.items():
        sizes = " | ".join(f"{row[count] / 1e6:.2f} MB" for count in counts)
        lines.append(f"| {name} | {sizes} | {max(row.values()) / min(row.values()) - 1:.2%} |")
    return "\n".join(lines)
