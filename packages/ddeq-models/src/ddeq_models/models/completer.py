"""The distributional deep equilibrium model that completes clouds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

from ddeq_models.models.cell import Cell, CellContext, row_perceptron
from ddeq_models.models.classifier import low_discrepancy_normal
from ddeq_models.models.equilibrium import EquilibriumConfig, EquilibriumModel
from ddeq_models.registry import register_model
from wgf_solver import Solution

# A product like 0.275 · 40 must not be rounded up for being 11.000000001.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class CompleterConfig(EquilibriumConfig):
    """Everything that decides a `DDEQCompleter`; what is not listed is in the bases.

    Attributes:
        ratio: Points that are added for each visible one, rounded up to a whole number: 0.275 in
            the paper, whose completed clouds have 1.275 times as many points as are visible.
        noise_dim: Dimension of the noise that marks the particles.
        frame: ``visible``: a cloud is moved and stretched along each axis so that what is visible
            has mean 0 and variance 1, and what was completed is moved back; so files may come in
            any unit. ``given``: points are taken as they come. Where clouds were normalised before
            they were cut, as in the paper's protocol, mean and variance of what is visible tell
            where the rest must be: an easier problem, but not the one that a file poses.
    """

    kind: ClassVar[str] = "completer"
    task: ClassVar[str] = "completion"

    ratio: float = 0.275
    noise_dim: int = 2
    frame: Literal["visible", "given"] = "visible"
    dim: int = 64
    hidden: int = 128
    bilinear_dim: int = 32
    cross_blocks: int = 2
    octaves: int = 4
    interacting: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.dim < self.point_dim:
            raise ValueError(
                f"points of dimension {self.point_dim} cannot be embedded in a latent space of "
                f"dimension {self.dim}; take a larger dim"
            )


class Completed(NamedTuple):
    """What a completer adds to a batch of visible clouds.

    Attributes:
        points: ``(B, m, point_dim)``; 0 in padded rows.
        weights: ``(B, m)``, each row summing to 1, 0 for padding.
        solution: the equilibrium, in the latent space, and how it was found; None of a model that
            solves nothing.
    """

    points: Tensor
    weights: Tensor
    solution: Solution | None = None


# A cloud is known by its measure alone: how many points are left of it, the cut decides. In a
# training, what lies beyond 20 steps costs a batch more than it brings.
_OURS = CompleterConfig(
    encoder="moments",
    description=False,
    hiding=0.0,
    summary_dropout=0.0,
    damping=0.3,
    training_max_steps=20,
)
# Where the frame tells the place of what is missing, this encoder is the nearer one; where it does
# not, that of moments. Chosen on validation: see docs/results/completion.md.
_GIVEN = CompleterConfig(
    encoder="attention-moments", frame="given", damping=0.3, training_max_steps=20
)
_PRESETS = {
    "completer": (_OURS, "adds missing points, equilibrium of noise; any unit"),
    # The paper's protocol: clouds are z-scored whole, before they are cut.
    "completer-given": (_GIVEN, "the same task on clouds z-scored whole, as in the paper"),
}


@register_model(CompleterConfig, _PRESETS)
class DDEQCompleter(EquilibriumModel):
    r"""Completes clouds: the missing part is the equilibrium of particles marked by noise.

    Geuter et al. (2025), section 5.2. The measure in question is that of all points of the cloud;
    its visible points stay where they are, and the free particles ``z_i`` move by ``F``, which
    knows the visible ones by their encoding (of them nothing changes during the solve, so they are
    encoded once). Each free particle carries a mark ``ξ_i``: a point of a scrambled Sobol'
    sequence, as a normal quantile. So at the equilibrium ``μ* = T(·; x)_# ξ`` with one map ``T``
    for all particles of a cloud: a conditional generator, from which a cloud of any number of
    points can be drawn, and whose points differ because their marks do.

    Particles live in ``dim`` dimensions, where points are embedded by ``x ↦ x E``, ``E`` with
    orthonormal rows; ``z ↦ z Eᵀ`` leads back, exactly. The noise is fixed: a completion is a
    function of the visible cloud.

    Args:
        config: see `CompleterConfig`.
    """

    config: CompleterConfig
    cell: Cell
    embedding: Tensor

    def __init__(self, config: CompleterConfig) -> None:
        super().__init__(config, config.cell())
        self.mark = row_perceptron(config.noise_dim, config.dim, config.dim)
        # Fixed by the configuration, so not part of the saved state.
        generator = torch.Generator().manual_seed(0)
        square = torch.randn(config.dim, config.point_dim, generator=generator)
        self.register_buffer("embedding", torch.linalg.qr(square)[0].T, persistent=False)

    def fit(self, points: Tensor, weights: Tensor, labels: Tensor | None) -> None:
        """Take units from clouds, before the training; see `PointEncoder.fit`.

        Args:
            points: ``(C, n, point_dim)``, whole clouds.
            weights: ``(C, n)``, 0 for padding.
            labels: nothing is learned from them.
        """
        if self.cell.points is not None:
            centre, scale = self._frame(points, weights)
            self.cell.points.fit((points - centre) / scale, weights, None)

    def forward(
        self, points: Tensor, weights: Tensor, count: int | None = None, *, trajectory: bool = False
    ) -> Completed:
        """The missing part of clouds.

        Args:
            points: ``(B, n, point_dim)``, what is visible; padded rows may hold anything.
            weights: ``(B, n)``, each row summing to 1, 0 for padding.
            count: Points to add to each cloud; None: `CompleterConfig.ratio` for each that is
                visible.
            trajectory: keep the particles' path in the solution.

        Raises:
            ValueError: the shapes are not those, or ``count`` is not positive.
        """
        self.check(points, weights)
        free = self.free(weights, count)
        # A division by the scale would lead NaN in padding into the gradient.
        points = torch.where((weights > 0)[..., None], points, 0)
        centre, scale = self._frame(points, weights)
        context = self.cell.encode((points - centre) / scale, weights)
        noise = self.noise(free.shape[-1]).to(points)
        solution = self.equilibrium(context, noise, free, trajectory=trajectory)
        completed = centre + scale * self.decode(solution.measure.points)
        return Completed(torch.where((free > 0)[..., None], completed, 0), free, solution)

    def _frame(self, points: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Centre and scale of the coordinates that the cell knows."""
        if self.config.frame == "visible":
            return frame(points, weights)
        return points.new_zeros(1), points.new_ones(1)

    def free(self, weights: Tensor, count: int | None = None) -> Tensor:
        """Weights ``(B, m)`` of the free particles: uniform on as many as the cloud is to get."""
        return added_weights(self.config.ratio, weights, count)

    def noise(self, count: int) -> Tensor:
        """The first ``count`` normal quantiles of the Sobol' sequence, ``(count, noise_dim)``."""
        return low_discrepancy_normal(count, self.config.noise_dim)

    def encode(self, points: Tensor) -> Tensor:
        """Points ``(..., point_dim)`` in the latent space, ``(..., dim)``."""
        # A product of matrices would be of half precision in a mixed-precision training.
        return (points[..., :, None] * self.embedding.to(points)).sum(-2)

    def decode(self, particles: Tensor) -> Tensor:
        """The left inverse of `encode`."""
        return (particles[..., None, :] * self.embedding.to(particles)).sum(-1)

    def equilibrium(
        self,
        context: CellContext,
        noise: Tensor,
        weights: Tensor,
        *,
        start: Tensor | None = None,
        rtol: float | None = None,
        max_steps: int | None = None,
        trajectory: bool = False,
    ) -> Solution:
        """Solve ``μ* = F(μ*; x)`` for the free particles.

        Args:
            context: of the visible clouds.
            noise: ``(m, noise_dim)``.
            weights: ``(B, m)``.
            start: ``(m, dim)`` or ``(B, m, dim)``; None: the embedded noise, or 0 where the noise
                has fewer dimensions than the points.
            rtol: tolerance; None: the configuration's.
            max_steps: budget; None: the configuration's.
            trajectory: keep the path.
        """
        config, shape = self.config, (*weights.shape, self.config.dim)
        if start is None:
            known = noise[:, : config.point_dim]
            start = noise.new_zeros(shape[1:])
            if known.shape[-1] == config.point_dim:
                start = self.encode(known)

        return self.solve(
            start.expand(shape),
            self.mark(noise),
            context,
            weights,
            rtol=rtol,
            max_steps=max_steps,
            trajectory=trajectory,
        )


def added_weights(ratio: float, weights: Tensor, count: int | None = None) -> Tensor:
    """Uniform weights of the points that are added to clouds, 0 for padding.

    Args:
        ratio: Points that are added for each visible one, rounded up to a whole number.
        weights: ``(B, n)`` of what is visible.
        count: Points to add to each cloud, whatever is visible; None: in that ratio.

    Returns:
        ``(B, m)``, each row summing to 1.

    Raises:
        ValueError: ``count`` is not positive.
    """
    if count is not None:
        if count < 1:
            raise ValueError(f"count must be at least 1, got {count}")
        return weights.new_full((len(weights), count), 1 / count)
    most = weights.shape[-1]
    # A table made on the CPU in float64, which not every device has.
    exact = ratio * torch.arange(most + 1, dtype=torch.float64)
    table = (exact - _ROUNDING).ceil().clamp(min=1).long().to(weights.device)
    wanted = table[(weights > 0).sum(-1)][:, None]
    taken = torch.arange(added_points(ratio, most), device=weights.device) < wanted
    return taken.to(weights.dtype) / wanted.to(weights.dtype)


def added_points(ratio: float, visible: int) -> int:
    """How many points a completer of that ratio adds to so many visible ones."""
    return max(1, math.ceil(ratio * visible - _ROUNDING))


def frame(points: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of clouds along each axis, ``(B, 1, d)`` both.

    The deviation is 1 where there is none, along an axis on which all points agree.
    """
    clean = torch.where((weights > 0)[..., None], points, 0)
    mean = (weights[..., None] * clean).sum(-2, keepdim=True)
    centred = torch.where((weights > 0)[..., None], clean - mean, 0)
    variance = (weights[..., None] * centred.square()).sum(-2, keepdim=True)
    # What rounding leaves of an axis on which all points agree is no deviation either.
    flat = variance <= (16 * torch.finfo(points.dtype).eps * (mean.abs() + 1e-30)).square()
    return mean, torch.where(flat, 1, variance.clamp(min=1e-30).sqrt())
