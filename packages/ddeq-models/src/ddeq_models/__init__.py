"""Distributional deep equilibrium models on point clouds, and the ddeq command.

The names below are imported when they are first asked for: ``ddeq --help`` need not wait for
PyTorch.
"""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ddeq_models.config import (
        DataConfig,
        ModelConfig,
        RunConfig,
        SolverPhase,
        TaskConfig,
        TrainConfig,
    )
    from ddeq_models.data import DataSet, register_data
    from ddeq_models.errors import Diverged, Interrupted, UserError
    from ddeq_models.estimator import DDEQClassifier, DDEQRegressor, DDEQTransformer
    from ddeq_models.measuring.calibrate import calibrate
    from ddeq_models.measuring.diagnose import diagnose
    from ddeq_models.measuring.evaluate import evaluate
    from ddeq_models.models.base import Numbers, Output
    from ddeq_models.models.classifier import DDEQ, DDEQConfig
    from ddeq_models.models.completer import Completed, CompleterConfig, DDEQCompleter
    from ddeq_models.models.regressor import DDEQRegressorConfig, DDEQRegressorModel
    from ddeq_models.models.segmenter import DDEQSegmenter, DDEQSegmenterConfig
    from ddeq_models.recipes import RECIPES, Recipe
    from ddeq_models.registry import PRESETS, register_model, register_task
    from ddeq_models.runs.folder import RunFolder
    from ddeq_models.runs.pretrained import from_pretrained, save_pretrained, shipped_names
    from ddeq_models.tasks.base import Task
    from ddeq_models.tasks.classification import Classification, ClassificationConfig
    from ddeq_models.tasks.completion import Completion, CompletionConfig
    from ddeq_models.tasks.regression import Regression, RegressionConfig
    from ddeq_models.tasks.segmentation import Segmentation, SegmentationConfig
    from ddeq_models.tasks.tally import Tally
    from ddeq_models.training import resume_run, train
    from ddeq_models.using.answers import Estimate, PointLabels
    from ddeq_models.using.complete import CompletedFile, complete
    from ddeq_models.using.embed import Embedding, embed
    from ddeq_models.using.export import Exported, export
    from ddeq_models.using.predict import Prediction, predict

_HOMES = {
    "config": (
        "DataConfig", "ModelConfig", "RunConfig", "SolverPhase", "TaskConfig", "TrainConfig",
    ),
    "data": ("DataSet", "register_data"),
    "errors": ("Diverged", "Interrupted", "UserError"),
    "estimator": ("DDEQClassifier", "DDEQRegressor", "DDEQTransformer"),
    "measuring.calibrate": ("calibrate",),
    "measuring.diagnose": ("diagnose",),
    "measuring.evaluate": ("evaluate",),
    "models.base": ("Numbers", "Output"),
    "models.classifier": ("DDEQ", "DDEQConfig"),
    "models.completer": ("Completed", "CompleterConfig", "DDEQCompleter"),
    "models.regressor": ("DDEQRegressorConfig", "DDEQRegressorModel"),
    "models.segmenter": ("DDEQSegmenter", "DDEQSegmenterConfig"),
    "recipes": ("RECIPES", "Recipe"),
    "registry": ("PRESETS", "register_model", "register_task"),
    "runs.folder": ("RunFolder",),
    "runs.pretrained": ("from_pretrained", "save_pretrained", "shipped_names"),
    "tasks.base": ("Task",),
    "tasks.classification": ("Classification", "ClassificationConfig"),
    "tasks.completion": ("Completion", "CompletionConfig"),
    "tasks.regression": ("Regression", "RegressionConfig"),
    "tasks.segmentation": ("Segmentation", "SegmentationConfig"),
    "tasks.tally": ("Tally",),
    "training": ("resume_run", "train"),
    "using.answers": ("Estimate", "PointLabels"),
    "using.complete": ("CompletedFile", "complete"),
    "using.embed": ("Embedding", "embed"),
    "using.export": ("Exported", "export"),
    "using.predict": ("Prediction", "predict"),
}  # fmt: skip
_MODULES = {name: module for module, names in _HOMES.items() for name in names}

__version__ = version("ddeq-models")

__all__ = [
    "DDEQ",
    "PRESETS",
    "RECIPES",
    "Classification",
    "ClassificationConfig",
    "Completed",
    "CompletedFile",
    "CompleterConfig",
    "Completion",
    "CompletionConfig",
    "DDEQClassifier",
    "DDEQCompleter",
    "DDEQConfig",
    "DDEQRegressor",
    "DDEQRegressorConfig",
    "DDEQRegressorModel",
    "DDEQSegmenter",
    "DDEQSegmenterConfig",
    "DDEQTransformer",
    "DataConfig",
    "DataSet",
    "Diverged",
    "Embedding",
    "Estimate",
    "Exported",
    "Interrupted",
    "ModelConfig",
    "Numbers",
    "Output",
    "PointLabels",
    "Prediction",
    "Recipe",
    "Regression",
    "RegressionConfig",
    "RunConfig",
    "RunFolder",
    "Segmentation",
    "SegmentationConfig",
    "SolverPhase",
    "Tally",
    "Task",
    "TaskConfig",
    "TrainConfig",
    "UserError",
    "calibrate",
    "complete",
    "diagnose",
    "embed",
    "evaluate",
    "export",
    "from_pretrained",
    "predict",
    "register_data",
    "register_model",
    "register_task",
    "resume_run",
    "save_pretrained",
    "shipped_names",
    "train",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for (PEP 562)."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The public names, those that have not been imported too."""
    return sorted({*globals(), *__all__})
