"""What the models that solve share: the cell's sizes, and one solve of its fixed point."""

from __future__ import annotations

import time
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from ddeq_models.models.cell import Cell, CellContext
from ddeq_models.models.encoder import PointEncoder
from ddeq_models.models.solver import SolverConfig, build_solver
from set_attention import held_dropout, without_autocast
from wgf_solver import (
    MMD,
    Descent,
    Energy,
    Implicit,
    Measure,
    Solution,
    Unrolled,
    equilibrium,
)


def _clock() -> float:
    """Seconds; 0 within `torch.compile`, which cannot look at a watch."""
    return 0.0 if torch.compiler.is_compiling() else time.perf_counter()


@dataclass(frozen=True)
class EquilibriumConfig(SolverConfig):
    """The cell whose fixed point a model solves for; the defaults are the published classifier's.

    Attributes:
        dim: dimension of the space the particles live in.
        heads: attention heads.
        hidden: width of the feed-forward maps.
        bilinear_dim: width of the bilinear layer.
        encoder_blocks: self-attention blocks on the input, of the encoder ``attention``.
        self_blocks: self-attention blocks on the particles.
        cross_blocks: cross-attention blocks from the particles to the input.
        dropout: row-invariant dropout in the blocks, one mask for a whole solve.
        norm: ``pre`` or ``post``: where the blocks normalise.
        octaves: of Fourier features of the input points; 0 gives the bare coordinates.
        interacting: whether the particles see their mean in the bilinear layer.
        damping: factor of the particles where they enter the cell.
        encoder: ``attention``, the paper's: lifted points and self-attention among them;
            ``attention-moments``, the same of points that know the local moments about them, and
            only `coordinates` and `scales` of what follows belong to it; or ``moments``, see
            `PointEncoder`, to which all of it belongs.
        coordinates: how many columns of a point, from the first on, are coordinates and not
            features; 0: all.
        description: whether the cell knows place, scale, shape and count of the whole cloud.
        placed: whether it holds the quantiles of the coordinates as they are; see `describe`.
        pooled: width of the features whose mean and maximum the cell knows.
        scales: of the local moments about each point, 0 for none.
        tokens: how many tokens each stage of local pooling leaves, of which the particles attend to
            the last; none: to the points.
        widths: of the points' features before the first stage, and of the tokens after each.
        neighbours: in the group that a token is pooled from.
        residual_maps: how many there are on the members of such a group, and on the token.
        rows: largest number of points that are encoded, 0 for all.
        hiding: probability that the set's common frame is hidden from a cloud in training, unless
            the encoder is `placed` and place is what tells; see `place_tells`.
        summary_dropout: of the description, the summary and the readout, in training.
    """

    dim: int = 128
    heads: int = 4
    hidden: int = 512
    bilinear_dim: int = 16
    encoder_blocks: int = 1
    self_blocks: int = 1
    cross_blocks: int = 1
    dropout: float = 0.0
    norm: Literal["pre", "post"] = "post"
    octaves: int = 0
    interacting: bool = False
    damping: float = 1.0
    encoder: Literal["attention", "attention-moments", "moments"] = "attention"
    coordinates: int = 0
    description: bool = True
    placed: bool = False
    pooled: int = 192
    scales: int = 3
    tokens: tuple[int, ...] = ()
    widths: tuple[int, ...] = ()
    neighbours: int = 24
    residual_maps: tuple[int, int] = (0, 2)
    rows: int = 0
    hiding: float = 0.3
    summary_dropout: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.dim % self.heads:
            raise ValueError(f"dim must be a multiple of heads, got {self.dim} and {self.heads}")
        if self.tokens and self.encoder != "moments":
            raise ValueError(f"tokens need the encoder moments, not {self.encoder}")
        if len(self.widths) != len(self.tokens) + bool(self.tokens):
            raise ValueError(
                f"widths must hold one more than tokens, the features' before each stage and after "
                f"the last, got {self.widths} for {self.tokens}"
            )

    def cell(self) -> Cell:
        """The map, with weights from PyTorch's present random state; see `Cell`."""
        return Cell(
            self.point_dim,
            self.dim,
            self.heads,
            self.hidden,
            bilinear_dim=self.bilinear_dim,
            encoder_blocks=self.encoder_blocks,
            self_blocks=self.self_blocks,
            cross_blocks=self.cross_blocks,
            dropout=self.dropout,
            norm=self.norm,
            octaves=self.octaves,
            # The paper's has none, whatever `scales` was when it was saved.
            scales=self.scales if self.encoder == "attention-moments" else 0,
            coordinates=self.coordinates,
            interacting=self.interacting,
            encoder=self._moments() if self.encoder == "moments" else None,
            damping=self.damping,
        )

    def _moments(self) -> PointEncoder:
        return PointEncoder(
            self.point_dim,
            self.coordinates,
            self.dim,
            pooled=self.pooled,
            octaves=self.octaves,
            scales=self.scales,
            description=self.description,
            placed=self.placed,
            dropout=self.summary_dropout,
            hiding=self.hiding,
            tokens=self.tokens,
            widths=self.widths,
            neighbours=self.neighbours,
            residual_maps=self.residual_maps,
            rows=self.rows,
        )


class EquilibriumModel(nn.Module):
    """A model whose forward pass solves ``μ* = F(μ*; x)`` for the map ``F`` of its cell.

    Args:
        config: the model's configuration.
        cell: the map; called as a `Cell` is.

    Attributes:
        solver: what the equilibrium is found with.
        solver_seconds: of all forward solves so far.
    """

    config: Any  # of the heir's own kind
    cell: Any  # likewise

    def __init__(self, config: SolverConfig, cell: nn.Module) -> None:
        super().__init__()
        self.config = config
        self.solver = build_solver(config)
        self.solver_seconds = 0.0
        self.cell = cell

    def configure(self, config: SolverConfig) -> None:
        """Change how the equilibrium is found; the architecture must remain."""
        self.config, self.solver = config, build_solver(config)

    def check(self, points: Tensor, weights: Tensor) -> None:
        """See that clouds have the shapes ``(B, n, point_dim)`` and ``(B, n)``.

        Raises:
            ValueError: they have not.
        """
        if points.dim() != 3 or points.shape[-1] != self.config.point_dim:
            raise ValueError(
                f"points must have shape (batch, n, {self.config.point_dim}), got "
                f"{tuple(points.shape)}"
            )
        if weights.shape != points.shape[:-1]:
            raise ValueError(
                f"weights must have shape {tuple(points.shape[:-1])}, got {tuple(weights.shape)}"
            )

    def solve(
        self,
        start: Tensor,
        marks: Tensor | None,
        context: CellContext,
        weights: Tensor | None = None,
        *,
        held: Tensor | None = None,
        rtol: float | None = None,
        max_steps: int | None = None,
        trajectory: bool = False,
    ) -> Solution:
        """The equilibrium ``μ* = F(μ*; x)``, found under one mask of dropout.

        Args:
            start: ``(B, m, dim)``, where the particles begin.
            marks: ``(m, dim)``, or None.
            context: of the clouds ``x``.
            weights: ``(B, m)`` of the particles; None if all weigh the same.
            held: ``(B, m)`` bool: particles that do not move; they are their own images.
            rtol: tolerance; None: the configuration's.
            max_steps: budget; None: the configuration's, of a training or not.
            trajectory: keep the path.
        """
        config, solver = self.config, self.solver
        # Fused attention has no second derivative, which these gradients of `through` need.
        # First of which class it is: the compiler of PyTorch 2.4 compares no two classes.
        twice = isinstance(solver.velocity, Descent)
        twice = twice and solver.velocity == Descent(MMD(Energy()), "through")
        twice = twice and isinstance(solver.adjoint, Implicit | Unrolled)

        def cell(mu: Measure) -> Measure:
            known = None if weights is None else mu.weights
            image = self.cell(mu.points, mu.marks, context, known)
            return mu.with_points(image if still is None else torch.where(still, mu.points, image))

        still = None if held is None else held[..., None]
        # Mixed precision ends where the solve begins: an image that is rounded to eight bits comes
        # no nearer to its own image than that, so no tolerance below 1e-2 could be kept.
        context = context.to(start.dtype)
        begin = _clock()
        backend = sdpa_kernel(SDPBackend.MATH) if twice else nullcontext()
        with held_dropout(self.cell), backend, without_autocast(start):
            solution = equilibrium(
                cell,
                Measure(start, weights, marks),
                held=held,
                velocity=solver.velocity,
                integrator=solver.integrator,
                adjoint=solver.adjoint,
                rtol=config.rtol if rtol is None else rtol,
                max_steps=config.budget(self.training) if max_steps is None else max_steps,
                on_failure="ignore",  # failures are counted in the metrics, cloud by cloud
                trajectory=trajectory,
            )
        self.solver_seconds += _clock() - begin
        return solution
