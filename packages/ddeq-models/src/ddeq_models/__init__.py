"""Distributional deep equilibrium models on point clouds, and the ddeq command."""

from importlib.metadata import version

from ddeq_models.classification import Classification, ClassificationConfig
from ddeq_models.completer import Completed, CompleterConfig, DDEQCompleter
from ddeq_models.completing import CompletedFile, complete
from ddeq_models.completion import Completion, CompletionConfig
from ddeq_models.config import DataConfig, RunConfig, SolverPhase, TrainConfig
from ddeq_models.ddeq import DDEQ, DDEQConfig
from ddeq_models.diagnosis import diagnose
from ddeq_models.errors import Diverged, Interrupted, UserError
from ddeq_models.evaluation import evaluate
from ddeq_models.metrics import Tally
from ddeq_models.model import ModelConfig, Output
from ddeq_models.model_folder import from_pretrained, save_pretrained, shipped_names
from ddeq_models.prediction import Prediction, predict
from ddeq_models.presets import PRESETS
from ddeq_models.recipes import RECIPES, Recipe
from ddeq_models.run_folder import RunFolder
from ddeq_models.task import Task, TaskConfig
from ddeq_models.training import resume_run, train

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
    "DDEQCompleter",
    "DDEQConfig",
    "DataConfig",
    "Diverged",
    "Interrupted",
    "ModelConfig",
    "Output",
    "Prediction",
    "Recipe",
    "RunConfig",
    "RunFolder",
    "SolverPhase",
    "Tally",
    "Task",
    "TaskConfig",
    "TrainConfig",
    "UserError",
    "complete",
    "diagnose",
    "evaluate",
    "from_pretrained",
    "predict",
    "resume_run",
    "save_pretrained",
    "shipped_names",
    "train",
]
