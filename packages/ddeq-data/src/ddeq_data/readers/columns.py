"""Which columns of a file are coordinates, which are features, and which one holds the weights."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ddeq_data.errors import DataError

__all__ = ["WEIGHTS", "Choice", "Columns", "check_names", "choose_columns", "stacked"]

WEIGHTS = ("weight", "weights")
_NUMBER = re.compile(r"\d{1,9}", re.ASCII)
# Rows of so many numbers are points by themselves; of more, somebody has to say which are.
_MOST = 3
_SAY = (
    "say which columns are coordinates, by name or by number from 0, with columns= "
    "(--columns {example}), and which to keep beside them with features= (--features)"
)


@dataclass(frozen=True, eq=False)
class Columns:
    """The columns of a file, before it is known which of them are wanted.

    Attributes:
        path: The file.
        names: Name of each column; None where the file gives none.
        width: How many columns there are.
        take: Gives (n, k) real numbers of k columns by their numbers, or a `DataError`.
        leading: How many columns are coordinates, and come first, by the rules of the format;
            None where it has no such rule.
        base: The columns that are coordinates by themselves and that numbers count, however many:
            an array is a cloud in any dimension. None where names or the width decide.
        grouped: Whether several columns may go by one name, the array that they come from.
    """

    path: str | PathLike[str]
    names: tuple[str, ...] | None
    width: int
    take: Callable[[Sequence[int]], NDArray[Any]]
    leading: int | None = None
    base: tuple[int, ...] | None = None
    grouped: bool = False


class Choice(NamedTuple):
    """Numbers of the columns that are wanted.

    Attributes:
        coordinates: Of the coordinates, in their order.
        features: Of the features.
        weights: Of the weights, or None.
    """

    coordinates: tuple[int, ...]
    features: tuple[int, ...]
    weights: int | None


def check_names(columns: Sequence[str] | None, features: Sequence[str]) -> None:
    """See that columns are told by names, each once.

    Raises:
        ValueError: One is no name, or comes twice; or there is none.
    """
    for what, names in (("columns", columns), ("features", features)):
        if names is None:
            continue
        if isinstance(names, str) or not all(isinstance(name, str) and name for name in names):
            raise ValueError(f"{what} must be a tuple of names such as ('x', 'y'), got {names!r}")
    if columns is not None and not columns:
        raise ValueError("columns must name at least one column; give None for the default")
    every = [*(columns or ()), *features]
    if twice := [name for name in every if every.count(name) > 1]:
        raise ValueError(f"columns and features must name each column once, got {twice[0]!r} twice")


def choose_columns(
    found: Columns, columns: Sequence[str] | None, features: Sequence[str], dim: int | None
) -> Choice:
    """Choose columns by name, or by the rules of what stands for coordinates without a word.

    Args:
        found: What is there.
        columns: Names or numbers of the coordinates; None for `x`, `y` and, where it is there,
            `z`, or for what the format says.
        features: Names or numbers of what else is wanted.
        dim: How many columns are wanted altogether, which tells coordinates where nothing else
            does; or None.

    Raises:
        DataError: If one is missing, or nothing tells which columns are coordinates.
    """
    extra = tuple(i for name in features for i in _find(found, name))
    if columns is not None:
        chosen = tuple(i for name in columns for i in _find(found, name))
    else:
        chosen = _default(found, None if dim is None else dim - len(extra), extra)
    weights = None
    if found.names is not None:
        heavy = [i for i, name in enumerate(found.names) if name.lower() in WEIGHTS]
        free = [i for i in heavy if i not in (*chosen, *extra)]
        if len(free) > 1:
            raise _refuse(found, "one column of weights", str(len(free)), "rename the other ones")
        weights = free[0] if free else None
    return Choice(chosen, extra, weights)


def _default(found: Columns, dim: int | None, extra: tuple[int, ...]) -> tuple[int, ...]:
    if found.base is not None:
        return tuple(i for i in found.base if i not in extra)
    if found.leading is not None and found.names is None:
        return tuple(range(found.leading))
    if found.names is not None:
        lower = [name.lower() for name in found.names]
        axes = [axis for axis in "xyz" if axis in lower]
        # An x by itself might be any word of a title.
        least = found.leading or (1 if len([n for n in lower if n not in WEIGHTS]) == 1 else 2)
        if axes == list("xyz"[: len(axes)]) and len(axes) >= least:
            return tuple(i for axis in axes for i in _find(found, axis))
        # Columns that are numbered are as good as columns without names.
        plain = [i for i, name in enumerate(found.names) if _NUMBER.fullmatch(name)]
        if [found.names[i] for i in plain] != [str(i) for i in range(len(plain))] or not plain:
            raise _refuse(
                found,
                "columns that are called x, y and perhaps z",
                f"the columns {_listed(found.names)}",
                _SAY.format(example=",".join(found.names[:_MOST])),
            )
    else:
        plain = list(range(found.width))
    plain = [i for i in plain if i not in extra]
    if len(plain) <= _MOST or len(plain) == dim:
        return tuple(plain)
    raise _refuse(
        found,
        f"1 to {_MOST} columns of coordinates",
        f"{found.width} columns and no names of them",
        _SAY.format(example="0,1,2"),
    )


def _find(found: Columns, name: str) -> tuple[int, ...]:
    # The columns of one name, else of one name whatever the case, else of one number.
    names = found.names or ()
    for own in (names, tuple(own.lower() for own in names)):
        wanted = name if own is names else name.lower()
        places = tuple(i for i, one in enumerate(own) if one == wanted)
        if len(places) == 1 or (places and found.grouped):
            return places
        if places:
            raise _refuse(
                found,
                f"one column {name!r}",
                f"{len(places)} among {_listed(names)}",
                "rename the other one",
            )
    if _NUMBER.fullmatch(name):
        places = tuple(range(found.width)) if found.base is None else found.base
        if int(name) < len(places):
            return (places[int(name)],)
    there = f"the columns {_listed(names)}" if names else f"{found.width} columns without names"
    raise _refuse(
        found,
        f"a column {name!r}",
        there,
        "correct columns= (--columns) or features= (--features)",
    )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(name if name else "''" for name in dict.fromkeys(names))


def _refuse(found: Columns, expected: str, there: str, remedy: str) -> DataError:
    return DataError.at(found.path, expected=expected, found=there, remedy=remedy)


def stacked(
    columns: Sequence[NDArray[Any]], which: Sequence[int], rows: int
) -> NDArray[np.float64]:
    """Columns (n,) side by side, (n, k) float64; `rows` is n, where there is no column."""
    table = np.empty((rows, len(which)))
    with np.errstate(invalid="ignore"):  # a signalling NaN is one
        for place, i in enumerate(which):
            table[:, place] = columns[i]
    return table
