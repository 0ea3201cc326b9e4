"""The cell: the map ``F(·; x)`` whose fixed point is the model's hidden layer.

    input x     embed -> bilinear context            computed ONCE per forward pass, since nothing
                lift -> blocks -> keys and values     of it depends on the particles
    particles   add marks -> bilinear layer with x -> self-attention -> cross-attention to x -> map

Equivariant in the particles (jointly with their marks), invariant in the points of ``x``, and a
function of both as measures: every mean and every attention is weighted.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from set_attention import Bilinear, Context, CrossBlock, FeedForward, TransformerBlock
from set_attention.context import BilinearContext


@dataclass(frozen=True, eq=False)
class CellContext:
    """All that the cell needs to know of the input clouds.

    Attributes:
        bilinear: the contracted weights of the bilinear layer.
        attended: keys, values and log-weights for each cross-attention block.
    """

    bilinear: BilinearContext
    attended: tuple[Context, ...]


class Cell(nn.Module):
    r"""``F(z, m; x)``, the architecture of Geuter et al. (2025), section 4, on marked particles.

    With norms after each residual sum, so that the particles live on spheres of radius
    ``√dim`` and the iteration cannot run away. Departures from the published code: weights and
    padding are respected throughout, the bilinear layer takes the mean of ``x`` and not the sum
    over padded rows, and the input branch is separate (`encode`).

    Args:
        point_dim: dimension of the input points.
        dim: width of the particles.
        heads: attention heads.
        hidden: width of the feed-forward maps.
        bilinear_dim: width at which particles and input meet in the bilinear layer.
        encoder_blocks: self-attention blocks on the input.
        self_blocks: self-attention blocks on the particles.
        cross_blocks: blocks in which particles attend to the input.
        dropout: of features, the same for all particles of a set, in the blocks.
        norm: where the blocks normalise, before each branch or after each sum. The output of the
            cell is normalised either way.
        octaves: of Fourier features of the input points, 0 for none.
    """

    def __init__(
        self,
        point_dim: int,
        dim: int,
        heads: int,
        hidden: int,
        *,
        bilinear_dim: int = 16,
        encoder_blocks: int = 1,
        self_blocks: int = 1,
        cross_blocks: int = 1,
        dropout: float = 0.0,
        norm: Literal["pre", "post"] = "post",
        octaves: int = 0,
    ) -> None:
        super().__init__()
        self.fourier = Fourier(octaves)
        self.embed = _perceptron(self.fourier.width(point_dim), bilinear_dim, bilinear_dim)
        self.lift = _perceptron(bilinear_dim, dim, dim)
        self.encoder = nn.ModuleList(
            TransformerBlock(dim, heads, hidden, norm=norm, dropout=dropout)
            for _ in range(encoder_blocks)
        )
        # Pre-norm blocks leave their sum unnormalised, and a context must not depend on its scale.
        self.encoder_norm = nn.LayerNorm(dim) if norm == "pre" else nn.Identity()
        self.reduce = _perceptron(dim, bilinear_dim, bilinear_dim)
        self.bilinear = Bilinear(bilinear_dim, bilinear_dim)
        self.bilinear_norm = nn.LayerNorm(bilinear_dim)
        self.expand = _perceptron(bilinear_dim, dim, dim)
        self.particle_norm = nn.LayerNorm(dim)
        self.self_blocks = nn.ModuleList(
            TransformerBlock(dim, heads, hidden, norm=norm, dropout=dropout)
            for _ in range(self_blocks)
        )
        self.cross_blocks = nn.ModuleList(
            CrossBlock(dim, heads, hidden, norm=norm, dropout=dropout) for _ in range(cross_blocks)
        )
        self.output = FeedForward(dim, hidden)
        self.output_norm = nn.LayerNorm(dim)

    def encode(self, points: Tensor, weights: Tensor) -> CellContext:
        """The input branch.

        Args:
            points: ``(B, n, point_dim)``; padded rows may hold anything.
            weights: ``(B, n)``.
        """
        rows = (weights > 0)[..., None]
        low = self.embed(self.fourier(points.masked_fill(~rows, 0)))
        features = self.lift(low)
        for block in self.encoder:
            features = block(features, weights)
        features = self.encoder_norm(features)
        return CellContext(
            self.bilinear.context(low, weights),
            tuple(block.context(features, weights) for block in self._cross()),
        )

    def forward(self, z: Tensor, marks: Tensor | None, context: CellContext) -> Tensor:
        """One evaluation of ``F``.

        Args:
            z: particles ``(B, n, dim)``, all of the same weight.
            marks: ``(n, dim)`` or ``(B, n, dim)``, or None.
            context: from `encode`.

        Returns:
            ``(B, n, dim)``.
        """
        start = z if marks is None else z + marks
        h = self.reduce(start)
        h = self.bilinear_norm(h + self.bilinear(h, context.bilinear).relu())
        h = self.particle_norm(self.expand(h) + start)
        for block in self.self_blocks:
            h = block(h)
        for block, attended in zip(self._cross(), context.attended, strict=True):
            h = block(h, attended)
        out: Tensor = self.output_norm(h + self.output(h))
        return out

    def _cross(self) -> Sequence[CrossBlock]:
        return list(self.cross_blocks)  # type: ignore[arg-type]  # a ModuleList knows no types


class Fourier(nn.Module):
    r"""Points with their Fourier features: ``x, sin(2^k π x/4), cos(2^k π x/4)``, ``k < octaves``.

    A perceptron learns smooth functions of bare coordinates first and fine ones late; these
    features give it the fine ones at once (Tancik et al. 2020). For normalised points, whose
    coordinates are mostly within ±2; four octaves resolve a distance of a quarter.

    Args:
        octaves: number of frequencies; 0 is the identity.
    """

    def __init__(self, octaves: int) -> None:
        super().__init__()
        self.octaves = octaves

    def width(self, point_dim: int) -> int:
        """Number of features of a point."""
        return point_dim * (1 + 2 * self.octaves)

    def forward(self, points: Tensor) -> Tensor:
        """``(..., point_dim)`` to ``(..., width(point_dim))``."""
        if self.octaves == 0:
            return points
        scales = [0.25 * math.pi * 2**k for k in range(self.octaves)]
        angles = torch.cat([scale * points for scale in scales], -1)
        return torch.cat([points, angles.sin(), angles.cos()], -1)

    def extra_repr(self) -> str:
        """The number of octaves."""
        return f"octaves={self.octaves}"


def _perceptron(dim: int, hidden: int, out: int) -> nn.Sequential:
    """Two layers on each row, normalised."""
    return nn.Sequential(
        nn.Linear(dim, hidden), nn.ReLU(), nn.Linear(hidden, out), nn.LayerNorm(out)
    )
