"""Dropout that keeps a map on sets equivariant, and that can be held fixed during a solve."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class RowDropout(nn.Module):
    r"""Dropout of whole features: one mask per set, the same for all of its rows.

    .. math:: y_{ip} = x_{ip} \, m_p / (1 - p), \qquad m_p \sim \mathrm{Bernoulli}(1 - p)

    With a mask of its own for each row, as in ``torch.nn.Dropout``, equal points would come out
    unequal, and the result would depend on how a measure is written down as points. The identity
    in evaluation and for ``p = 0``. Rows do not mix: what stands in a padded row stays there.

    Within ``held_dropout`` the mask is drawn at the first call and kept.

    Args:
        p: Probability that a feature is dropped.
    """

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        if not 0 <= p <= 1:
            raise ValueError(f"expected a dropout probability between 0 and 1, but got p={p}")
        self.p = p
        self._holds = 0
        self._mask: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Scale each feature of a set by 0 or 1 / (1 - p).

        Args:
            x: (..., n, d); each index of the leading shape is a set.

        Returns:
            (..., n, d).

        Raises:
            RuntimeError: If a held mask was drawn for sets of another shape.
        """
        if not self.training or self.p == 0:
            return x
        if not self._holds:
            return x * self._draw(x)
        if self._mask is None:
            # A mask drawn in inference mode could not take part in a later backward pass.
            with torch.inference_mode(False):
                self._mask = self._draw(x)
        if self._mask.shape[:-2] != x.shape[:-2] or self._mask.shape[-1] != x.shape[-1]:
            raise RuntimeError(
                f"expected features of leading shape {tuple(self._mask.shape[:-2])} and width "
                f"{self._mask.shape[-1]}, for which this dropout mask is held, but got "
                f"{tuple(x.shape)}; keep the batch as it is within held_dropout, and give each "
                "input of another shape a module of its own"
            )
        return x * self._mask.to(x.dtype)

    def _draw(self, x: Tensor) -> Tensor:
        return F.dropout(x.new_ones((*x.shape[:-2], 1, x.shape[-1])), self.p)

    def extra_repr(self) -> str:
        """Probability, as it was given."""
        return f"p={self.p}"


def holds_a_mask(module: nn.Module) -> bool:
    """Whether a dropout in a module keeps its mask, or is about to."""
    return any(
        isinstance(part, RowDropout) and part._holds > 0 and part.training and part.p > 0
        for part in module.modules()
    )


@contextmanager
def held_dropout(module: nn.Module) -> Iterator[None]:
    """Hold the masks of all ``RowDropout`` in a module while a block of code runs.

    Each mask is drawn at its first use in the block and kept until the block is left, so that a
    solver which evaluates the module many times evaluates one and the same map::

        with held_dropout(cell):
            equilibrium = solve(cell, start)
            loss = criterion(cell(equilibrium))

    Blocks may be nested: the outermost one that covers a dropout decides. The masks are dropped on
    leaving, also by an exception. Nothing changes in evaluation mode.

    Args:
        module: The module, itself a ``RowDropout`` or containing some.

    Yields:
        Nothing.
    """
    held = [part for part in module.modules() if isinstance(part, RowDropout)]
    for dropout in held:
        dropout._holds += 1
    try:
        yield
    finally:
        for dropout in held:
            dropout._holds -= 1
            if not dropout._holds:
                dropout._mask = None
