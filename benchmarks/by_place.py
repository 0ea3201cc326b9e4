"""Modules that are loaded by their place: tests are no package that could be imported."""

import importlib.util
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parents[1]
SOAK = ROOT / "tests" / "soak"


def load(file: Path) -> ModuleType:
    """The module that a file holds, executed anew."""
    spec = importlib.util.spec_from_file_location(file.stem, file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} is no Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
