"""The head of a table: the lines ahead of its first row, and the names of its columns."""

from __future__ import annotations

import contextlib
import csv
from typing import NamedTuple

from ddeq_data.readers.text.tokens import NUMBER

__all__ = ["Head", "find_head", "split_cells"]

# A first line beyond this is no list of names.
_LONGEST = 1 << 20


class Head(NamedTuple):
    """What is ahead of the first row.

    Attributes:
        names: Name of each column, or None.
        remark: Whether they stood behind a comment sign: a remark may be anything, and is one
            where it does not fit.
        stop: The byte at which the rows begin.
        lines: How many lines are ahead of it.
        line: Which of these the names are in, counted from 0.
    """

    names: tuple[str, ...] | None
    remark: bool
    stop: int
    lines: int
    line: int


def find_head(content: bytes, *, header: bool, numbered: bool) -> Head:
    """Find the names of the columns, if there are any.

    They are in the first line with cells, or, as numpy.savetxt and CloudCompare write it, in a
    line that begins with `#` or `//`, ahead of it. A remark counts if an x and a y are in it.

    Args:
        content: The text, its lines ended by line feeds.
        header: Whether a line of words is one of names.
        numbered: Whether a line of numbers is, that count 0, 1, 2, ...
    """
    none = Head(None, False, 0, 0, 0)
    if not header:
        return none
    remark: tuple[tuple[str, ...], int] | None = None
    start = line = 0
    while start < len(content):
        end = content.find(b"\n", start)
        end = len(content) if end < 0 else end
        text, stop = content[start:end].strip(), min(end + 1, len(content))
        if text.startswith((b"#", b"//")):
            names = _names(text.lstrip(b"#/"))
            if text.startswith(b"//"):
                return Head(names, False, stop, line + 1, line)
            if {"x", "y"} <= {name.lower() for name in names}:
                remark = names, line
        elif text:
            names = _names(text)
            if _counts(names, numbered) or not any(NUMBER.fullmatch(n.encode()) for n in names):
                return Head(names, False, stop, line + 1, line)
            break
        start, line = stop, line + 1
    if remark is None:
        return none
    return Head(remark[0], True, 0, 0, remark[1])


def split_cells(line: bytes, separator: bytes | None) -> list[bytes]:
    """Cut a line into its cells, without a comment at its end and without double quotes.

    A comment begins with a `#` that begins a cell; within one it is part of the cell.
    """
    if b"#" in line:
        for at, byte in enumerate(line):
            if byte == 35 and (at == 0 or line[at - 1 : at] in b" \t\x0b\x0c" + (separator or b"")):
                line = line[:at]
                break
    line = line.strip()
    if not line:
        return []
    if b'"' in line and separator is not None:
        with contextlib.suppress(csv.Error):  # of a cell of 128 kB: it is no number either way
            text = line.decode("utf-8", "surrogateescape")
            reader = csv.reader([text], delimiter=separator.decode(), skipinitialspace=True)
            return [c.strip().encode("utf-8", "surrogateescape") for c in next(reader)]
    cells = line.split() if separator is None else [c.strip() for c in line.split(separator)]
    return [c[1:-1].strip() if len(c) > 1 and c[:1] == c[-1:] == b'"' else c for c in cells]


def _names(line: bytes) -> tuple[str, ...]:
    # Names may hold blanks where something else separates them.
    separator = next((mark for mark in (b";", b",", b"\t") if mark in line), None)
    return tuple(
        cell.decode("utf-8", "replace") for cell in split_cells(line[:_LONGEST], separator)
    )


def _counts(names: tuple[str, ...], numbered: bool) -> bool:
    # Names of which some are numbers that count from 0: those of a table without names.
    numbers = [name for name in names if NUMBER.fullmatch(name.encode())]
    return numbered and len(numbers) > 1 and numbers == [str(i) for i in range(len(numbers))]
