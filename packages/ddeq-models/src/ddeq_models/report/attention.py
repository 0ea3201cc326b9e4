"""What the particles of an equilibrium attend to."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import torch
from torch import Tensor

from ddeq_models.cell import CellContext
from ddeq_models.ddeq import DDEQ
from set_attention import Context, CrossBlock, SetAttention


@torch.no_grad()
def particle_attention(model: DDEQ, context: CellContext, particles: Tensor) -> Tensor:
    r"""How much each particle looks at each input point, ``(B, n, m)``, each row summing to 1.

    The attention weights ``w_j e^{q_i·k_j/√h} / Σ_j w_j e^{q_i·k_j/√h}`` of the cross-attention
    blocks in one evaluation of the cell at ``particles``, averaged over heads and blocks.

    Args:
        model: The model, in evaluation mode.
        context: From its `encode`.
        particles: ``(B, n, dim)``.
    """
    seen: list[Tensor] = []

    def look(attention: SetAttention, arguments: tuple[Tensor, Context]) -> None:
        seen.append(attention_weights(attention, *arguments))

    blocks = cast("Iterable[CrossBlock]", model.cell.cross_blocks)
    hooks = [block.attention.register_forward_pre_hook(look) for block in blocks]
    try:
        model.cell(particles, model.marks, context)
    finally:
        for hook in hooks:
            hook.remove()
    return torch.stack(seen).mean(0)


def attention_weights(attention: SetAttention, rows: Tensor, context: Context) -> Tensor:
    """The weights with which rows ``(B, n, dim)`` attend to a context: ``(B, n, m)``, heads' mean.

    Zero where the context is empty.
    """
    queries = attention.query(rows).unflatten(-1, (attention.heads, -1)).transpose(-2, -3)
    logits = queries @ context.keys.mT / queries.shape[-1] ** 0.5  # (B, heads, n, m)
    if context.log_weights is not None:
        logits = logits + context.log_weights[..., None, :]
    weights: Tensor = logits.softmax(-1).mean(-3)
    return weights
