"""A field of a configuration that is an option of the command line as well.

What an option is called, takes and does is said once, where the field is: its name is the
option's, its type decides the values, its default is named in brackets. ``ddeq train`` and
`ddeq_models.cli.configure` know it from here.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

__all__ = ["Option", "option", "options_of"]

T = TypeVar("T")
_KEY = "ddeq-option"


@dataclass(frozen=True)
class Option:
    """One option.

    Attributes:
        name: The field's.
        text: What it does, in a few words.
        kind: The type of its value.
        choices: The words that it may be; () where any will do.
        several: Whether it takes several names between commas.
        common: Whether the short help tells of it.
    """

    name: str
    text: str
    kind: type[Any]
    choices: tuple[str, ...] = ()
    several: bool = False
    common: bool = False

    @property
    def flag(self) -> str:
        """The option as it is written."""
        return "--" + self.name.replace("_", "-")


def option(default: T, text: str, *, common: bool = False) -> T:
    """A dataclass's field that is an option; the type checker sees its default.

    Args:
        default: Its default.
        text: What it does, in a few words. ``{choices}`` stands for the words it may be.
        common: Whether the short help tells of it.
    """
    field: Any = dataclasses.field(default=default, metadata={_KEY: (text, common)})
    return field  # type: ignore[no-any-return]


def options_of(config: type[Any]) -> tuple[Option, ...]:
    """The options among the fields of a configuration, in their order."""
    hints = typing.get_type_hints(config)
    return tuple(
        _option(field.name, hints[field.name], *field.metadata[_KEY])
        for field in dataclasses.fields(config)
        if _KEY in field.metadata
    )


def _option(name: str, hint: Any, text: str, common: bool) -> Option:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    choices: tuple[str, ...] = ()
    if origin is Literal:
        hint, choices = str, arguments
    elif origin in (types.UnionType, typing.Union):
        hint = next(one for one in arguments if one is not type(None))
    several = origin is tuple
    words = f"{', '.join(choices[:-1])} or {choices[-1]}" if choices else ""
    said = text.replace("{choices}", words)
    return Option(name, said, str if several else hint, choices, several, common)
