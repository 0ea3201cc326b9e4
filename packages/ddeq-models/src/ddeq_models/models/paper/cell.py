"""The cell of the paper's models: layers, widths and initial values of the published code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ddeq_models.models.cell import CellContext, row_perceptron
from ddeq_models.models.solver import SolverConfig
from set_attention import Bilinear, Context, FeedForward, SetAttention, clear_padding

# Energy-kernel flow through F with a constant step of 5, 200 steps, one phantom step. Such a step
# cannot settle; what it reaches is reported.
FLOW: dict[str, Any] = {
    "velocity": "through",
    "integrator": "euler",
    "step": 5.0,
    "rtol": 1e-4,
    "max_steps": 200,
}


@dataclass(frozen=True)
class PaperConfig(SolverConfig):
    """What the paper's two models share.

    Attributes:
        dim: Dimension of the space the particles live in.
        heads: Attention heads.
        hidden: Width of the feed-forward maps.
        bilinear_dim: Width at which particles and input meet in the bilinear layer.
        cross_blocks: In which particles attend to the input: 1 on MNIST, 3 on ModelNet40 and in
            completion.
        dropout: Of the hidden features of the feed-forward maps; one mask for a whole solve.
    """

    dim: int = 128
    heads: int = 32
    hidden: int = 512
    bilinear_dim: int = 16
    cross_blocks: int = 1
    dropout: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.dim % self.heads:
            raise ValueError(f"dim must be a multiple of heads, got {self.dim} and {self.heads}")


class PaperCell(nn.Module):
    r"""``F(z; x)``, the architecture of section 4, on particles without marks.

    Args:
        config: Its sizes.
    """

    def __init__(self, config: PaperConfig) -> None:
        super().__init__()
        dim, narrow = config.dim, config.bilinear_dim
        self.embed = row_perceptron(config.point_dim, narrow, narrow)
        self.lift = row_perceptron(narrow, dim, dim)
        self.encoder = _Block(config)
        self.reduce = row_perceptron(dim, narrow, narrow)
        self.bilinear = Bilinear(narrow, narrow)
        nn.init.normal_(self.bilinear.weight)
        nn.init.normal_(self.bilinear.bias)
        self.bilinear_norm = nn.LayerNorm(narrow)
        self.sum_norm = nn.LayerNorm(narrow)
        self.expand = row_perceptron(narrow, dim, dim)
        self.particle_norm = nn.LayerNorm(dim)
        self.self_block = _Block(config)
        self.cross_blocks = nn.ModuleList(_Block(config) for _ in range(config.cross_blocks))
        self.output = _Map(config)

    def encode(self, points: Tensor, weights: Tensor) -> CellContext:
        """The input branch; see `ddeq_models.models.cell.Cell.encode`."""
        embedded = self.embed(clear_padding(points, weights))
        rows = self.encoder(self.lift(embedded), None, weights)
        attended = tuple(block.attention.context(rows, weights) for block in self._cross())
        known = self.bilinear.context(embedded, weights)
        return CellContext(known, attended, rows=rows, weights=weights)

    def forward(
        self, z: Tensor, marks: Tensor | None, context: CellContext, weights: Tensor | None = None
    ) -> Tensor:
        """One evaluation of ``F``; see `ddeq_models.models.cell.Cell`. Marks are not read."""
        h = self.reduce(z)
        met = self.bilinear_norm(self.bilinear(h, context.bilinear, weights)).relu()
        h = self.particle_norm(self.expand(self.sum_norm(h + met)) + z)
        h = self.self_block(h, None, weights)
        for block, attended in zip(self._cross(), context.attended, strict=True):
            h = block(h, attended, weights)
        out: Tensor = self.output(h)
        return out

    def _cross(self) -> list[_Block]:
        return list(self.cross_blocks)  # type: ignore[arg-type]  # a ModuleList knows no types


class _Map(nn.Module):
    """``N(h + M(h))`` on each row."""

    def __init__(self, config: PaperConfig) -> None:
        super().__init__()
        self.inner = FeedForward(config.dim, config.hidden, config.dropout, activation="relu")
        for layer in (self.inner.inner, self.inner.outer):
            layer.reset_parameters()  # PyTorch's own initial values
        self.norm = nn.LayerNorm(config.dim)

    def forward(self, h: Tensor) -> Tensor:
        out: Tensor = self.norm(h + self.inner(h))
        return out


class _Block(nn.Module):
    """``h = N(x + A(x) + b)``, then a `_Map`; ``A`` attends to a context, or to ``x`` itself."""

    def __init__(self, config: PaperConfig) -> None:
        super().__init__()
        self.attention = SetAttention(config.dim, config.heads)
        nn.init.xavier_uniform_(self.attention.query_key_value.weight)
        self.attention.output.reset_parameters()  # both as in PyTorch's `MultiheadAttention`
        self.offset = nn.Parameter(torch.zeros(config.dim))
        self.norm = nn.LayerNorm(config.dim)
        self.map = _Map(config)

    def forward(self, x: Tensor, context: Context | None, weights: Tensor | None) -> Tensor:
        out: Tensor = self.map(self.norm(x + self.attention(x, context, weights) + self.offset))
        return out
