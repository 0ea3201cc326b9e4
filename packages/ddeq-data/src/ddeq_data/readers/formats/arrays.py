"""Arrays in numpy's own formats, npy and npz."""

from __future__ import annotations

import io
import math
import sys
import zipfile
from collections.abc import Sequence
from os import PathLike
from typing import Any

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from ddeq_data.errors import DataError
from ddeq_data.readers.columns import WEIGHTS, Columns, stacked

__all__ = ["read_npy", "read_npz"]

_VERSIONS = ((1, 0), (2, 0), (3, 0))
# An array of more bytes than this must not be more than so many times its compressed ones.
_SMALL, _RATIO = 1 << 26, 100


def read_npy(path: str | PathLike[str], content: bytes, place: str = "") -> NDArray[Any]:
    """Parse the content of an npy file that holds real numbers.

    Args:
        path: Named in errors.
        content: The bytes of the file.
        place: Where in the file `content` comes from, named in errors.

    Returns:
        An array of booleans, integers or floating numbers.

    Raises:
        DataError: If it is not npy, damaged, or holds anything else, pickled objects above all.
    """
    file = io.BytesIO(content)
    try:
        version = npy_format.read_magic(file)
        if version not in _VERSIONS:
            raise ValueError(f"unknown version {version}")
        if version == (1, 0):
            shape, fortran, dtype = npy_format.read_array_header_1_0(file)
        else:
            shape, fortran, dtype = npy_format.read_array_header_2_0(file)
    # The header is a Python literal; its parser has no short list of what it raises.
    except Exception as error:
        raise DataError.at(
            path,
            place=place,
            expected="an array in numpy's npy format",
            found=f"something else or a damaged header ({error})",
            remedy="write it with numpy.save",
        ) from error
    if dtype.kind not in "buif":
        raise DataError.at(
            path,
            place=place,
            expected="an array of real numbers",
            found="pickled Python objects, which are not loaded"
            if dtype.hasobject
            else f"dtype {dtype}",
            remedy="write a plain array of floating numbers with numpy.save",
        )
    promised, there = math.prod(shape) * dtype.itemsize, len(content) - file.tell()
    # An array without values may still state sizes beyond what numpy can address.
    extent = math.prod(max(size, 1) for size in shape) * dtype.itemsize
    if promised != there or min(shape, default=0) < 0 or extent > sys.maxsize:
        raise DataError.at(
            path,
            place=place,
            expected=f"{promised} bytes of values for shape {shape} and dtype {dtype}",
            found=f"{there}",
            remedy="write or fetch the file again",
        )
    flat = np.frombuffer(content, dtype, offset=file.tell())
    return flat.reshape(shape, order="F" if fortran else "C")


def read_npz(
    path: str | PathLike[str],
    content: bytes,
    columns: Sequence[str] | None = None,
    features: Sequence[str] = (),
) -> Columns:
    """Parse the content of an npz file: arrays by their keys.

    Args:
        path: Named in errors.
        content: The bytes of the file.
        columns: Keys of the coordinates, (n,) or (n, k) each, or numbers of columns of the points.
            None: the array `points`; else the arrays `x`, `y` and perhaps `z`; else the only one
            besides the weights.
        features: Keys, or numbers, of further columns.

    Returns:
        The columns of these arrays, and of `weight` or `weights`, in small or capital letters, if
        it is there.

    Raises:
        DataError: If it is not npz or damaged, an array is missing or does not fit the others, or
            no array can be told to be the points.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = {entry.filename.removesuffix(".npy"): entry for entry in archive.infolist()}
            wanted, base = _wanted(path, tuple(members), columns, features)
            arrays = {
                key: read_npy(path, _read(path, archive, members[key]), f"key {key!r}")
                for key in wanted
            }
    except DataError:
        raise
    # zipfile lets through what its parts raise: RuntimeError, NotImplementedError, zlib.error, ...
    except Exception as error:
        raise DataError.at(
            path,
            expected="an archive in numpy's npz format",
            found=f"something else or a damaged one ({error})",
            remedy="write it with numpy.savez",
        ) from error
    return _columns(path, arrays, base)


def _wanted(
    path: str | PathLike[str],
    keys: tuple[str, ...],
    columns: Sequence[str] | None,
    features: Sequence[str],
) -> tuple[dict[str, None], list[str]]:
    # The keys of the arrays to read, each once, and those of the points.
    def refuse(expected: str, remedy: str) -> DataError:
        found = f"the keys {', '.join(keys)}" if keys else "no array"
        return DataError.at(path, expected=expected, found=found, remedy=remedy)

    heavy = [key for key in keys if key.lower() in WEIGHTS]
    others = [key for key in keys if key not in (*features, *heavy)]
    axes = [axis for axis in "xyz" if axis in keys]
    base = ["points"] if "points" in keys else others if len(others) == 1 else []
    wanted: list[str] = []
    for name in features if columns is None else (*columns, *features):
        if name in keys:
            wanted.append(name)
        elif name.isdecimal() and base:
            wanted += base
        else:
            raise refuse(
                f"an array under the key {name!r}",
                "correct columns= (--columns) or features= (--features)",
            )
    if columns is None:
        if not base and axes == list("xyz"[: len(axes)]):
            base = axes
        if not base:
            raise refuse(
                "an array under the key 'points', or a single array",
                "write it with numpy.savez(file, points=...)",
            )
        wanted += base
    return dict.fromkeys([*wanted, *heavy]), base


def _read(path: str | PathLike[str], archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    # What 1 kB can become is not what a file of points is.
    if entry.file_size > max(_SMALL, _RATIO * entry.compress_size):
        raise DataError.at(
            path,
            place=f"key {entry.filename.removesuffix('.npy')!r}",
            expected=f"at most {_RATIO} times {entry.compress_size} compressed bytes",
            found=f"{entry.file_size}",
            remedy="write it with numpy.savez, not compressed, if that is what it holds",
        )
    return archive.read(entry)


def _columns(
    path: str | PathLike[str], arrays: dict[str, NDArray[Any]], base: list[str]
) -> Columns:
    names: list[str] = []
    parts: list[NDArray[Any]] = []
    rows: int | None = None
    heavy = [key for key in arrays if key.lower() in WEIGHTS]
    # Its own errors name the weights as such.
    for key, array in arrays.items():
        if key in heavy:
            continue
        if array.ndim not in (1, 2) or (array.ndim == 1 and base == [key]):
            raise DataError.at(
                path,
                expected="points of shape (n, d)",
                found=f"an array of shape {array.shape}",
                remedy="write one cloud to a file, a point in each row",
            )
        rows = len(array) if rows is None else rows
        if len(array) != rows:
            raise DataError.at(
                path,
                place=f"key {key!r}",
                expected=f"{rows} rows as in {names[0] if names else 'the others'}",
                found=str(len(array)),
                remedy="write a row for each point",
            )
        own = array[:, None] if array.ndim == 1 else array
        names += [key] * own.shape[1]
        parts.append(own)
    for key in heavy:
        weights = arrays[key]
        if weights.shape != (rows,):
            raise DataError.at(
                path,
                place=f"key {key!r}",
                expected=f"shape ({rows},), one weight for each point",
                found=f"shape {weights.shape}",
                remedy="write as many weights as points",
            )
        names.append(key)
        parts.append(weights[:, None])
    return Columns(
        path,
        tuple(names),
        len(names),
        lambda which: stacked(
            [part[:, i] for part in parts for i in range(part.shape[1])], which, rows or 0
        ),
        base=tuple(i for i, name in enumerate(names) if name in base),
        grouped=True,
    )
