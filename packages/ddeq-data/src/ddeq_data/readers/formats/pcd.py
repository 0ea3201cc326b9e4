"""The Point Cloud Data format of the Point Cloud Library, ASCII and binary."""

from __future__ import annotations

from os import PathLike

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ddeq_data.errors import DataError
from ddeq_data.readers.columns import Columns, choose_columns, stacked
from ddeq_data.readers.source import read_source
from ddeq_data.readers.text.numbers import NumberStream, header_end, line_feeds
from ddeq_data.readers.vertices import finite_vertices

__all__ = ["pcd_columns", "read_pcd"]

_KEYS = ("VERSION", "FIELDS", "SIZE", "TYPE", "COUNT", "WIDTH", "HEIGHT", "VIEWPOINT", "POINTS")
_CODES = {"I": "i", "U": "u", "F": "f"}
_FETCH = "fetch or export the file again"
_MOST = 1 << 16  # columns of a point; more is a damaged header


def read_pcd(path: str | PathLike[str]) -> Tensor:
    """Read a point cloud from a PCD file, its data `ascii` or `binary`.

    Coordinates are the fields `x`, `y` and `z`, in any order and among any others. A point with a
    coordinate that is NaN is, by the format's convention, a pixel of an organised cloud without
    a measurement: it is left out.

    Args:
        path: The file.

    Returns:
        Points (n, 3) float64.

    Raises:
        DataError: If it cannot be read, is not PCD, compressed or damaged, naming line or byte.
    """
    found = pcd_columns(path, "xyz")
    table = found.take(choose_columns(found, ("x", "y", "z"), (), None).coordinates)
    return finite_vertices(path, table[~np.isnan(table).any(1)])


def pcd_columns(path: str | PathLike[str], axes: str = "") -> Columns:
    """Parse the fields of a PCD file; those of several numbers are left out.

    Args:
        path: The file.
        axes: Fields that must be there.

    Raises:
        DataError: If it cannot be read, is not PCD, compressed or damaged, or lacks a field.
    """
    content = read_source(path, "a point cloud")
    entries, form, start, lines = _header(path, content)

    def refuse(key: str, expected: str) -> DataError:
        return DataError.at(
            path,
            place="header",
            expected=f"a line {key} {expected}",
            found=" ".join([key, *entries[key]]) if key in entries else "none",
            remedy=_FETCH,
        )

    def whole(key: str) -> list[int]:
        if key not in entries or not all(w.isdecimal() and len(w) < 16 for w in entries[key]):
            raise refuse(key, "of whole numbers")
        return [int(word) for word in entries[key]]

    fields = entries.get("FIELDS", [])
    if not fields or any(fields.count(axis) != 1 for axis in axes):
        raise refuse("FIELDS", "with x, y and z, each once")
    counts = whole("COUNT") if "COUNT" in entries else [1] * len(fields)
    if len(counts) != len(fields) or sum(counts) > _MOST:
        raise refuse("COUNT", f"of {len(fields)} numbers, one for each field")
    if any(counts[fields.index(axis)] != 1 for axis in axes):
        raise refuse("COUNT", "with 1 for x, y and z")
    if "POINTS" in entries:
        size = whole("POINTS")
        points = size[0] if len(size) == 1 else -1
    else:
        sides = whole("WIDTH") + whole("HEIGHT")
        points = sides[0] * sides[1] if len(sides) == 2 else -1
    if points < 0:
        raise refuse("POINTS", "of one number")

    single = [i for i, count in enumerate(counts) if count == 1]
    names = tuple(fields[i] for i in single)
    columns: list[NDArray[np.generic]]
    if form == "ascii":
        stream = NumberStream.parse(path, line_feeds(content[start:]), lines + 1, _FETCH)
        promised, there = points * sum(counts), len(stream)
        if there != promised:
            raise _cut(path, stream.place(min(promised, there)), points, promised, there, "numbers")
        first = np.cumsum(counts) - counts
        table = stream.values.reshape(points, sum(counts))
        columns = [table[:, first[i]] for i in single]
    else:
        dtypes = _dtypes(whole("SIZE"), entries.get("TYPE", []), len(fields))
        if dtypes is None:
            raise refuse("TYPE", f"and SIZE of known types, {len(fields)} of each")
        row = np.dtype(
            [(f"{i}", t, (c,)) for i, (t, c) in enumerate(zip(dtypes, counts, strict=True))]
        )
        promised, there = points * row.itemsize, len(content) - start
        # Some writers fill up their last page.
        if there < promised or content[start + promised :].strip(b"\0\r\n "):
            place = f"byte {start + min(promised, there)}"
            raise _cut(path, place, points, promised, there, "bytes")
        rows = np.frombuffer(content, row, points, start) if promised else np.empty(0, row)
        columns = [rows[str(i)][:, 0] for i in single]
    return Columns(path, names, len(names), lambda which: stacked(columns, which, points))


def _cut(
    path: str | PathLike[str], place: str, points: int, promised: int, there: int, unit: str
) -> DataError:
    return DataError.at(
        path,
        place=place,
        expected=f"{promised} {unit} for {points} points",
        found=str(there),
        remedy=_FETCH,
    )


def _header(
    path: str | PathLike[str], content: bytes
) -> tuple[dict[str, list[str]], str, int, int]:
    # The entries, the form of the data, where they begin and how many lines are ahead of them.
    entries: dict[str, list[str]] = {}
    mark = header_end(content)
    position = number = 0
    while True:
        number += 1
        end = content.find(mark, position, position + (1 << 20))
        if end < 0:
            found, words = "the end", []
        else:
            line = content[position:end].decode("ascii", "backslashreplace").strip()
            found, words = repr(line), line.split()
            position = end + 1
            if not words or words[0].startswith("#"):
                continue
            key, form = words[0].upper(), [word.lower() for word in words[1:]]
            if key == "DATA" and form in (["ascii"], ["binary"]):
                return entries, form[0], position, number
            if key in _KEYS and key not in entries:
                entries[key] = words[1:]
                continue
            if key == "COLUMNS" and "FIELDS" not in entries:  # its name before version 0.7
                entries["FIELDS"] = words[1:]
                continue
        raise DataError.at(
            path,
            place=f"line {number}",
            expected=f"DATA ascii or DATA binary, or one of {', '.join(_KEYS)}",
            found=found,
            remedy="convert compressed data with `pcl_convert_pcd_ascii_binary`"
            if [word.lower() for word in words] == ["data", "binary_compressed"]
            else _FETCH,
        )


def _dtypes(sizes: list[int], types: list[str], count: int) -> list[str] | None:
    if len(sizes) != count or len(types) != count:
        return None
    names = [f"<{_CODES.get(code, '?')}{size}" for code, size in zip(types, sizes, strict=True)]
    known = {f"<{kind}{size}" for kind in "iu" for size in (1, 2, 4, 8)} | {"<f4", "<f8"}
    return names if set(names) <= known else None
