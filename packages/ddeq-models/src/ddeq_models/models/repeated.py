"""The control of the equilibrium: the same cell, applied a fixed number of times.

What a model owes to being at rest, and what to its cell, its encoder and its readout, is seen by
leaving only the equilibrium out: the same weights, applied k times and differentiated from end to
end, as a recurrent network with shared weights is.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import ClassVar

from torch import Tensor, nn

from ddeq_models.config import ModelConfig
from ddeq_models.config.bounds import require
from ddeq_models.models.base import Output
from ddeq_models.models.classifier import DDEQ, DDEQConfig
from ddeq_models.models.solver import SolverConfig
from ddeq_models.registry import PRESETS, register_model
from set_attention import held_dropout


@dataclass(frozen=True)
class RepeatedConfig(DDEQConfig):
    """Everything that decides a `Repeated`; what is not listed is in the bases.

    Attributes:
        applications: k, how often the cell is applied.
    """

    kind: ClassVar[str] = "ddeq-repeated"
    solves: ClassVar[bool] = False

    applications: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self, "applications", lambda k: 1 <= k <= 1000, "between 1 and 1,000")
        for one in fields(SolverConfig):
            if getattr(self, one.name) != one.default and one.name != "point_dim":
                raise ValueError(
                    f"{self.kind} solves nothing: leave {one.name} at {one.default!r}, or train "
                    f"the model {DDEQConfig.kind}"
                )

    def sized_like(self, other: ModelConfig) -> RepeatedConfig | None:
        """The control of ``other``, applied as often as this one."""
        return repeated(other, self.applications) if isinstance(other, DDEQConfig) else None


def repeated(config: DDEQConfig, applications: int) -> RepeatedConfig:
    """The control of a classifier: all its sizes, and k applications in the place of the solve."""
    of_solver = {one.name for one in fields(SolverConfig)} - {"point_dim"}
    sizes = {name: value for name, value in asdict(config).items() if name not in of_solver}
    return RepeatedConfig(**sizes, applications=applications)


_TEXT = "the control of ddeq: its cell four times, and no equilibrium"


@register_model(RepeatedConfig, {"ddeq-repeated": (repeated(PRESETS["ddeq"], 4), _TEXT)})
class Repeated(nn.Module):
    r"""Classifies by ``F(...F(μ_0; x)...; x)``, the cell of a `DDEQ` k times from its start.

    It has the parameters of that `DDEQ`, its start, encoder and readout; where the cell is a
    contraction of factor q, its particles are within ``q^k`` of the equilibrium.

    Args:
        config: see `RepeatedConfig`.
    """

    def __init__(self, config: RepeatedConfig) -> None:
        super().__init__()
        self.config = config
        self.of = DDEQ(config)

    def fit(self, points: Tensor, weights: Tensor, labels: Tensor | None) -> str:
        """See `DDEQ.fit`."""
        return self.of.fit(points, weights, labels)

    def forward(self, points: Tensor, weights: Tensor) -> Output:
        """Logits.

        Args:
            points: ``(B, n, point_dim)``; padded rows may hold anything.
            weights: ``(B, n)``, each row summing to 1, 0 for padding.
        """
        context = self.of.encode(points, weights)
        z = self.of.begin(context)
        with held_dropout(self.of.cell):  # one mask for all applications, as in a solve
            for _ in range(self.config.applications):
                z = self.of.cell(z, self.of.marks, context)
        return Output(self.of.read(z, points, weights))
