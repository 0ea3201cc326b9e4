"""Numbers as text, separated by white space: the body of most formats of geometry."""

from __future__ import annotations

import re
from dataclasses import dataclass
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ddeq_data.errors import DataError
from ddeq_data.readers.text.tokens import NUMBER, Tokens

__all__ = [
    "NumberStream",
    "header_end",
    "line_feeds",
    "token_floats",
    "token_integers",
    "uncommented",
]


_LONGEST = 1 << 20  # bytes of a line of a header
# A sign within a word is part of it: "1.#QNAN" is no 1 with a remark.
_COMMENT = re.compile(rb"(?<![^\s])#[^\n]*")


def line_feeds(content: bytes) -> bytes:
    """Return text whose lines end in line feeds, whatever they ended in, also in a mixture."""
    if b"\r" not in content:
        return content
    return content.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def header_end(content: bytes) -> bytes:
    """Return what ends the lines of a header ahead of binary data, told by its first line.

    A file may be ended by carriage returns alone and its data begin with the byte of a line feed:
    then these two are not one end.
    """
    window = content[:_LONGEST]
    first = min((at for at in (window.find(b"\n"), window.find(b"\r")) if at >= 0), default=0)
    lone = window[first : first + 1] == b"\r" and window[first : first + 2] != b"\r\n"
    return b"\r" if lone else b"\n"


def uncommented(content: bytes) -> bytes:
    """Return text without byte-order mark and `#` comments, its lines ended by line feeds.

    A comment begins with a `#` at the beginning of a word. Every line stays where it was, so that
    lines can be counted.
    """
    content = line_feeds(content.removeprefix(b"\xef\xbb\xbf"))
    return _COMMENT.sub(b"", content) if b"#" in content else content


def token_integers(tokens: Tokens) -> NDArray[np.int64] | None:
    """Parse all tokens of a text as integers, which saturate; None if one is anything else."""
    quick = tokens.naturals()
    return _scanned(tokens, np.int64) if quick is None else quick


def token_floats(tokens: Tokens) -> NDArray[np.float64] | None:
    """Parse tokens that stand next to each other, correctly rounded; None if one is no number."""
    quick = tokens.decimals()
    return _scanned(tokens, np.float64) if quick is None else quick


@dataclass(frozen=True, eq=False)
class NumberStream:
    """All numbers of a text in their order, and the lines that they came from.

    Attributes:
        path: Named in errors.
        content: The text.
        first_line: Number of its first line in the file, counted from 1.
        values: (K,) float64, the numbers.
        starts: (K,) the byte of `content` at which each begins.
    """

    path: str | PathLike[str]
    content: bytes
    first_line: int
    values: NDArray[np.float64]
    starts: NDArray[np.int64]

    @classmethod
    def parse(
        cls, path: str | PathLike[str], content: bytes, first_line: int, remedy: str
    ) -> NumberStream:
        """Parse a text that consists of numbers.

        Raises:
            DataError: For the first token that is no number, naming its line, with `remedy`.
        """
        tokens = Tokens.find(content)
        values = token_floats(tokens)
        if values is not None:
            return cls(path, content, first_line, values, tokens.offsets())
        # Not clean, or white space of the rarer kinds.
        matches = list(re.finditer(rb"\S+", content))
        for match in matches:
            if not NUMBER.fullmatch(match[0]):
                raise DataError.at(
                    path,
                    place=f"line {first_line + _newlines(content, match.start())}",
                    expected="a number",
                    found=repr(match[0].decode("ascii", "backslashreplace")),
                    remedy=remedy,
                )
        values = np.array([float(match[0]) for match in matches])
        return cls(path, content, first_line, values, np.array([m.start() for m in matches]))

    def __len__(self) -> int:
        return len(self.values)

    def place(self, index: int) -> str:
        """Name the line of number `index`, or of the end of the text."""
        byte = int(self.starts[index]) if index < len(self) else len(self.content.rstrip())
        return f"line {self.first_line + _newlines(self.content, byte)}"

    def per_line(self) -> NDArray[np.int64]:
        """Count the numbers of each line that has any."""
        ends = np.flatnonzero(np.frombuffer(self.content, np.uint8) == 10)
        counts = np.diff(np.searchsorted(self.starts, ends), prepend=0, append=len(self))
        return counts[counts > 0]

    def integers(self, first: int, stop: int, what: str) -> NDArray[np.int64]:
        """Return the numbers first to stop (exclusive) as integers that float64 holds exactly.

        Raises:
            DataError: For the first one that is no such integer, with `what` was expected.
        """
        values = self.values[first:stop]
        fit = (np.abs(values) <= 2.0**53) & (values == np.floor(values))
        if not fit.all():
            at = first + int(np.argmin(fit))
            raise DataError.at(
                self.path,
                place=self.place(at),
                expected=what,
                found=f"{self.values[at]:g}",
                remedy="repair that number, or fetch the file again",
            )
        return values.astype(np.int64)


def _newlines(content: bytes, stop: int) -> int:
    return content.count(b"\n", 0, stop)


def _scanned(tokens: Tokens, dtype: Any) -> NDArray[Any] | None:
    # numpy takes "1-2" for two numbers, and stops early at what is none: hence the count.
    if len(tokens) == 0 or not tokens.clean:
        return np.empty(0, dtype) if tokens.clean else None
    try:
        values = np.fromstring(tokens.span(), dtype, sep=" ")
    except (ValueError, DeprecationWarning):  # the latter from numpy before 2.3, under -W error
        return None
    return values if len(values) == len(tokens) else None
