"""Everything that decides a run, and its way to JSON and back."""

import dataclasses
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ddeq_models._internal.text import shortened
from ddeq_models.config.base import ModelConfig, TaskConfig, default_task
from ddeq_models.config.data import DataConfig
from ddeq_models.config.decoding import decode
from ddeq_models.config.train import TrainConfig
from ddeq_models.errors import UserError
from ddeq_models.registry import DATA_SETS, MODELS, TASKS, plugin_of


@dataclass(frozen=True)
class RunConfig:
    """Everything that decides a run: what its ``config.json`` holds.

    Attributes:
        preset: Name of the preset that `model` was taken from.
        classes: Names of the classes of the data, for a classifier in the order of its logits; of a
            regression the names of its numbers, of a segmentation those of the labels.
        data: The clouds.
        model: The model and its solver, in full: later changes of a preset do not change a run.
        train: The training.
        version: Version of ddeq-models that wrote the run.
        task: What the model is trained for.
    """

    preset: str
    classes: tuple[str, ...]
    data: DataConfig
    model: ModelConfig
    train: TrainConfig = field(default_factory=TrainConfig)
    version: str = ""
    task: TaskConfig = field(default_factory=default_task)

    def __post_init__(self) -> None:
        if self.data.learn_from != "train" and (self.train.keep == "best" or self.train.patience):
            raise UserError(
                f"data.learn_from is {self.data.learn_from}: no clouds are left to choose an epoch "
                "by; leave keep and patience as they are"
            )

    def model_at(self, epoch: int) -> ModelConfig:
        """The model with the solver's settings of an epoch.

        Raises:
            UserError: The model has no such settings, or none of this value.
        """
        changes: dict[str, Any] = {}
        for phase in sorted(self.train.solver_phases, key=lambda phase: phase.epoch):
            if phase.epoch <= epoch:
                given = dataclasses.asdict(phase)
                del given["epoch"]
                changes |= {name: value for name, value in given.items() if value is not None}
        if "max_steps" in changes and hasattr(self.model, "training_max_steps"):
            changes["training_max_steps"] = 0  # else the larger budget of a phase would be void
        for name in changes:
            if not hasattr(self.model, name):
                raise UserError(
                    f"solver_phases change {name}, which the model {self.model.kind} does not "
                    "have; leave them out"
                )
        try:
            return dataclasses.replace(self.model, **changes)
        except ValueError as error:  # a model's config checks its own values
            raise UserError(f"solver_phases: {error}") from error

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionaries, lists, numbers and strings, ready for JSON."""
        values = dataclasses.asdict(self)
        for name in ("model", "task"):
            values[name] = {"kind": getattr(self, name).kind, **values[name]}
        used = (MODELS, self.model.kind), (TASKS, self.task.kind), (DATA_SETS, self.data.name)
        if plugins := {module for module in (plugin_of(*one) for one in used) if module}:
            values["plugins"] = sorted(plugins)
        return values

    @classmethod
    def from_dict(cls, values: object) -> "RunConfig":
        """The inverse of `to_dict`.

        Raises:
            UserError: A key is unknown or missing, a value is not of its field's type, or the
                module that registers its model, task or data set is not imported.
        """
        plugins: object = ()
        if isinstance(values, Mapping):
            values = dict(values)
            plugins = values.pop("plugins", ())
        if not isinstance(plugins, list | tuple) or not all(isinstance(p, str) for p in plugins):
            raise UserError(f"plugins must be a list of names of modules, got {plugins!r:.80}")
        try:
            return decode(cls, values)
        except UserError as error:
            absent = [shortened(name) for name in plugins if name not in sys.modules]
            if not absent:
                raise
            # It is not imported from here: the document may be somebody else's.
            raise UserError(
                f"{error}; the run needs {' and '.join(absent)}: import it before, or give "
                f"ddeq {' '.join(f'--import {name}' for name in absent)} ..."
            ) from error


def differences(one: RunConfig, other: RunConfig) -> list[str]:
    """What differs between two runs, ``train.epochs 3 and not 5`` say.

    Versions may, and so may the folder of the data, which can have been moved: what is in it is
    compared where it counts.
    """
    first, second = (
        flattened(
            dataclasses.replace(
                run, version="", data=dataclasses.replace(run.data, root=None)
            ).to_dict()
        )
        for run in (one, other)
    )
    return [
        f"{name} {first.get(name)!r} and not {second.get(name)!r}"
        for name in dict.fromkeys([*first, *second])
        if first.get(name) != second.get(name)
    ]


def flattened(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dictionaries as one, with dotted names."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        nested = isinstance(value, Mapping)
        flat |= flattened(value, f"{prefix}{name}.") if nested else {prefix + name: value}
    return flat
