"""The Set Transformer (Lee, Lee, Kim, Kosiorek, Choi and Teh, ICML 2019)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from ddeq_models.models.base import ModelConfig, Output
from ddeq_models.models.baselines.layers import clear
from ddeq_models.registry import register_model
from set_attention import ISAB, PMA


@dataclass(frozen=True)
class SetTransformerConfig(ModelConfig):
    """The Set Transformer; the sizes are those of the paper's point-cloud classifier.

    Attributes:
        classes: Number of classes.
        dim: Width of the rows.
        heads: Attention heads.
        inducing: Inducing points of a block.
        layers: Number of induced blocks.
        dropout: Before and after the pooling.
    """

    kind: ClassVar[str] = "set-transformer"

    classes: int = 10
    dim: int = 256
    heads: int = 4
    inducing: int = 16
    layers: int = 2
    dropout: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.heads < 1 or self.dim % self.heads:
            raise ValueError(f"dim must be a multiple of heads, got {self.dim} and {self.heads}")


@register_model(
    SetTransformerConfig, {"set-transformer": (SetTransformerConfig(), "Lee et al. 2019")}
)
class SetTransformer(nn.Module):
    r"""Induced self-attention, pooling by attention, a linear map.

        logits = W PMA_1(ISAB_16(ISAB_16(x W_0)))

    The classifier of point clouds of the paper's supplement, on `set_attention`'s blocks, whose
    softmax is over the measure (weights enter as log-weights).

    Args:
        config: See `SetTransformerConfig`.
    """

    def __init__(self, config: SetTransformerConfig) -> None:
        super().__init__()
        self.config = config
        self.embed = nn.Linear(config.point_dim, config.dim)
        self.blocks = nn.ModuleList(
            ISAB(config.dim, config.heads, config.inducing) for _ in range(config.layers)
        )
        self.before = nn.Dropout(config.dropout)
        self.pool = PMA(config.dim, config.heads, 1)
        self.after = nn.Dropout(config.dropout)
        self.head = nn.Linear(config.dim, config.classes)

    def forward(self, points: Tensor, weights: Tensor) -> Output:
        """Classify clouds.

        Args:
            points: ``(B, n, point_dim)``; padded rows may hold anything.
            weights: ``(B, n)``, 0 for padding.
        """
        x = self.embed(clear(points, weights))
        for block in self.blocks:
            x = block(x, weights)
        pooled = self.pool(self.before(x), weights)[:, 0]
        return Output(self.head(self.after(pooled)))
