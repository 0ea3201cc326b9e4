"""What the particles of an equilibrium attend to."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import torch
from torch import Tensor

from ddeq_models.models.cell import CellContext
from ddeq_models.models.classifier import DDEQ
from ddeq_models.models.paper import PaperClassifier
from set_attention import Context, CrossBlock, SetAttention


@torch.no_grad()
def particle_attention(
    model: DDEQ | PaperClassifier, context: CellContext, particles: Tensor
) -> Tensor:
    r"""How much each particle looks at each input point, ``(B, n, m)``, each row summing to 1.

    The attention weights ``w_j e^{q_i·k_j/√h} / Σ_j w_j e^{q_i·k_j/√h}`` of the cross-attention
    blocks in one evaluation of the cell at ``particles``, averaged over heads and blocks. Without
    such blocks a particle knows the cloud by its means alone: the masses ``w_j``.

    Args:
        model: The model, in evaluation mode.
        context: From its `encode`.
        particles: ``(B, n, dim)``.
    """
    if not len(model.cell.cross_blocks):
        assert context.weights is not None
        masses: Tensor = context.weights.to(particles)[:, None, :]
        return masses.expand(-1, particles.shape[1], -1)
    seen: list[Tensor] = []

    def look(attention: SetAttention, arguments: tuple[Tensor, Context]) -> None:
        seen.append(attention.attention_weights(*arguments).mean(-3))  # over heads

    blocks = cast("Iterable[CrossBlock]", model.cell.cross_blocks)
    hooks = [block.attention.register_forward_pre_hook(look) for block in blocks]
    try:
        model.cell(particles, model.marks, context)
    finally:
        for hook in hooks:
            hook.remove()
    return torch.stack(seen).mean(0)
