"""The equilibrium of a cloud, and the classifier that reads a class from it."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal, TypeVar

import torch
from torch import Tensor, nn
from torch.quasirandom import SobolEngine

from ddeq_models.models.base import Output
from ddeq_models.models.cell import Cell, CellContext
from ddeq_models.models.direct import Direct
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
    """

    particles: int = 10
    marked: bool = True
    readout: Literal["max", "mean", "max-mean", "flatten"] = "max"


@dataclass(frozen=True)
class DDEQConfig(CloudEquilibriumConfig):
    """Everything that decides a `DDEQ`; what is not listed is in the bases.

    Attributes:
        classes: number of classes.
        direct: whether a logistic regression on the description of the cloud, fitted after the
            training, has a share in the answer; see `Direct`. None has without `description`.
    """

    kind: ClassVar[str] = "ddeq"

    classes: int = 10
    direct: bool = False


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
            direct=True,
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
        super().__init__(config, config.cell())
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

    def fit(self, points: Tensor, weights: Tensor, labels: Tensor | None) -> str:
        """Take units and quantiles from clouds, before the training; see `PointEncoder.fit`.

        Args:
            points: ``(C, n, point_dim)``.
            weights: ``(C, n)``, 0 for padding.
            labels: ``(C,)`` int64, or numbers ``(C, k)`` of unit variance, or None.

        Returns:
            What was decided by them, for who trains the model; empty if nothing was.
        """
        if self.cell.points is None:
            return ""
        self.cell.points.fit(points, weights, labels)
        tells = "where a cloud lies tells most of it, so that this is never hidden in training"
        return tells if self.cell.points.place_tells else ""

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
        self.direct: Direct | None = None
        if config.direct and config.description:
            self.direct = Direct(config.point_dim, config.placed, config.classes)

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
        return Output(self.read(solution.measure.points, points, weights), solution)

    def read(self, particles: Tensor, points: Tensor, weights: Tensor) -> Tensor:
        """Logits ``(B, classes)``.

        In training those of the equilibria alone; see `Direct`.

        Args:
            particles: equilibria, ``(B, particles, dim)``.
            points: the clouds, ``(B, n, point_dim)``.
            weights: ``(B, n)``.
        """
        logits: Tensor = self.head(self.dropout(self.pool(particles)))
        if self.direct is None or self.training:
            return logits
        return self.direct.join(logits, points, weights)


def low_discrepancy_normal(count: int, dim: int) -> Tensor:
    """``count`` points in ``dim`` dimensions, normal quantiles of a scrambled Sobol' sequence."""
    engine = SobolEngine(dim, scramble=True, seed=0)  # type: ignore[no-untyped-call]
    uniform: Tensor = engine.draw(count)
    normal: Tensor = torch.special.ndtri(uniform.clamp(1e-6, 1 - 1e-6))
    return normal
