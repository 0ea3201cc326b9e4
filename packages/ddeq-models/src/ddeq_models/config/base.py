"""The bases of the configurations of models and of tasks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Self

from ddeq_data import CloudDataset
from ddeq_data.datasets import TargetKind
from ddeq_models.config.bounds import check_bounds, check_words
from ddeq_models.registry import MODELS, TASKS


@dataclass(frozen=True)
class ModelConfig:
    """Base of the models' configurations: plain numbers and words, ready for JSON.

    `kind` is the name of the model in `ddeq_models.registry.MODELS` and in a ``config.json``;
    `task` names the task it is made for; `solves` says whether it finds an equilibrium, with the
    settings of a `ddeq_models.models.solver.SolverConfig`.

    Attributes:
        point_dim: dimension of the input points.
    """

    kind: ClassVar[str]
    default_kind: ClassVar[str] = "ddeq"  # what a document without the key means
    task: ClassVar[str] = "classification"
    solves: ClassVar[bool] = False

    point_dim: int = 2

    def __post_init__(self) -> None:
        """Check all words and numbers; heirs with checks of their own call this first."""
        check_words(self)
        check_bounds(self)

    @classmethod
    def kinds(cls) -> Mapping[str, type[Any]]:
        """The configurations by their kind."""
        return {kind: config for kind, (config, _) in MODELS.items()}

    def for_data(self, point_dim: int, classes: int, coordinates: int | None = None) -> Self:
        """The configuration with what the data decide.

        Args:
            point_dim: columns of a point.
            classes: how many there are; of a regression, how many numbers.
            coordinates: how many of the columns are coordinates and not features; None: all.
        """
        features = coordinates is not None and coordinates < point_dim
        decided = {"point_dim": point_dim, "classes": classes, "outputs": classes}
        decided["coordinates"] = coordinates if features and coordinates else 0
        known = {field.name for field in fields(self)}
        return replace(self, **{name: n for name, n in decided.items() if name in known})

    def sized_like(self, other: ModelConfig) -> ModelConfig | None:
        """This model in the size of another, as a control of that is; None: it has its own sizes.

        Args:
            other: What a recipe trains on the data.
        """
        return None


@dataclass(frozen=True)
class TaskConfig:
    """Base of the tasks' configurations: plain numbers and words, ready for JSON.

    `kind` is the name of the task in `ddeq_models.registry.TASKS` and in a ``config.json``.
    """

    kind: ClassVar[str]
    default_kind: ClassVar[str] = "classification"  # what a document without the key means
    target_kind: ClassVar[TargetKind] = "class"  # what must be known of each cloud

    def __post_init__(self) -> None:
        """Check all words; heirs with checks of their own call this first."""
        check_words(self)

    @classmethod
    def kinds(cls) -> Mapping[str, type[Any]]:
        """The configurations by their kind."""
        return {kind: config for kind, (config, _) in TASKS.items()}

    def for_data(self, train_set: CloudDataset) -> Self:
        """The configuration with what the training clouds decide.

        Args:
            train_set: The clouds, not normalised.
        """
        return self


def default_task() -> TaskConfig:
    """The task of a document that names none."""
    task: TaskConfig = TASKS[TaskConfig.default_kind][0]()
    return task
