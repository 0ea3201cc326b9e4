"""The equilibrium of a cloud, and the classifier that reads a class from it."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal, TypeVar

import torch
from torch import Tensor, nn
from torch.quasirandom import SobolEngine

from ddeq_models.models.base import Output
from ddeq_models.models.cell import Cell, CellContext
from ddeq_models.models.encoder import PointEncoder
from ddeq_models.models.equilibrium import EquilibriumConfig, EquilibriumModel
from ddeq_models.registry import register_model
from set_attention import max_pool, mean_pool
from wgf_solver import Solution


@dataclass(frozen=True)
class CloudEquilibriumConfig(EquilibriumConfig):
    """Everything that decides a `CloudEquilibrium`; what is not listed is in the bases.

    Attributes:
        particles: atoms of the equilibrium measure.
        marked: whether each particle carries a learned mark. Without marks the equilibrium of a
            contraction is a single point, whatever the number of particles.
        readout: how the equilibrium measure becomes one vector.
        encoder: ``attention``, the paper's: lifted points and self-attention among them; or
            ``moments``, see `PointEncoder`, to which alone those that follow belong, up to
            `summary_dropout`.
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
        hiding: probability that the set's common frame is hidden from a cloud in training.
        summary_dropout: of the description, the summary and the readout, in training.
        damping: factor of the particles where they enter the cell.
    """

    particles: int = 10
    marked: bool = True
    readout: Literal["max", "mean", "max-mean", "flatten"] = "max"
    encoder: Literal["attention", "moments"] = "attention"
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
    damping: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.tokens and self.encoder != "moments":
            raise ValueError(f"tokens need the encoder moments, not {self.encoder}")
        if len(self.widths) != len(self.tokens) + bool(self.tokens):
            raise ValueError(
                f"widths must hold one more than tokens, the features' before each stage and after "
                f"the last, got {self.widths} for {self.tokens}"
            )


@dataclass(frozen=True)
class DDEQConfig(CloudEquilibriumConfig):
    """Everything that decides a `DDEQ`; what is not listed is in the bases.

    Attributes:
        classes: number of classes.
    """

    kind: ClassVar[str] = "ddeq"

    classes: int = 10


_PRESETS = {
    # Ours: marked particles, labelled residual, Anderson acceleration, solved to its tolerance.
    # The particles interact through their mean, so that F is a map of the measure and not of each
    # particle alone, and are told a summary of the whole cloud.
    "ddeq": (
        DDEQConfig(
            dim=64,
            heads=4,
            hidden=128,
            bilinear_dim=32,
            self_blocks=0,
            cross_blocks=1,
            interacting=True,
            encoder="moments",
            placed=True,
            rows=512,
            damping=0.5,
            readout="max-mean",
        ),
        "equilibrium of marked particles; ours",
    ),
}


C = TypeVar("C", bound=CloudEquilibriumConfig)


def as_ours(kind: type[C], **changes: Any) -> C:
    """The settings of the preset ``ddeq`` for a model that reads its equilibrium otherwise.

    Args:
        kind: The model's configuration.
        changes: What is other than in the preset.
    """
    ours = _PRESETS["ddeq"][0]
    names = [field.name for field in fields(CloudEquilibriumConfig)]
    return kind(**{name: getattr(ours, name) for name in names} | changes)


class CloudEquilibrium(EquilibriumModel):
    r"""The equilibrium ``μ* = F(μ*; x)`` of a measure of marked particles, for a cloud ``x``.

    Geuter, Bonet, Korba and Alvarez-Melis, "DDEQs: Distributional Deep Equilibrium Models through
    Wasserstein Gradient Flows", AISTATS 2025. The cloud is encoded once into a context; the solver
    then evaluates the cell on ``n`` particles ``z_i`` with marks ``m_i`` until they are at rest.
    What is read from them is the heirs' own: a class, numbers, labels of the points.

    The start ``z_i(0)`` is fixed (with marks, ``m_i`` itself; without, normal quantiles of a Sobol'
    sequence), so that a prediction is a function of the cloud. Whether the equilibrium depends on
    it is what `equilibrium` with another ``start`` shows.

    Args:
        config: see `CloudEquilibriumConfig`.
    """

    config: CloudEquilibriumConfig
    cell: Cell

    def __init__(self, config: CloudEquilibriumConfig) -> None:
        super().__init__(config, config.cell(_encoder(config), config.damping))
        self.marks: Tensor | None
        self.start: Tensor
        if config.marked:
            self.marks = nn.Parameter(torch.randn(config.particles, config.dim))
        else:
            self.marks = None
            # Fixed by the configuration, so not part of the saved state.
            start = low_discrepancy_normal(config.particles, config.dim)
            self.register_buffer("start", start, persistent=False)
        self.width = config.dim * {"flatten": config.particles, "max-mean": 2}.get(
            config.readout, 1
        )
        self.dropout = nn.Dropout(config.summary_dropout if config.encoder == "moments" else 0.0)

    def fit(self, points: Tensor, weights: Tensor, labels: Tensor | None) -> None:
        """Take units and quantiles from clouds, before the training; see `PointEncoder.fit`.

        Args:
            points: ``(C, n, point_dim)``.
            weights: ``(C, n)``, 0 for padding.
            labels: ``(C,)`` int64, or numbers ``(C, k)`` of unit variance, or None.
        """
        if self.cell.points is not None:
            self.cell.points.fit(points, weights, labels)

    def encode(self, points: Tensor, weights: Tensor) -> CellContext:
        """The input branch, once per cloud."""
        self.check(points, weights)
        return self.cell.encode(points, weights)

    def begin(self, context: CellContext, start: Tensor | None = None) -> Tensor:
        """Where the particles begin, ``(B, particles, dim)``.

        Args:
            context: from `encode`.
            start: ``(particles, dim)`` or ``(B, particles, dim)``; None: the model's own.
        """
        if start is None:
            start = self.start if self.marks is None else self.marks.detach()
        # The solver's states keep the weights' precision; autocast lowers that of the cell alone.
        start = start.to(self.cell.output_norm.weight.dtype)
        clouds = context.bilinear.matrix.shape[0]  # of a program for any number of them
        return start.expand(clouds, self.config.particles, self.config.dim)

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
        points = self.begin(context, start)
        return self.solve(
            points, self.marks, context, rtol=rtol, max_steps=max_steps, trajectory=trajectory
        )

    def pool(self, particles: Tensor) -> Tensor:
        """One vector of each equilibrium ``(B, particles, dim)``, as the configuration reads it."""
        if self.config.readout == "max":
            return max_pool(particles)
        if self.config.readout == "mean":
            return mean_pool(particles)
        if self.config.readout == "max-mean":
            return torch.cat([max_pool(particles), mean_pool(particles)], -1)
        return particles.flatten(-2)


@register_model(DDEQConfig, _PRESETS)
class DDEQ(CloudEquilibrium):
    """Classifies clouds by their equilibrium, pooled over the particles; see `CloudEquilibrium`.

    Args:
        config: see `DDEQConfig`.
    """

    config: DDEQConfig

    def __init__(self, config: DDEQConfig) -> None:
        super().__init__(config)
        self.head = nn.Linear(self.width, config.classes)

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

    def read(self, particles: Tensor) -> Tensor:
        """Logits ``(B, classes)`` of equilibria ``(B, particles, dim)``."""
        logits: Tensor = self.head(self.dropout(self.pool(particles)))
        return logits


def _encoder(config: CloudEquilibriumConfig) -> PointEncoder | None:
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
        placed=config.placed,
        dropout=config.summary_dropout,
        hiding=config.hiding,
        tokens=config.tokens,
        widths=config.widths,
        neighbours=config.neighbours,
        residual_maps=config.residual_maps,
        rows=config.rows,
    )


def low_discrepancy_normal(count: int, dim: int) -> Tensor:
    """``count`` points in ``dim`` dimensions, normal quantiles of a scrambled Sobol' sequence."""
    engine = SobolEngine(dim, scramble=True, seed=0)  # type: ignore[no-untyped-call]
    uniform: Tensor = engine.draw(count)
    normal: Tensor = torch.special.ndtri(uniform.clamp(1e-6, 1 - 1e-6))
    return normal
