"""What there is: the models and the tasks by the names that a ``config.json`` calls them.

To add one, see `ddeq_models.task`.
"""

from typing import Any

from torch import nn

from ddeq_models.baselines import (
    PCN,
    DeepSets,
    DeepSetsConfig,
    PCNConfig,
    PointNet,
    PointNetConfig,
    PointTransformer,
    PointTransformerConfig,
    SetTransformer,
    SetTransformerConfig,
)
from ddeq_models.classification import Classification, ClassificationConfig
from ddeq_models.completer import CompleterConfig, DDEQCompleter
from ddeq_models.completion import Completion, CompletionConfig
from ddeq_models.config import RunConfig
from ddeq_models.ddeq import DDEQ, DDEQConfig
from ddeq_models.errors import UserError
from ddeq_models.limits import check_size
from ddeq_models.model import ModelConfig
from ddeq_models.task import Task, TaskConfig

MODELS: dict[str, tuple[type[ModelConfig], type[Any]]] = {
    "ddeq": (DDEQConfig, DDEQ),
    "completer": (CompleterConfig, DDEQCompleter),
    "deep-sets": (DeepSetsConfig, DeepSets),
    "pcn": (PCNConfig, PCN),
    "point-transformer": (PointTransformerConfig, PointTransformer),
    "pointnet": (PointNetConfig, PointNet),
    "set-transformer": (SetTransformerConfig, SetTransformer),
}

TASKS: dict[str, tuple[type[TaskConfig], type[Task]]] = {
    "classification": (ClassificationConfig, Classification),
    "completion": (CompletionConfig, Completion),
}


def build_model(config: ModelConfig) -> nn.Module:
    """The model of a configuration, with weights from PyTorch's present random state.

    Raises:
        UserError: It would be too large; see `ddeq_models.limits`.
    """
    check_size(config)
    model: nn.Module = MODELS[config.kind][1](config)
    return model


def build_task(config: RunConfig) -> Task:
    """The task of a run.

    Raises:
        UserError: The model is made for another task.
    """
    if config.model.task != config.task.kind:
        raise UserError(
            f"the model {config.model.kind} is made for {config.model.task}, the task is "
            f"{config.task.kind}; choose a model or preset of the task"
        )
    return TASKS[config.task.kind][1](config)
