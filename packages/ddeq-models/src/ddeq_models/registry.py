"""What there is: models, tasks, presets and data sets, by the names that commands and files use.

The tables are filled from below and from outside, in the same way: a module registers what it
defines when it is imported, and is named as an entry point of the group ``ddeq.plugins``::

    [project.entry-points."ddeq.plugins"]
    mine = "my_package.my_model"

The modules of all entry points are imported when a table is first looked into; this package's own
is `ddeq_models.builtin`. A module that is not installed is named on the command line (``ddeq
--import my_module.py train ...``) or imported before.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from importlib.metadata import entry_points
from typing import Any, Generic, TypeVar

from ddeq_models._internal.text import shown
from ddeq_models.errors import UserError

__all__ = [
    "DATA_SETS",
    "MODELS",
    "PRESETS",
    "TASKS",
    "Table",
    "plugin_of",
    "register_model",
    "register_task",
]

GROUP = "ddeq.plugins"
_OWN = "ddeq_models.builtin"

T = TypeVar("T")
C = TypeVar("C", bound=type[Any])


class Table(MutableMapping[str, T], Generic[T]):
    """Names and what they stand for; all plugins are imported before the first look.

    Args:
        what: What the names are names of, for messages.

    Attributes:
        texts: What each entry is, in a few words.
    """

    _loaded = False

    def __init__(self, what: str) -> None:
        self.what = what
        self._entries: dict[str, T] = {}
        self._modules: dict[str, str] = {}
        self.texts: dict[str, str] = {}

    def __getitem__(self, name: str) -> T:
        _load()
        return self._entries[name]

    def __iter__(self) -> Iterator[str]:
        _load()
        return iter(self._entries)

    def __len__(self) -> int:
        _load()
        return len(self._entries)

    def __setitem__(self, name: str, entry: T) -> None:
        self._entries[name] = entry

    def __delitem__(self, name: str) -> None:
        del self._entries[name]

    def add(self, name: str, entry: T, module: str, text: str = "") -> None:
        """Register an entry.

        Args:
            name: The name.
            entry: What it stands for.
            module: The module that registers it; the same one may do so again.
            text: What it is, in a few words.

        Raises:
            UserError: The name is taken, or is none.
        """
        if not _ours(module):
            _load()  # what comes with the package goes before
        if not name or any(c.isspace() or c in "/,=" for c in name):
            raise UserError(f"{name!r} is no name for a {self.what}; leave spaces, / , and = out")
        if self._modules.setdefault(name, module) != module:
            raise UserError(
                f"{module} registers a {self.what} {name}, which {self._modules[name]} has "
                "registered already; choose another name"
            )
        self._entries[name], self.texts[name] = entry, text

    def module(self, name: str) -> str:
        """The module that registered a name; empty where nobody did."""
        return self._modules.get(name, "")

    def find(self, name: str) -> T:
        """The entry of a name.

        Raises:
            UserError: There is none; listing those that there are.
        """
        if name not in self:
            raise UserError(
                f"there is no {self.what} {shown(name)}; expected one of {', '.join(self)}, or "
                "import the module that registers it: ddeq --import MODULE ..."
            )
        return self[name]


MODELS: Table[tuple[type[Any], type[Any]]] = Table("model")
"""Configuration and class of each model, by the ``kind`` of its configuration."""

PRESETS: Table[Any] = Table("preset")
"""Configurations of models, by the name that ``ddeq train --preset`` knows."""

TASKS: Table[tuple[type[Any], type[Any]]] = Table("task")
"""Configuration and class of each task, by the ``kind`` of its configuration."""


DATA_SETS: Table[Any] = Table("data set")
"""Data sets, see `ddeq_models.data.entries.DataSet`."""


def register_model(
    config: type[Any], presets: Mapping[str, tuple[Any, str]] | None = None
) -> Callable[[C], C]:
    """Register a model: a decorator of its class, which is built as ``Class(config)``.

    Args:
        config: Its configuration, an heir of `ddeq_models.ModelConfig` with a ``kind`` of its own.
        presets: Configurations that ``ddeq train --preset`` knows by name, each with a few words
            about it. None: ``config()`` under the name of its kind.
    """

    def register(model: C) -> C:
        MODELS.add(config.kind, (config, model), model.__module__, _text(model))
        named = {config.kind: (config(), _text(model))} if presets is None else presets
        for name, (preset, text) in named.items():
            PRESETS.add(name, preset, model.__module__, text)
        return model

    return register


def register_task(config: type[Any]) -> Callable[[C], C]:
    """Register a task: a decorator of its class, which is built as ``Class(run_config)``.

    Args:
        config: Its configuration, an heir of `ddeq_models.TaskConfig` with a ``kind`` of its own.
    """

    def register(task: C) -> C:
        TASKS.add(config.kind, (config, task), task.__module__, _text(task))
        return task

    return register


def _text(kind: type[Any]) -> str:
    """The first line of a class's documentation."""
    return (kind.__doc__ or kind.__name__).strip().splitlines()[0].rstrip(".")


def plugin_of(table: Table[Any], name: str) -> str | None:
    """The module from outside this package that registered a name, or None."""
    module = table.module(name)
    return module if module and not _ours(module) else None


def _ours(module: str) -> bool:
    return module.partition(".")[0] == __package__


def _load() -> None:
    """Import the modules of all entry points, once."""
    if Table._loaded:
        return
    Table._loaded = True  # they look into the tables themselves
    points = entry_points(group=GROUP)
    if not any(point.value == _OWN for point in points):
        raise UserError(
            f"the installation of ddeq-models names no plugin {_OWN}, so that it knows no models; "
            "install it again"
        )
    for point in points:
        try:
            point.load()
        except Exception as error:
            if point.value == _OWN:
                raise
            warnings.warn(
                f"the plugin {point.name} ({point.value}) cannot be imported, and what it "
                f"registers is missing: {error}",
                stacklevel=2,
            )
