"""Old names of modules that have moved: they lead there, with a warning, until 0.7."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

__all__ = ["MODULES", "follow_moves"]

_PACKAGE = __name__.partition(".")[0]
# Below this package, and where each is now.
MODULES = {
    "advice": "tasks.advice",
    "baselines": "models.baselines",
    "board": "training.board",
    "catalogue": "data.datasets",
    "cell": "models.cell",
    "classification": "tasks.classification",
    "cloud_distances": "tasks.distances",
    "completer": "models.completer",
    "completing": "using.complete",
    "completion": "tasks.completion",
    "ddeq": "models.classifier",
    "decoding": "config.decoding",
    "description": "models.description",
    "diagnosis": "measuring.diagnose",
    "drawing": "report.drawing",
    "encoder": "models.encoder",
    "evaluation": "measuring.evaluate",
    "forecast": "training.forecast",
    "identity": "runs.identity",
    "limits": "models.size",
    "loop": "training.loop",
    "memory": "training.memory",
    "metrics": "tasks.tally",
    "model": "models.base",
    "model_card": "runs.card",
    "model_folder": "runs.pretrained",
    "optimisation": "training.optimiser",
    "pace": "training.progress",
    "peer": "tasks.peer",
    "pictures": "report.pictures",
    "prediction": "using.predict",
    "presets": "registry",
    "progress": "training.progress",
    "ranks": "distributed",
    "run_folder": "runs.folder",
    "saver": "training.checkpoints",
    "showcase": "report.samples",
    "solver": "models.solver",
    "state": "training.state",
    "step": "training.step",
    "stop": "training.checkpoints",
    "task": "tasks.base",
}


class _Moves(MetaPathFinder, Loader):
    """Finds a module by its old name, after all others who might have one of that name."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        package, _, name = fullname.partition(".")
        return ModuleSpec(fullname, self) if package == _PACKAGE and name in MODULES else None

    def exec_module(self, module: ModuleType) -> None:
        new = f"{_PACKAGE}.{MODULES[module.__name__.partition('.')[2]]}"
        warnings.warn(
            f"{module.__name__} has moved, and its old name goes in 0.7; import {new}",
            DeprecationWarning,
            stacklevel=2,
        )
        there = import_module(new)
        # A module of its own, so that no attribute of the import system is changed in the new one.
        vars(module)["__getattr__"] = lambda name: getattr(there, name)


def follow_moves() -> None:
    """Let modules be imported by their old names."""
    if not any(isinstance(finder, _Moves) for finder in sys.meta_path):
        sys.meta_path.append(_Moves())
