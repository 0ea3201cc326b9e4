"""Points as lines of text: one grammar, read in a quick way and in a careful one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike

import numpy as np
from numpy.typing import NDArray

from ddeq_data.errors import DataError
from ddeq_data.readers.text.header import Head, find_head, split_cells
from ddeq_data.readers.text.numbers import line_feeds, token_floats
from ddeq_data.readers.text.tokens import NUMBER, Tokens

__all__ = ["Table", "read_table"]

# An empty cell between tabs, or ahead of the first.
_EMPTY = re.compile(rb"(?:^|\t) *\t", re.MULTILINE)


@dataclass(frozen=True, eq=False)
class Table:
    """Rows of a text file.

    Attributes:
        path: Named in errors.
        names: Name of each column, or None.
        values: (n, k) float64 where every cell is a number, else None.
        cells: The cells of each row where one of them is no number; else empty.
        lines: Number of the line of each of these rows, counted from 1.
    """

    path: str | PathLike[str]
    names: tuple[str, ...] | None
    values: NDArray[np.float64] | None
    cells: tuple[tuple[bytes, ...], ...] = ()
    lines: tuple[int, ...] = ()

    @property
    def width(self) -> int:
        """Number of columns; 0 where there is no row."""
        if self.values is not None:
            return int(self.values.shape[1])
        return len(self.cells[0])

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.cells if self.values is None else self.values)

    def take(self, columns: Sequence[int]) -> NDArray[np.float64]:
        """Return some columns, (n, k) float64.

        Raises:
            DataError: If a cell of one is no number, naming its line.
        """
        if self.values is not None:
            return self.values[:, list(columns)]
        for number, row in zip(self.lines, self.cells, strict=True):
            for i in columns:
                if not NUMBER.fullmatch(row[i]):
                    raise DataError.at(
                        self.path,
                        place=f"line {number}",
                        expected="a number",
                        found=repr(row[i].decode("utf-8")),
                        remedy="write numbers only, and '#' before any other text",
                    )
        rows = [[float(row[i]) for i in columns] for row in self.cells]
        return np.array(rows, np.float64).reshape(len(rows), len(columns))

    def all(self) -> NDArray[np.float64]:
        """Return all columns, as `take` does."""
        return self.take(range(self.width))


def read_table(
    path: str | PathLike[str],
    content: bytes,
    *,
    header: bool = False,
    numbered: bool = False,
    first_line: int = 1,
) -> Table:
    """Parse rows of numbers, separated by semicolons, commas, or blanks and tabs.

    The first row decides on the separator. A `#` that begins a cell begins a comment, blank lines
    are skipped, line ends may be of any kind. Cells may stand in double quotes; a separator behind
    the last cell of every row is passed over. Several tabs count as one, as blanks do, where they
    are so in every row: else there is an empty cell between two of them.

    Args:
        path: Named in errors.
        content: The text, UTF-8 with or without a byte-order mark.
        header: Take the first line for names of the columns if no cell of it is a number.
        numbered: Take it for names also if its numbers count 0, 1, 2, ... from 0 on.
        first_line: Number of the first line of `content` in the file.

    Returns:
        The rows; of width 0 if there is none.

    Raises:
        DataError: For rows of unequal length or with empty cells, naming the line; or if the file
            is not text, naming the byte.
    """
    try:
        if not content.isascii():
            content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError.at(
            path,
            place=f"byte {error.start}",
            expected="text in UTF-8",
            found=f"the byte {content[error.start]:02x}",
            remedy="write the numbers as plain text, or use npy for binary data",
        ) from error
    content = line_feeds(content.removeprefix(b"\xef\xbb\xbf"))
    head = find_head(content, header=header, numbered=numbered)
    body = content[head.stop :]
    _check_tabs(path, body, first_line + head.lines)
    quick = _plain(body)
    table = (
        Table(path, None, quick)
        if quick is not None
        else _careful(path, body, first_line + head.lines, head)
    )
    return _named(table, head, first_line)


def _check_tabs(path: str | PathLike[str], body: bytes, first: int) -> None:
    # Numbers must not slide into the columns of empty cells ahead of them.
    if b";" in body or b"," in body or not _EMPTY.search(body):
        return
    known: tuple[int, list[int]] | None = None
    for number, line in enumerate(body.split(b"\n"), start=first):
        cells = _ahead(line).rstrip().split(b"\t")
        if cells == [b""]:
            continue
        empty = [i for i, cell in enumerate(cells) if not cell.strip()]
        known = (number, empty) if known is None else known
        if empty != known[1]:
            raise DataError.at(
                path,
                place=f"line {number}",
                expected=f"a number in each cell, or empty ones as in line {known[0]}",
                found="empty cells between tabs, and others than there",
                remedy="fill the empty cells, or leave these points out",
            )


def _named(table: Table, head: Head, first_line: int) -> Table:
    # The table with the names of its head, if they are as many as it has columns.
    names = head.names
    if names is not None and table.width and len(names) == table.width + 1 and not names[-1]:
        names = names[:-1]  # of a separator at the end of that line alone
    if names is None or (head.remark and len(names) != table.width):
        return Table(table.path, None, table.values, table.cells, table.lines)
    if table.width and len(names) != table.width:
        raise DataError.at(
            table.path,
            place=f"line {first_line + head.line}",
            expected=f"a name for each of {table.width} columns, or no names",
            found=f"{len(names)}: {', '.join(names)}",
            remedy="correct that line, or put '#' before it",
        )
    return Table(table.path, names, table.values, table.cells, table.lines)


def _careful(path: str | PathLike[str], body: bytes, first: int, head: Head) -> Table:
    numbers: list[int] = []  # of the lines, counted from 1
    rows: list[list[bytes]] = []
    separator: bytes | None = None
    for number, line in enumerate(body.split(b"\n"), start=first):
        if not line.strip():
            continue
        if not rows:
            separator = next((mark for mark in (b";", b",") if mark in _ahead(line)), None)
        cells = split_cells(line, separator)
        if cells:
            rows.append(cells)
            numbers.append(number)
    if not rows:
        return Table(path, None, np.empty((0, 0)))
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
    if separator is not None and width > 1 and not any(cells[-1] for cells in rows):
        rows = [cells[:-1] for cells in rows]
    if all(NUMBER.fullmatch(cell) for cells in rows for cell in cells):
        return Table(path, None, np.array([list(map(float, cells)) for cells in rows]))
    return Table(path, None, None, tuple(map(tuple, rows)), tuple(numbers))


def _ahead(line: bytes) -> bytes:
    # What is ahead of a comment, roughly: a separator behind its sign is none.
    return line.split(b"#", 1)[0]


def _plain(content: bytes) -> NDArray[np.float64] | None:
    # What nearly all files are, a grid of numbers and nothing else, in a tenth of the time. None
    # for anything else, right or wrong.
    mark = next((mark for mark in b";," if mark in content), None)
    text = content if mark is None else content.replace(bytes([mark]), b" ")
    tokens = Tokens.find(text)
    values = token_floats(tokens)
    if values is None or len(values) == 0:
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
