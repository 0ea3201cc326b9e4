"""The strict way from JSON to frozen dataclasses.

A key that is not known is refused, so that a typing error cannot silently train another model. A
key that is missing takes its default.
"""

import dataclasses
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal, TypeVar

from ddeq_models._internal.text import shortened
from ddeq_models.config.base import ModelConfig, TaskConfig
from ddeq_models.errors import UserError

_WORDS = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "a string",
    type(None): "null",
}
_LARGEST, _LONGEST = 1e300, 4096

T = TypeVar("T")


def decode(kind: type[T], values: object, place: str = "") -> T:
    """A dataclass from the dictionary that JSON gave.

    Args:
        kind: The dataclass; its fields may be numbers, strings, booleans, None, ``Literal``,
            tuples and dataclasses. The bases `ModelConfig` and `TaskConfig` stand for the one of
            their heirs that the key ``kind`` names.
        values: The dictionary.
        place: Path of the dictionary inside the document, for messages.

    Raises:
        UserError: A key is unknown or missing, or a value is not of its field's type.
    """
    if not isinstance(values, Mapping):
        raise UserError(f"{place or 'the document'} must be an object, got {_brief(values)}")
    if kind in (ModelConfig, TaskConfig):
        kind, values = _heir(kind, values, place)
    hints = typing.get_type_hints(kind)
    # dataclasses.fields wants an instance's type; `kind` is one by contract.
    fields = {f.name: f for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    prefix = f"{place}." if place else ""
    for name in values:
        if name not in fields:
            known = ", ".join(fields)
            raise UserError(f"unknown key {prefix}{shortened(str(name))}; known are {known}")
    for name, f in fields.items():
        if (
            name not in values
            and f.default is dataclasses.MISSING
            and f.default_factory is dataclasses.MISSING
        ):
            raise UserError(f"the key {prefix}{name} is missing")
    decoded = {name: _value(hints[name], v, f"{prefix}{name}") for name, v in values.items()}
    try:
        return kind(**decoded)
    except UserError:
        raise
    except ValueError as error:  # a model's config checks its own values
        raise UserError(f"{place or 'the document'}: {error}") from error


def _heir(base: Any, values: Mapping[str, Any], place: str) -> tuple[Any, Mapping[str, Any]]:
    """The dataclass that the key ``kind`` names, and the other keys."""
    kinds, rest = base.kinds(), dict(values)
    kind = rest.pop("kind", base.default_kind)
    if not isinstance(kind, str) or kind not in kinds:
        raise UserError(f"{place}.kind must be one of {', '.join(kinds)}, got {_brief(kind)}")
    return kinds[kind], rest


def _value(hint: Any, value: object, place: str) -> Any:
    """`value` as the type `hint`, or a UserError."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if dataclasses.is_dataclass(hint):
        return decode(typing.cast(type[Any], hint), value, place)
    if origin is Literal:
        if value in arguments:
            return value
    elif origin in (types.UnionType, typing.Union):
        for choice in arguments:
            try:
                return _value(choice, value, place)
            except UserError:
                continue
    elif origin is tuple and isinstance(value, list | tuple):
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            return tuple(_value(arguments[0], v, f"{place}[{i}]") for i, v in enumerate(value))
        if len(arguments) == len(value):
            return tuple(
                _value(a, v, f"{place}[{i}]")
                for i, (a, v) in enumerate(zip(arguments, value, strict=True))
            )
    elif hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        # Some of JSON's whole numbers are beyond the floating ones.
        if isinstance(value, float) or abs(value) <= _LARGEST:
            return float(value)
    elif hint is type(None):
        if value is None:
            return None
    elif hint is int and (isinstance(value, bool) or (isinstance(value, int) and _long(value))):
        pass  # bool is a subclass of int, and true is no count
    elif isinstance(value, str) and len(value) > _LONGEST:
        pass  # no name is as long, nor any path
    elif isinstance(hint, type) and isinstance(value, hint):
        return value
    raise UserError(f"{place} must be {_wanted(hint)}, got {_brief(value)}")


def _wanted(hint: Any) -> str:
    """What a value of a type is, in words."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        return "one of " + ", ".join(map(str, arguments))
    if origin in (types.UnionType, typing.Union):
        return " or ".join(map(_wanted, arguments))
    if origin is tuple:
        several = len(arguments) == 2 and arguments[1] is Ellipsis
        inner = _wanted(arguments[0])
        return f"a list, each {inner}" if several else f"a list of {len(arguments)}, each {inner}"
    return _WORDS.get(hint, "an object")


def _long(value: int) -> bool:
    """Whether a whole number has more than 64 bits: nothing counts so far."""
    return value.bit_length() > 64


def _brief(value: object) -> str:
    """A value that is not what it should be, for a message."""
    if isinstance(value, int) and _long(value):
        return "a number of more than 64 bits"
    return shortened(repr(value), 80)
