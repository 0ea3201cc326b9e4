"""Rows of a batch of clouds, with the padding or without it."""

from __future__ import annotations

from torch import Tensor


class Padded:
    """Rows where they are."""

    def __init__(self, weights: Tensor) -> None:
        self.mass = weights

    def rows(self, whole: Tensor) -> Tensor:
        """(B, n, k) of all rows."""
        return whole

    def whole(self, rows: Tensor) -> Tensor:
        """The inverse of `rows`."""
        return rows


class Packed:
    """Only the points and not the padding, all sets as one measure."""

    def __init__(self, weights: Tensor) -> None:
        self.inside = weights > 0
        self.place = self.inside.flatten().nonzero().squeeze(-1)
        self.mass = weights.flatten()[self.place] / self.inside.any(-1).sum().clamp(min=1)

    def rows(self, whole: Tensor) -> Tensor:
        """(B, n, k) to (N, k)."""
        return whole.flatten(0, 1)[self.place]

    def whole(self, rows: Tensor) -> Tensor:
        """(N, k) back at their places (B, n, k), 0 in padding."""
        whole = rows.new_zeros(self.inside.numel(), rows.shape[-1]).index_copy(0, self.place, rows)
        return whole.view(*self.inside.shape, rows.shape[-1])
