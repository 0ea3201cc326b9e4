"""Points as lines of text."""

from __future__ import annotations

from os import PathLike

import numpy as np
from numpy.typing import NDArray

from ddeq_data.errors import DataError
from ddeq_data.readers.numbers import token_floats
from ddeq_data.readers.tokens import Tokens

__all__ = ["read_table"]


def read_table(
    path: str | PathLike[str], content: bytes, *, header: bool = False
) -> NDArray[np.float64]:
    """Parse rows of numbers, separated by semicolons, commas, or blanks and tabs.

    The first line of numbers decides on the separator. `#` starts a comment, blank lines are
    skipped, line ends may be of any kind.

    Args:
        path: Named in errors.
        content: The text, UTF-8 with or without a byte-order mark.
        header: Skip the first line if none of its cells is a number.

    Returns:
        (n, d) float64; (0, 0) if there is no row.

    Raises:
        DataError: For a cell that is no number or rows of unequal length, naming the line; or if
            the file is not text, naming the byte.
    """
    quick = _plain(content, header)
    if quick is not None:
        return quick
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError.at(
            path,
            place=f"byte {error.start}",
            expected="text in UTF-8",
            found=f"the byte {content[error.start]:02x}",
            remedy="write the numbers as plain text, or use npy for binary data",
        ) from error
    numbers: list[int] = []  # of the lines, counted from 1
    rows: list[list[str]] = []
    separator: str | None = None
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    for number, line in enumerate(lines, start=1):
        body = line.split("#", 1)[0].strip()
        if not body:
            continue
        if not rows:
            separator = next((mark for mark in ";," if mark in body), None)
        cells = body.split(separator)
        if header:
            header = False
            if not any(map(_is_number, cells)):
                continue
        rows.append(cells)
        numbers.append(number)
    if not rows:
        return np.empty((0, 0))
    width = len(rows[0])
    for number, cells in zip(numbers, rows, strict=True):
        if len(cells) != width:
            raise DataError.at(
                path,
                place=f"line {number}",
                expected=f"{width} numbers as in line {numbers[0]}",
                found=f"{len(cells)}",
                remedy="give every point the same number of coordinates",
            )
    try:
        return np.array([list(map(float, cells)) for cells in rows])
    except ValueError as error:
        number, cell = next(
            (number, cell)
            for number, cells in zip(numbers, rows, strict=True)
            for cell in cells
            if not _is_number(cell)
        )
        raise DataError.at(
            path,
            place=f"line {number}",
            expected="a number",
            found=repr(cell.strip()),
            remedy="write coordinates only, and '#' before any other text",
        ) from error


def _plain(content: bytes, header: bool) -> NDArray[np.float64] | None:
    # What nearly all files are, a grid of numbers and nothing else, in a tenth of the time. None
    # for anything else, right or wrong.
    if header:
        head, _, rest = content.removeprefix(b"\xef\xbb\xbf").partition(b"\n")
        if any(48 <= byte < 58 for byte in head) or not head.strip():
            rest = content
        elif b"#" in head or any(
            map(_is_number, head.decode("latin-1").replace(";", ",").split(","))
        ):
            return None
        content = rest
    mark = next((mark for mark in b";," if mark in content), None)
    text = content if mark is None else content.replace(bytes([mark]), b" ")
    tokens = Tokens.find(text)
    values = token_floats(tokens)
    if values is None or len(values) == 0 or (b"\r" in text and b"\n" not in text):
        return None
    starts = tokens.offsets()
    symbols = np.frombuffer(content, np.uint8)
    ends = np.append(np.flatnonzero(symbols == 10), len(symbols))
    last = np.unique(np.searchsorted(starts, ends))  # tokens ahead of the end of each line
    last = last[last > 0]
    width = int(last[0])
    if len(values) != width * len(last) or not (np.diff(last) == width).all():
        return None
    if mark is not None:
        # Exactly one separator behind each number but the last of its line.
        before = np.searchsorted(starts, np.flatnonzero(symbols == mark)) - 1
        inner = np.arange(len(values))
        if not np.array_equal(before, inner[inner % width != width - 1]):
            return None
    return values.reshape(-1, width)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
