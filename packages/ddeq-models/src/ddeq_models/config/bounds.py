"""What the numbers of a configuration may be: asked before anything is done with them."""

from __future__ import annotations

import typing
from collections.abc import Callable
from dataclasses import fields
from functools import cache
from typing import Any, Literal

from ddeq_models.errors import UserError

__all__ = ["check_bounds", "check_words", "require"]

# What each number of a model's configuration may be, by its name; one of another name need only be
# finite. Powers of ten above what anybody has used.
_BOUNDS: dict[str, tuple[float, float]] = {
    **dict.fromkeys(("point_dim", "noise_dim"), (1, 1024)),
    **dict.fromkeys(("classes", "outputs"), (1, 100_000)),
    "particles": (1, 16_384),
    **dict.fromkeys(("dim", "hidden", "bilinear_dim", "inducing", "widths", "pooled"), (1, 16_384)),
    **dict.fromkeys(("joint", "groups"), (1, 16_384)),
    **dict.fromkeys(("heads", "coarse", "side", "neighbours", "rate", "width"), (1, 16_384)),
    **dict.fromkeys(("encoder_blocks", "self_blocks", "cross_blocks", "layers"), (0, 256)),
    "octaves": (0, 64),
    **dict.fromkeys(("scales", "residual_maps"), (0, 16)),
    **dict.fromkeys(("coordinates", "rows"), (0, 2**20)),
    "tokens": (1, 2**20),
    "memory": (1, 1000),
    **dict.fromkeys(("max_steps", "adjoint_steps"), (1, 1_000_000)),
    "training_max_steps": (0, 1_000_000),
}
# Numbers that are above 0, and shares that are below 1.
_LARGEST = 1e30  # float32 goes to 3e38
_POSITIVE = ("damping", "step", "step_decay", "rtol", "adjoint_rtol", "ratio", "patch", "radii")
_SHARES = ("dropout", "hiding", "summary_dropout")
_NOT_NEGATIVE = ("orthogonality",)


def check_bounds(config: Any) -> None:
    """See that every number of a model's configuration is within its bounds.

    Raises:
        ValueError: One is not; naming it.
    """
    for field in fields(config):
        value, name = getattr(config, field.name), field.name
        for number in value if isinstance(value, tuple) else (value,):
            if isinstance(number, bool) or not isinstance(number, int | float):
                continue
            if name in _BOUNDS:
                low, high = _BOUNDS[name]
                fits, range_ = low <= number <= high, f"between {low} and {high:,}"
                range_ = f"at least {low}" if number < low else range_
            elif name in _POSITIVE:
                fits = 0 < number <= _LARGEST
                range_ = f"finite and at most {_LARGEST:g}" if number > 0 else "above 0"
            elif name in _SHARES:
                fits, range_ = 0 <= number < 1, "at least 0 and below 1"
            elif name in _NOT_NEGATIVE:
                fits, range_ = 0 <= number <= _LARGEST, f"at least 0 and at most {_LARGEST:g}"
            else:
                fits, range_ = abs(number) < 2**53, "finite and below 2^53"
            if not fits:
                raise ValueError(f"{name} must be {range_}, got {number}")


def check_words(config: Any) -> None:
    """See that every field that is one of some words is one of them.

    A misspelt word would otherwise be taken for the one that is asked for last.

    Raises:
        UserError: One is not; naming it and the words.
    """
    kind: Any = type(config)
    for name, words in _words(kind).items():
        value = getattr(config, name)
        if value not in words:
            raise UserError(
                f"{name.replace('_', ' ')} must be one of {', '.join(map(str, words))}, "
                f"got {value!r}"
            )


@cache
def _words(kind: Any) -> dict[str, tuple[Any, ...]]:
    """The fields that are one of some words, and the words."""
    hints = typing.get_type_hints(kind)
    named = {field.name: hints[field.name] for field in fields(kind)}
    return {
        name: typing.get_args(hint)
        for name, hint in named.items()
        if typing.get_origin(hint) is Literal
    }


def require(config: object, name: str, holds: Callable[[Any], bool], range_: str) -> None:
    """See that a field of a configuration is within its range.

    Raises:
        UserError: It is not; naming it and the range.
    """
    value = getattr(config, name)
    if not holds(value):
        raise UserError(f"{name.replace('_', ' ')} must be {range_}, got {value!r}")
