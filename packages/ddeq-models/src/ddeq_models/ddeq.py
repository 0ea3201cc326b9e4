"""The distributional deep equilibrium classifier."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.quasirandom import SobolEngine

from ddeq_models.cell import Cell, CellContext
from ddeq_models.encoder import PointEncoder
from ddeq_models.model import ModelConfig, Output
from ddeq_models.solver import AdjointName, IntegratorName, VelocityName, build_solver, solving
from set_attention import max_pool, mean_pool
from wgf_solver import Measure, Solution, equilibrium


@dataclass(frozen=True)
class DDEQConfig(ModelConfig):
    """Everything that decides a `DDEQ`: plain numbers and words, ready for JSON.

    Attributes:
        point_dim: dimension of the input points.
        classes: number of classes.
        particles: atoms of the equilibrium measure.
        dim: dimension of the space they live in.
        heads: attention heads.
        hidden: width of the feed-forward maps.
        bilinear_dim: width of the bilinear layer.
        encoder_blocks: self-attention blocks on the input.
        self_blocks: self-attention blocks on the particles.
        cross_blocks: cross-attention blocks from the particles to the input.
        dropout: row-invariant dropout in the blocks, one mask for a whole solve.
        norm: ``pre`` or ``post``: where the blocks normalise.
        octaves: of Fourier features of the input points; 0 gives the bare coordinates.
        interacting: whether the particles see their mean in the bilinear layer.
        marked: whether each particle carries a learned mark. Without marks the equilibrium of a
            contraction is a single point, whatever the number of particles.
        readout: how the equilibrium measure becomes one vector.
        encoder: ``attention``, the paper's: lifted points and self-attention among them; or
            ``moments``, see `PointEncoder`, to which alone the seven that follow belong.
        coordinates: how many columns of a point, from the first on, are coordinates and not
            features; 0: all.
        description: whether the cell knows place, scale, shape and count of the whole cloud.
        pooled: width of the features whose mean and maximum the cell knows.
        scales: of the local moments about each point, 0 for none.
        rows: largest number of points that are encoded, 0 for all.
        hiding: probability that the set's common frame is hidden from a cloud in training.
        summary_dropout: of the description, the summary and the readout, in training.
        damping: factor of the particles where they enter the cell.
        velocity: ``residual``, descent of the energy distance, ``frozen`` or ``through``, or
            ``transport`` along an optimal matching; see `wgf_solver`.
        integrator: ``anderson``, ``euler``, ``heavy-ball``, ``barzilai-borwein`` or ``lbfgs``.
        step: the integrator's step.
        step_decay: factor of the step from one to the next, of ``euler`` and ``heavy-ball``.
        memory: of ``anderson`` and ``lbfgs``.
        rtol: relative tolerance of the equilibrium.
        max_steps: budget of evaluations of the cell.
        adjoint: ``implicit`` (exact), ``phantom`` (one step) or ``unrolled`` (the last steps).
        adjoint_rtol: relative tolerance of the adjoint's linear solve.
        adjoint_steps: its budget of products; of ``unrolled``, the steps that are differentiated.
    """

    kind: ClassVar[str] = "ddeq"

    classes: int = 10
    particles: int = 10
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
    marked: bool = True
    readout: Literal["max", "mean", "max-mean", "flatten"] = "max"
    encoder: Literal["attention", "moments"] = "attention"
    coordinates: int = 0
    description: bool = True
    pooled: int = 192
    scales: int = 3
    rows: int = 0
    hiding: float = 0.3
    summary_dropout: float = 0.1
    damping: float = 1.0
    velocity: VelocityName = "residual"
    integrator: IntegratorName = "anderson"
    step: float = 1.0
    step_decay: float = 1.0
    memory: int = 5
    rtol: float = 1e-3
    max_steps: int = 50
    adjoint: AdjointName = "phantom"
    adjoint_rtol: float = 1e-3
    adjoint_steps: int = 60

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("point_dim", "classes", "particles", "dim", "heads", "hidden", "max_steps"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.dim % self.heads:
            raise ValueError(f"dim must be a multiple of heads, got {self.dim} and {self.heads}")
        if not self.rtol > 0:
            raise ValueError(f"rtol must be above 0, got {self.rtol}")


class DDEQ(nn.Module):
    r"""Classifies clouds by the equilibrium ``μ* = F(μ*; x)`` of a measure of marked particles.

    Geuter, Bonet, Korba and Alvarez-Melis, "DDEQs: Distributional Deep Equilibrium Models through
    Wasserstein Gradient Flows", AISTATS 2025. The cloud is encoded once into a context; the solver
    then evaluates the cell on ``n`` particles ``z_i`` with marks ``m_i`` until they are at rest; a
    readout that is invariant to their order gives the logits.

    The start ``z_i(0)`` is fixed (with marks, ``m_i`` itself; without, normal quantiles of a Sobol'
    sequence), so that a prediction is a function of the cloud. Whether the equilibrium depends on
    it is what `equilibrium` with another ``start`` shows.

    Args:
        config: see `DDEQConfig`.
    """

    def __init__(self, config: DDEQConfig) -> None:
        super().__init__()
        self.config = config
        self.solver = build_solver(config)
        self.solver_seconds = 0.0  # of all forward solves so far
        self.cell = Cell(
            config.point_dim,
            config.dim,
            config.heads,
            config.hidden,
            bilinear_dim=config.bilinear_dim,
            encoder_blocks=config.encoder_blocks,
            self_blocks=config.self_blocks,
            cross_blocks=config.cross_blocks,
            dropout=config.dropout,
            norm=config.norm,
            octaves=config.octaves,
            interacting=config.interacting,
            encoder=_encoder(config),
            damping=config.damping,
        )
        self.marks: Tensor | None
        self.start: Tensor
        if config.marked:
            self.marks = nn.Parameter(torch.randn(config.particles, config.dim))
        else:
            self.marks = None
            # Fixed by the configuration, so not part of the saved state.
            start = low_discrepancy_normal(config.particles, config.dim)
            self.register_buffer("start", start, persistent=False)
        width = config.dim * {"flatten": config.particles, "max-mean": 2}.get(config.readout, 1)
        self.dropout = nn.Dropout(config.summary_dropout if config.encoder == "moments" else 0.0)
        self.head = nn.Linear(width, config.classes)

    def fit(self, points: Tensor, weights: Tensor, labels: Tensor | None) -> None:
        """Take units and quantiles from clouds, before the training; see `PointEncoder.fit`.

        Args:
            points: ``(C, n, point_dim)``.
            weights: ``(C, n)``, 0 for padding.
            labels: ``(C,)`` int64, or None.
        """
        if self.cell.points is not None:
            self.cell.points.fit(points, weights, labels)

    def configure(self, config: DDEQConfig) -> None:
        """Change how the equilibrium is found; the architecture must remain."""
        self.config, self.solver = config, build_solver(config)

    def forward(self, points: Tensor, weights: Tensor, *, trajectory: bool = False) -> Output:
        """Logits and equilibria.

        Args:
            points: ``(B, n, point_dim)``; padded rows may hold anything.
            weights: ``(B, n)``, each row summing to 1, 0 for padding.
            trajectory: keep the particles' path in the solution.

        Raises:
            ValueError: the shapes are not those.
        """
        solution = self.equilibrium(self.encode(points, weights), trajectory=trajectory)
        return Output(self.read(solution.measure.points), solution)

    def encode(self, points: Tensor, weights: Tensor) -> CellContext:
        """The input branch, once per cloud."""
        if points.dim() != 3 or points.shape[-1] != self.config.point_dim:
            raise ValueError(
                f"points must have shape (batch, n, {self.config.point_dim}), got "
                f"{tuple(points.shape)}"
            )
        if weights.shape != points.shape[:-1]:
            raise ValueError(
                f"weights must have shape {tuple(points.shape[:-1])}, got {tuple(weights.shape)}"
            )
        return self.cell.encode(points, weights)

    def seen(self, points: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        """The points ``(B, m, point_dim)`` that particles attend to, and their weights."""
        encoder = self.cell.points
        return (points, weights) if encoder is None else encoder.seen(points, weights)

    def equilibrium(
        self,
        context: CellContext,
        *,
        start: Tensor | None = None,
        rtol: float | None = None,
        max_steps: int | None = None,
        trajectory: bool = False,
    ) -> Solution:
        """Solve ``μ* = F(μ*; x)``.

        Args:
            context: from `encode`.
            start: ``(particles, dim)`` or ``(B, particles, dim)``; None: the model's own.
            rtol: tolerance; None: the configuration's.
            max_steps: budget; None: the configuration's.
            trajectory: keep the path.
        """
        config, matrix = self.config, context.bilinear.matrix
        if start is None:
            start = self.start if self.marks is None else self.marks.detach()
        # The solver's states keep the weights' precision; autocast lowers that of the cell alone.
        start = start.to(self.head.weight.dtype)
        points = start.expand(len(matrix), config.particles, config.dim)

        def cell(mu: Measure) -> Measure:
            return mu.with_points(self.cell(mu.points, mu.marks, context))

        with solving(self):
            return equilibrium(
                cell,
                Measure(points, marks=self.marks),
                velocity=self.solver.velocity,
                integrator=self.solver.integrator,
                adjoint=self.solver.adjoint,
                rtol=config.rtol if rtol is None else rtol,
                max_steps=config.max_steps if max_steps is None else max_steps,
                on_failure="ignore",  # failures are counted in the metrics, cloud by cloud
                trajectory=trajectory,
            )

    def read(self, particles: Tensor) -> Tensor:
        """Logits ``(B, classes)`` of equilibria ``(B, particles, dim)``."""
        if self.config.readout == "max":
            pooled = max_pool(particles)
        elif self.config.readout == "mean":
            pooled = mean_pool(particles)
        elif self.config.readout == "max-mean":
            pooled = torch.cat([max_pool(particles), mean_pool(particles)], -1)
        else:
            pooled = particles.flatten(-2)
        logits: Tensor = self.head(self.dropout(pooled))
        return logits


def _encoder(config: DDEQConfig) -> PointEncoder | None:
    if config.encoder == "attention":
        return None
    return PointEncoder(
        config.point_dim,
        config.coordinates,
        config.dim,
        pooled=config.pooled,
        octaves=config.octaves,
        scales=config.scales,
        description=config.description,
        dropout=config.summary_dropout,
        hiding=config.hiding,
        rows=config.rows,
    )


def low_discrepancy_normal(count: int, dim: int) -> Tensor:
    """``count`` points in ``dim`` dimensions, normal quantiles of a scrambled Sobol' sequence."""
    engine = SobolEngine(dim, scramble=True, seed=0)  # type: ignore[no-untyped-call]
    uniform: Tensor = engine.draw(count)
    normal: Tensor = torch.special.ndtri(uniform.clamp(1e-6, 1 - 1e-6))
    return normal
