"""What decides a run, as frozen values.

A field that is added later must default to what was done before it existed, so that older run
folders, which lack it, keep their meaning.
"""

from ddeq_models.config.base import ModelConfig, TaskConfig, default_task
from ddeq_models.config.data import (
    ARRAYS,
    SPLITS,
    DataConfig,
    Normalisation,
    Release,
    Split,
    check_columns,
)
from ddeq_models.config.keys import SECTIONS, changed, check_key
from ddeq_models.config.options import Option, option, options_of
from ddeq_models.config.run import RunConfig, differences, flattened
from ddeq_models.config.train import SolverPhase, TrainConfig, passes

__all__ = [
    "ARRAYS",
    "SECTIONS",
    "SPLITS",
    "DataConfig",
    "ModelConfig",
    "Normalisation",
    "Option",
    "Release",
    "RunConfig",
    "SolverPhase",
    "Split",
    "TaskConfig",
    "TrainConfig",
    "changed",
    "check_columns",
    "check_key",
    "default_task",
    "differences",
    "flattened",
    "option",
    "options_of",
    "passes",
]
