"""Dropout that keeps a map on sets equivariant, and that can be held fixed during a solve."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class _Hold:
    """A block in which masks are held: told to all dropouts that it covers, and to their copies.

    Attributes:
        open: Whether the block still runs. Not so for what is read from a file.
    """

    def __init__(self) -> None:
        self.open = True

    def __deepcopy__(self, memo: object) -> "_Hold":
        return self

    def __getstate__(self) -> dict[str, bool]:
        return {"open": False}


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
        self._hold: _Hold | None = None  # the last one, which may be over
        self._mask: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Scale each feature of a set by 0 or 1 / (1 - p).

        Args:
            x: (..., n, d); each index of the leading shape is a set.

        Returns:
            (..., n, d).

        Raises:
            RuntimeError: If a held mask was drawn for sets of another shape; or in a backward pass,
                where what is computed is computed again, if masks were held but are no longer.
        """
        if not self.training or self.p == 0:
            return x
        if not self._is_held():
            if self._hold is not None and _in_backward_pass():
                raise RuntimeError(
                    "expected a backward pass within held_dropout, since it computes this dropout "
                    "again (gradient checkpointing) and the masks that were held have been "
                    "dropped: other ones would give the gradient of another map; call backward() "
                    "before the block is left"
                )
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

    def _is_held(self) -> bool:
        return self._hold is not None and self._hold.open

    def _draw(self, x: Tensor) -> Tensor:
        return F.dropout(x.new_ones((*x.shape[:-2], 1, x.shape[-1])), self.p)

    def extra_repr(self) -> str:
        """Probability, as it was given."""
        return f"p={self.p}"


def holds_a_mask(module: nn.Module) -> bool:
    """Whether a dropout in a module keeps its mask, or is about to."""
    return any(
        isinstance(part, RowDropout) and part._is_held() and part.training and part.p > 0
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
    leaving, also by an exception, and with them those of copies that were made in the block, which
    until then have the same ones. Nothing changes in evaluation mode.

    With gradient checkpointing (``torch.utils.checkpoint``) call ``backward()`` within the block:
    it computes the module again, and would draw other masks after it. So a dropout that was once
    held raises if it has to draw a mask in a backward pass.

    Args:
        module: The module, itself a ``RowDropout`` or containing some.

    Yields:
        Nothing.
    """
    hold = _Hold()
    held = [
        part for part in module.modules() if isinstance(part, RowDropout) and not part._is_held()
    ]
    for dropout in held:
        dropout._hold, dropout._mask = hold, None
    try:
        yield
    finally:
        hold.open = False
        for dropout in held:
            dropout._mask = None


def _in_backward_pass() -> bool:
    return not torch.compiler.is_compiling() and torch._C._current_graph_task_id() != -1
