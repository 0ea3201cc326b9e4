"""Modules that only some uses of this package need."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

__all__ = ["import_extra"]


def import_extra(module: str, extra: str, what: str) -> ModuleType:
    """Import a module of an optional dependency.

    Args:
        module: Its name.
        extra: The extra of this package that brings it.
        what: What needs it, for the error.

    Raises:
        ModuleNotFoundError: If it is missing, saying how to get it.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise ModuleNotFoundError(
            f"{what} needs {module}: pip install 'ddeq-data[{extra}]'", name=module
        ) from error
