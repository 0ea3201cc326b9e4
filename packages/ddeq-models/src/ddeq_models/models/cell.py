"""The cell: the map ``F(·; x)`` whose fixed point is the model's hidden layer.

    input x     embed -> bilinear context            computed ONCE per forward pass, since nothing
                lift -> blocks -> keys and values     of it depends on the particles
    particles   add marks -> bilinear layer with x -> self-attention -> cross-attention to x -> map

Equivariant in the particles (jointly with their marks), invariant in the points of ``x``, and a
function of both as measures: every mean and every attention is weighted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from ddeq_models.models.encoder import PointEncoder
from set_attention import (
    Bilinear,
    Context,
    CrossBlock,
    FeedForward,
    FourierFeatures,
    LocalMoments,
    TransformerBlock,
)
from set_attention.context import BilinearContext


@dataclass(frozen=True, eq=False)
class CellContext:
    """All that the cell needs to know of the input clouds.

    Attributes:
        bilinear: the contracted weights of the bilinear layer.
        attended: keys, values and log-weights for each cross-attention block.
        summary: ``(B, 1, dim)``: what is told to every particle, or None.
        rows: ``(B, m, dim)``: the features of the points, or tokens, that are attended to.
        weights: ``(B, m)`` of these.
        places: ``(B, m, d)``: where they are.
    """

    bilinear: BilinearContext
    attended: tuple[Context, ...]
    summary: Tensor | None = None
    rows: Tensor | None = None
    weights: Tensor | None = None
    places: Tensor | None = None

    def to(self, dtype: torch.dtype) -> CellContext:
        """The same in another floating-point dtype."""
        return CellContext(
            self.bilinear.to(dtype=dtype),
            tuple(context.to(dtype=dtype) for context in self.attended),
            *(
                None if tensor is None else tensor.to(dtype)
                for tensor in (self.summary, self.rows, self.weights, self.places)
            ),
        )


class Cell(nn.Module):
    r"""``F(z, m; x)``, the architecture of Geuter et al. (2025), section 4, on marked particles.

    With norms after each residual sum, so that the particles live on spheres of radius
    ``√dim`` and the iteration cannot run away. Departures from the published code: weights and
    padding are respected throughout, the bilinear layer takes the mean of ``x`` and not the sum
    over padded rows, the input branch is separate (`encode`), and the features that are attended to
    are lifted from the points, not from the 16 numbers that the bilinear layer gets.

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
        scales: of the local moments about each input point, among its first `coordinates`, that
            are lifted beside it; 0 for none, as published.
        coordinates: how many columns of a point, from the first on, are coordinates; 0: all.
        interacting: whether the particles see their mean in the bilinear layer. Without it and
            without self-attention each would move by itself.
        encoder: replaces the lifted features and the self-attention on the input; its summary of
            the cloud is added to every particle. See `PointEncoder`.
        damping: factor of the particles where they enter the cell, beside marks and summary. A
            smaller one makes the cell a stronger contraction.
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
        scales: int = 0,
        coordinates: int = 0,
        interacting: bool = False,
        encoder: PointEncoder | None = None,
        damping: float = 1.0,
    ) -> None:
        super().__init__()
        self.damping = damping
        self.points = encoder
        self.coordinates = coordinates or point_dim
        context_dim = bilinear_dim if encoder is None else dim
        if encoder is None:
            self._build_attention(
                point_dim,
                dim,
                heads,
                hidden,
                bilinear_dim,
                encoder_blocks,
                dropout,
                norm,
                octaves,
                scales,
            )
        self.reduce = row_perceptron(dim, bilinear_dim, bilinear_dim)
        self.bilinear = Bilinear(bilinear_dim, context_dim, interacting=interacting)
        self.bilinear_norm = nn.LayerNorm(bilinear_dim)
        self.expand = row_perceptron(bilinear_dim, dim, dim)
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

    def _build_attention(
        self,
        point_dim: int,
        dim: int,
        heads: int,
        hidden: int,
        bilinear_dim: int,
        blocks: int,
        dropout: float,
        norm: Literal["pre", "post"],
        octaves: int,
        scales: int,
    ) -> None:
        """The input branch of the paper: lifted points and self-attention among them."""
        self.fourier = FourierFeatures(point_dim, octaves)
        self.local = LocalMoments(self.coordinates, scales) if scales else None
        features = self.fourier.out_dim + (0 if self.local is None else self.local.out_dim)
        self.embed = row_perceptron(features, bilinear_dim, bilinear_dim)
        self.lift = row_perceptron(features, dim, dim)
        self.encoder = nn.ModuleList(
            TransformerBlock(dim, heads, hidden, norm=norm, dropout=dropout) for _ in range(blocks)
        )
        # Pre-norm blocks leave their sum unnormalised, and a context must not depend on its scale.
        self.encoder_norm = nn.LayerNorm(dim) if norm == "pre" else nn.Identity()

    def encode(self, points: Tensor, weights: Tensor) -> CellContext:
        """The input branch.

        Args:
            points: ``(B, n, point_dim)``; padded rows may hold anything.
            weights: ``(B, n)``.
        """
        if self.points is not None:
            rows, weights, places, summary = self.points(points, weights)
            return CellContext(
                self.bilinear.context(rows, weights),
                tuple(block.context(rows, weights) for block in self._cross()),
                summary.unsqueeze(-2),
                rows,
                weights,
                places,
            )
        features = self.fourier(points, weights)
        if self.local is not None:
            local = self.local(points[..., : self.coordinates], weights)
            features = torch.cat([features, local], -1)
        h = self.lift(features)
        for block in self.encoder:
            h = block(h, weights)
        h = self.encoder_norm(h)
        return CellContext(
            self.bilinear.context(self.embed(features), weights),
            tuple(block.context(h, weights) for block in self._cross()),
            None,
            h,
            weights,
            points,
        )

    def forward(
        self,
        z: Tensor,
        marks: Tensor | None,
        context: CellContext,
        weights: Tensor | None = None,
    ) -> Tensor:
        """One evaluation of ``F``.

        Args:
            z: particles ``(B, n, dim)``.
            marks: ``(n, dim)`` or ``(B, n, dim)``, or None.
            context: from `encode`.
            weights: ``(B, n)`` of the particles, 0 for padding; None if all weigh the same.

        Returns:
            ``(B, n, dim)``; of no meaning in padded rows.
        """
        start = self.damping * z if self.damping != 1 else z
        start = start if marks is None else start + marks
        start = start if context.summary is None else start + context.summary
        h = self.reduce(start)
        h = self.bilinear_norm(h + self.bilinear(h, context.bilinear, weights).relu())
        h = self.particle_norm(self.expand(h) + start)
        for block in self.self_blocks:
            h = block(h, weights)
        for block, attended in zip(self._cross(), context.attended, strict=True):
            h = block(h, attended, weights)
        out: Tensor = self.output_norm(h + self.output(h))
        return out

    def _cross(self) -> Sequence[CrossBlock]:
        return list(self.cross_blocks)  # type: ignore[arg-type]  # a ModuleList knows no types


def row_perceptron(dim: int, hidden: int, out: int) -> nn.Sequential:
    """Two layers on each row, normalised."""
    return nn.Sequential(
        nn.Linear(dim, hidden), nn.ReLU(), nn.Linear(hidden, out), nn.LayerNorm(out)
    )
