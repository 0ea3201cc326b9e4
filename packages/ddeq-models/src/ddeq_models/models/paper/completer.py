"""The paper's completer: visible points are particles that do not move."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from ddeq_models.models.classifier import low_discrepancy_normal
from ddeq_models.models.completer import Completed, added_weights, frame
from ddeq_models.models.equilibrium import EquilibriumModel
from ddeq_models.models.paper.cell import FLOW, PaperCell, PaperConfig
from ddeq_models.registry import register_model
from set_attention import clear_padding


@dataclass(frozen=True)
class PaperCompleterConfig(PaperConfig):
    """Everything that decides a `PaperCompleter`; what is not listed is in the base.

    Attributes:
        ratio: Points that are added for each visible one, rounded up to a whole number.
    """

    kind: ClassVar[str] = "ddeq-paper-completer"
    task: ClassVar[str] = "completion"

    cross_blocks: int = 3
    ratio: float = 0.275

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.dim % 2 or self.dim < 2 * self.point_dim:
            raise ValueError(
                f"points of dimension {self.point_dim} are embedded in the first half of an even "
                f"dim, {2 * self.point_dim} or more; got dim={self.dim}"
            )


class Coupling(nn.Module):
    r"""Points in a larger space by one affine coupling layer, an invertible map.

    Dinh, Sohl-Dickstein and Bengio 2017, section 3.2. A point is padded by zeros to the halves
    ``a = (x, 0, ..., 0)`` and ``b = 0``, and

        (a, b) ↦ (a, b e^{s(a)} + t(a)),      (a, c) ↦ (a, (c − t(a)) e^{−s(a)}),

    with perceptrons ``s`` and ``t``. All of ``b`` being padding, ``x ↦ (x, 0, ..., 0, t(x))``; the
    inverse reads ``x`` off ``a``; and ``s`` acts on nothing. It is here, as in the published code,
    and its gradient is 0.

    Args:
        point_dim: Dimension of the points.
        dim: Of the larger space; even, and twice `point_dim` or more.
    """

    def __init__(self, point_dim: int, dim: int) -> None:
        super().__init__()
        self.point_dim, self.width = point_dim, dim // 2
        self.scale, self.shift = (
            nn.Sequential(
                nn.Linear(self.width, self.width), nn.ReLU(), nn.Linear(self.width, self.width)
            )
            for _ in range(2)
        )

    def forward(self, points: Tensor) -> Tensor:
        """Points ``(..., point_dim)`` in the larger space, ``(..., dim)``."""
        first = nn.functional.pad(points, (0, self.width - self.point_dim))
        second = torch.zeros_like(first) * self.scale(first).exp() + self.shift(first)
        return torch.cat([first, second], -1)

    def inverse(self, particles: Tensor) -> Tensor:
        """The left inverse, ``(..., dim)`` to ``(..., point_dim)``, for any place of a particle."""
        return particles[..., : self.point_dim]


@register_model(
    PaperCompleterConfig,
    {"ddeq-paper-completer": (PaperCompleterConfig(**FLOW), "the completer of the DDEQ paper")},
)
class PaperCompleter(EquilibriumModel):
    """The paper's completer: all points of the cloud are particles, of which the visible ones stay.

    Visible points and the free particles, which start at normal draws with the mean and deviations
    of what is visible, are embedded by a `Coupling`; ``F`` keeps the visible ones, through which
    the free ones see them by self-attention beside the cross-attention to the input; the flow moves
    the free ones. In evaluation the draws are normal quantiles of a Sobol' sequence, so that a
    completion is a function of what is visible.

    The free particles hold ``ratio / (1 + ratio)`` of the mass: that of one in ``1 + ratio`` points
    each, if there are as many as the ratio asks for.

    Args:
        config: See `PaperCompleterConfig`.
    """

    config: PaperCompleterConfig

    def __init__(self, config: PaperCompleterConfig) -> None:
        super().__init__(config, PaperCell(config))
        self.embedding = Coupling(config.point_dim, config.dim)

    def forward(
        self, points: Tensor, weights: Tensor, count: int | None = None, *, trajectory: bool = False
    ) -> Completed:
        """The missing part of clouds; arguments and errors as of `ddeq_models.DDEQCompleter`.

        Returns:
            The free particles, as points; the solution is that of all particles.
        """
        self.check(points, weights)
        visible, free = weights > 0, added_weights(self.config.ratio, weights, count)
        points = clear_padding(points, weights)
        context = self.cell.encode(points, weights)
        centre, deviation = frame(points, weights)
        atoms = torch.cat([points, centre + deviation * self._noise(free)], -2)
        share = self.config.ratio / (1 + self.config.ratio)
        solution = self.solve(
            self.embedding(atoms),
            None,
            context,
            torch.cat([(1 - share) * weights, share * free], -1),
            held=torch.cat([visible, torch.zeros_like(free, dtype=torch.bool)], -1),
            trajectory=trajectory,
        )
        completed = self.embedding.inverse(solution.measure.points[..., points.shape[-2] :, :])
        return Completed(clear_padding(completed, free), free, solution)

    def _noise(self, free: Tensor) -> Tensor:
        """Standard normal points ``(B, m, point_dim)`` for free particles of weights ``(B, m)``."""
        dim = self.config.point_dim
        if self.training:
            return torch.randn(*free.shape, dim, dtype=free.dtype, device=free.device)
        return low_discrepancy_normal(free.shape[-1], dim).to(free)
