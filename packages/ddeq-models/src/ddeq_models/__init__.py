"""Distributional deep equilibrium models on point clouds, and the ddeq command."""

from importlib.metadata import version

from ddeq_models.config import DataConfig, RunConfig, TrainConfig
from ddeq_models.ddeq import DDEQ, DDEQConfig, Output
from ddeq_models.errors import Diverged, Interrupted, UserError
from ddeq_models.evaluation import evaluate
from ddeq_models.metrics import Metrics, Tally
from ddeq_models.prediction import Prediction, predict
from ddeq_models.presets import PRESETS
from ddeq_models.recipes import RECIPES, Recipe
from ddeq_models.run_folder import RunFolder
from ddeq_models.training import train

__version__ = version("ddeq-models")

__all__ = [
    "DDEQ",
    "PRESETS",
    "RECIPES",
    "DDEQConfig",
    "DataConfig",
    "Diverged",
    "Interrupted",
    "Metrics",
    "Output",
    "Prediction",
    "Recipe",
    "RunConfig",
    "RunFolder",
    "Tally",
    "TrainConfig",
    "UserError",
    "evaluate",
    "predict",
    "train",
]
