"""Point Completion Network (Yuan, Khot, Held, Mertz and Hebert, 3DV 2018)."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from ddeq_models.errors import UserError
from ddeq_models.models.base import ModelConfig
from ddeq_models.models.baselines.layers import clear
from ddeq_models.models.completer import Completed, frame
from ddeq_models.registry import register_model
from set_attention import max_pool


@dataclass(frozen=True)
class PCNConfig(ModelConfig):
    """PCN; the widths are the paper's, the numbers of points those of small clouds.

    The paper's are ``coarse=1024, side=4``: 16,384 points of a whole ShapeNet solid.

    Attributes:
        coarse: Points of the coarse answer.
        side: Of the square grid that is folded around each of them: ``coarse · side²`` points.
        patch: Half the width of that grid, in the unit of the visible cloud's deviation.
        frame: As in `CompleterConfig`: what is ``visible`` decides it, or points are ``given``.
    """

    kind: ClassVar[str] = "pcn"
    task: ClassVar[str] = "completion"

    coarse: int = 8
    side: int = 2
    patch: float = 0.05
    frame: Literal["visible", "given"] = "visible"


@register_model(PCNConfig, {"pcn": (PCNConfig(), "Yuan et al. 2018")})
class PCN(nn.Module):
    r"""A code of the visible cloud, coarse points from it, and a patch folded around each of them.

        f_i = MLP_{128,256}(x_i),   v = max_i MLP_{512,1024}(f_i, max_j f_j)
        c = MLP_{1024,1024}(v),     y_ku = c_k + MLP_{512,512}(u, c_k, v)   for u of a grid

    Figure 2 of the paper. Departures: it answers with the missing points and not with the whole
    cloud, as every completer here; maxima are over points of positive weight; the cloud is brought
    into the `frame` of what is visible and back, unless the configuration says otherwise, as for
    the `DDEQCompleter`. The paper's loss also compares the coarse points with the truth; here the
    task's loss sees the dense ones, which follow them. PCN answers with a number of points that
    its configuration fixes.

    Args:
        config: See `PCNConfig`.
    """

    grid: Tensor

    def __init__(self, config: PCNConfig) -> None:
        super().__init__()
        self.config = config
        dim = config.point_dim
        self.first = _perceptron(dim, 128, 256)
        self.second = _perceptron(512, 512, 1024)
        self.coarse = _perceptron(1024, 1024, 1024, config.coarse * dim)
        self.fold = _perceptron(2 + dim + 1024, 512, 512, dim)
        ticks = torch.linspace(-1, 1, config.side) if config.side > 1 else torch.zeros(1)
        grid = config.patch * torch.cartesian_prod(ticks, ticks)
        self.register_buffer("grid", grid, persistent=False)  # (side², 2)

    def forward(self, points: Tensor, weights: Tensor, count: int | None = None) -> Completed:
        """The missing part of clouds.

        Args:
            points: ``(B, n, point_dim)``, what is visible; padded rows may hold anything.
            weights: ``(B, n)``, each row summing to 1, 0 for padding.
            count: None, or the number of points that there are.

        Raises:
            UserError: Another number is asked for.
        """
        config, total = self.config, self.config.coarse * self.config.side**2
        if count not in (None, total):
            raise UserError(
                f"this PCN answers with {total} points, its coarse · side², got count={count}; "
                "leave count out"
            )
        points = clear(points, weights)
        centre, scale = points.new_zeros(1), points.new_ones(1)
        if config.frame == "visible":
            centre, scale = frame(points, weights)
        code = self.encode(clear((points - centre) / scale, weights), weights)  # (B, 1024)
        coarse = self.coarse(code).unflatten(-1, (config.coarse, config.point_dim))
        wide = (len(points), config.coarse, len(self.grid), -1)
        features = torch.cat(
            [
                self.grid.to(coarse)[None, None].expand(wide),
                coarse[:, :, None].expand(wide),
                code[:, None, None].expand(wide),
            ],
            -1,
        )  # (B, coarse, side², 2 + point_dim + 1024)
        dense = (coarse[:, :, None] + self.fold(features)).flatten(1, 2)
        uniform = weights.new_full((len(points), total), 1 / total)
        return Completed(centre + scale * dense, uniform, None)

    def encode(self, points: Tensor, weights: Tensor) -> Tensor:
        """The code of clouds, ``(B, 1024)``."""
        x = self.first(points)
        overall = max_pool(x, weights)[:, None].expand(x.shape)
        code: Tensor = max_pool(self.second(torch.cat([x, overall], -1)), weights)
        return code


def _perceptron(*widths: int) -> nn.Sequential:
    """Linear maps with ReLU between them; PCN has no batch normalisation."""
    layers: list[nn.Module] = []
    for a, b in pairwise(widths):
        layers += [nn.Linear(a, b), nn.ReLU()]
    return nn.Sequential(*layers[:-1])
