"""The CSV of the Kaggle data set `pointcloudmnist2d`, and its twin that is padded with 0."""

from __future__ import annotations

from collections.abc import Iterator
from os import PathLike
from typing import BinaryIO, NoReturn

import numpy as np
from numpy.typing import NDArray

from ddeq_data.errors import DataError
from ddeq_data.readers.source import refuse_special
from ddeq_data.readers.text.numbers import token_integers
from ddeq_data.readers.text.tokens import Tokens

__all__ = ["read_point_csv"]

_PIECE = 1 << 22
_LONGEST = 1 << 20
_FETCH = "fetch the file again"


def read_point_csv(
    path: str | PathLike[str], side: int
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Read images from a table of their points.

    A row is label, x0, y0, v0, x1, y1, v1, ...: the pixel in column x and row side - 1 - y has the
    value v. The points of an image come in any order. Where v is not above 0 there is no point:
    one release fills rows up with -1, the other with 0.

    Args:
        path: The file, its first line the names of the columns.
        side: Height and width of the images.

    Returns:
        Images (rows, side, side) uint8, and labels (rows,) int64.

    Raises:
        DataError: If it cannot be read or is another table, naming the line.
    """
    refuse_special(path)
    try:
        with open(path, "rb") as file:
            head = file.readline(_LONGEST)
            points = (head.count(b",")) // 3
            names = [f"{axis}{i}" for i in range(points) for axis in "xyv"]
            if points == 0 or head.strip() != ",".join(["label", *names]).encode():
                raise DataError.at(
                    path,
                    place="line 1",
                    expected="the names label,x0,y0,v0,x1,y1,v1,...",
                    found=repr(head[:60].decode("ascii", "backslashreplace")),
                    remedy="give a table of pointcloudmnist2d",
                )
            images, labels, line = [], [], 2
            for piece in _pieces(file):
                table = _table(path, piece, 1 + 3 * points, line)
                labels.append(table[:, 0].copy())
                images.append(_images(path, table[:, 1:].reshape(-1, points, 3), side, line))
                line += len(table)
    except OSError as error:
        raise DataError.at(
            path,
            expected="a readable file",
            found=error.strerror or str(error),
            remedy="check the path and its permissions",
        ) from error
    if not images:
        return np.empty((0, side, side), np.uint8), np.empty(0, np.int64)
    return np.concatenate(images), np.concatenate(labels)


def _pieces(file: BinaryIO) -> Iterator[bytes]:
    # Whole lines, as many as bound the memory.
    while piece := file.read(_PIECE):
        yield piece + (b"" if piece.endswith(b"\n") else file.readline(_LONGEST))


def _table(path: str | PathLike[str], piece: bytes, width: int, line: int) -> NDArray[np.int64]:
    text = piece.replace(b",", b" ")
    tokens = Tokens.find(text)
    values, starts = token_integers(tokens), tokens.offsets()
    symbols = np.frombuffer(piece, np.uint8)
    ends = np.flatnonzero(symbols == 10)
    if not piece.endswith(b"\n"):
        ends = np.append(ends, len(piece))
    rows = len(ends)
    if (
        values is None
        or len(values) != rows * width
        or not _separated(piece, symbols, rows * (width - 1))
        or not np.array_equal(np.searchsorted(starts, ends), width * np.arange(1, rows + 1))
    ):
        _refuse(path, piece, width, line)
    return values.reshape(rows, width)


def _separated(piece: bytes, symbols: NDArray[np.uint8], count: int) -> bool:
    # Whether a comma is ahead of each number but the first of its line, if they are that many.
    commas = np.flatnonzero(symbols == 44)
    if len(commas) != count or piece.startswith(b",") or piece.endswith(b",") or b"\n," in piece:
        return False
    after = symbols[commas + 1]
    return bool((((after >= 48) & (after < 58)) | (after == 45)).all())


def _images(
    path: str | PathLike[str], table: NDArray[np.int64], side: int, line: int
) -> NDArray[np.uint8]:
    x, y, value = table[..., 0], table[..., 1], table[..., 2]
    there = value > 0
    wrong = there & ((x < 0) | (x >= side) | (y < 0) | (y >= side) | (value > 255))
    images = np.zeros((len(table), side, side), np.uint8)
    row, point = np.nonzero(there & ~wrong)
    images[row, side - 1 - y[row, point], x[row, point]] = value[row, point]
    twice = np.count_nonzero(images, axis=(1, 2)) != np.count_nonzero(there, axis=1)
    bad = np.flatnonzero(twice)  # a point out of range is missing, too
    if len(bad):
        at = int(bad[0])
        outside = np.flatnonzero(wrong[at])
        raise DataError.at(
            path,
            place=f"line {line + at}",
            expected=f"x and y in 0..{side - 1} and v up to 255"
            if len(outside)
            else "each pixel once",
            found=f"x, y, v = {', '.join(map(str, table[at, outside[0]]))}"
            if len(outside)
            else "a pixel twice",
            remedy=_FETCH,
        )
    return images


def _refuse(path: str | PathLike[str], piece: bytes, width: int, line: int) -> NoReturn:
    number, expected, found = line, "lines of whole numbers", "something else among them"
    for i, text in enumerate(piece.split(b"\n")):
        cells, number = text.split(b","), line + i
        if len(cells) != width:
            expected, found = f"{width} numbers as in line 1", str(len(cells))
            break
        wrong = next((cell for cell in cells if not cell.strip().lstrip(b"-").isdigit()), None)
        if wrong is not None:
            expected, found = "a whole number", repr(wrong.decode("ascii", "backslashreplace"))
            break
    raise DataError.at(path, place=f"line {number}", expected=expected, found=found, remedy=_FETCH)
