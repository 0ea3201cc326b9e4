"""Old names of what has moved: they still lead there, with a warning, until 0.6.

Programs import modules by these names, and so do files that were pickled before.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

__all__ = ["MODULES", "follow_moves", "old_names"]

_TEXT = ("header", "numbers", "table", "tokens", "words")
_FORMATS = ("arrays", "idx", "off", "pcd", "ply", "ply_header", "point_csv", "points")
# Below this package, and where each is now.
MODULES = {
    "batch": "measures.batch",
    "cache": "storage",
    "collation": "loading.collation",
    "completion": "crops",
    "locks": "_internal.locks",
    "masses": "measures.masses",
    "packed": "measures.packed",
    "precision": "measures.precision",
    "sampler": "loading.sampler",
    "sampling": "shapes",
    "surfaces": "shapes",
    "text": "_internal.text",
    "datasets.modelnet_counts": "datasets.modelnet.counts",
    "datasets.modelnet_releases": "datasets.modelnet.releases",
    "readers.mesh": "readers.vertices",
    **{f"readers.{name}": f"readers.text.{name}" for name in _TEXT},
    **{f"readers.{name}": f"readers.formats.{name}" for name in _FORMATS},
}
# Where others may take from what is internal.
_PUBLIC = {"_internal.locks": "storage", "_internal.text": "errors"}
_PACKAGE = __name__.partition(".")[0]


class _Moves(MetaPathFinder, Loader):
    """Finds a module by its old name, after all others who might have one of that name."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        package, _, name = fullname.partition(".")
        return ModuleSpec(fullname, self) if package == _PACKAGE and name in MODULES else None

    def exec_module(self, module: ModuleType) -> None:
        new = MODULES[module.__name__.partition(".")[2]]
        warnings.warn(
            f"{module.__name__} has moved, and its old name goes in 0.6; "
            f"import {_PACKAGE}.{_PUBLIC.get(new, new)}",
            DeprecationWarning,
            stacklevel=2,
        )
        there = import_module(f"{_PACKAGE}.{new}")
        # A module of its own, so that no attribute of the import system is changed in the new one.
        vars(module)["__getattr__"] = lambda name: getattr(there, name)


def follow_moves() -> None:
    """Let modules be imported by their old names."""
    if not any(isinstance(finder, _Moves) for finder in sys.meta_path):
        sys.meta_path.append(_Moves())


def old_names(module: str, names: Mapping[str, type]) -> Callable[[str], Any]:
    """Make the `__getattr__` of a module that has renamed some of its classes.

    Args:
        module: Its name.
        names: The classes by their old names.
    """

    def find(name: str) -> Any:
        if name not in names:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        warnings.warn(
            f"{module}.{name} is called {names[name].__name__} now, and its old name goes in 0.6",
            DeprecationWarning,
            stacklevel=2,
        )
        return names[name]

    return find
