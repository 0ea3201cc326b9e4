"""What every model shares: a configuration of its own kind, and what a classifier answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, NamedTuple, Self

from torch import Tensor

from ddeq_models.limits import check_bounds
from wgf_solver import Solution


@dataclass(frozen=True)
class ModelConfig:
    """Base of the models' configurations: plain numbers and words, ready for JSON.

    `kind` is the name of the model in `ddeq_models.registry.MODELS` and in a ``config.json``;
    `task` names the task it is made for.

    Attributes:
        point_dim: dimension of the input points.
    """

    kind: ClassVar[str]
    default_kind: ClassVar[str] = "ddeq"  # what a document without the key means
    task: ClassVar[str] = "classification"

    point_dim: int = 2

    def __post_init__(self) -> None:
        """Check the bounds of all numbers; heirs with checks of their own call this first."""
        check_bounds(self)

    @classmethod
    def kinds(cls) -> Mapping[str, type[Any]]:
        """The configurations by their kind."""
        from ddeq_models.registry import MODELS  # which imports the models, and they this

        return {kind: config for kind, (config, _) in MODELS.items()}

    def for_data(self, point_dim: int, classes: int, coordinates: int | None = None) -> Self:
        """The configuration with what the data decide.

        Args:
            point_dim: columns of a point.
            classes: how many there are.
            coordinates: how many of the columns are coordinates and not features; None: all.
        """
        features = coordinates is not None and coordinates < point_dim
        decided = {"point_dim": point_dim, "classes": classes}
        decided["coordinates"] = coordinates if features and coordinates else 0
        known = {field.name for field in fields(self)}
        return replace(self, **{name: n for name, n in decided.items() if name in known})


class Output(NamedTuple):
    """What a classifier says of a batch of clouds.

    Attributes:
        logits: ``(B, classes)``.
        solution: the equilibrium and how it was found, see `wgf_solver.Solution`; None of a model
            that solves nothing.
        penalty: ``(B,)``: what the model adds to the loss of each cloud in training, or None.
    """

    logits: Tensor
    solution: Solution | None = None
    penalty: Tensor | None = None
