"""The tokens of a text, and the numbers that they spell, all at once.

Eight digits are one word of 64 bits, of which three multiplications make a number (a known trick
of parsers within a register; here the registers are arrays).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["NUMBER", "Tokens"]

NUMBER = re.compile(rb"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?(nan|inf|infinity)", re.I)
# Two words may be read that end at any token: so many bytes are ahead of the first.
_AHEAD = 16
# A decimal of at most 15 digits is an integer below 2^53 over a power of ten of at most 10^22,
# both exact in float64: their quotient is the correctly rounded value (Clinger, "How to read
# floating point numbers accurately", PLDI 1990).
_DIGITS = 15
_POWERS = 10.0 ** np.arange(_DIGITS + 1)
# Of so many tokens one may be of another form and read by itself.
_RARE = 64
# Bytes and tokens treated at once. Fresh memory costs more than the work on it: what fits into
# 128 kB is taken from memory that was used before, and remains in the cache.
_BYTES, _TOKENS = 2**16, 2**13


@dataclass(frozen=True, eq=False)
class Tokens:
    """Tokens of a text, told apart by white space; other control characters pass for it.

    Attributes:
        text: (N,) uint8, the text.
        starts: (K,) int32 or int64, where in `text` each begins; the first at 16 or later.
        ends: (K,) of the same dtype, where each has ended.
        shift: What to subtract from `starts` for places in the content.
        clean: Whether what stands between tokens is white space and nothing else.
    """

    text: NDArray[np.uint8]
    starts: NDArray[Any]
    ends: NDArray[Any]
    shift: int
    clean: bool

    @classmethod
    def find(cls, content: bytes, start: int = 0) -> Tokens:
        """Find all tokens of a text from byte `start` on."""
        ahead = max(_AHEAD - start, 0)
        text = np.frombuffer(b" " * ahead + content if ahead else content, np.uint8)
        first = start + ahead
        # Much of this is never written to, and takes no memory then.
        dtype = np.int32 if len(text) < 2**31 else np.int64
        edges = np.empty(len(text) - first + 2, dtype)
        count, last, clean = 0, False, True
        for at in range(first, len(text), _BYTES):
            block = text[at : at + _BYTES]
            token = block > 32
            # 9 to 13 are tabulators and ends of lines; below 9, and from 14 to 31, is no text.
            clean = clean and bool(block.min() > 8) and not bool((block - 14 < 18).any())
            found = np.flatnonzero(token[1:] != token[:-1])
            if token[0] != last:
                edges[count] = at
                count += 1
            np.add(found, at + 1, out=edges[count : count + len(found)], casting="unsafe")
            count, last = count + len(found), token[-1]
        if last:
            edges[count] = len(text)
            count += 1
        return cls(text, edges[0:count:2], edges[1:count:2], ahead, clean)

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, chosen: Any) -> Tokens:
        """Return some of the tokens, as numpy takes them from an array."""
        return Tokens(self.text, self.starts[chosen], self.ends[chosen], self.shift, self.clean)

    def columns(self, width: int, first: int) -> Tokens:
        """Return the tokens of a table of `width` columns without the `first` ones."""
        starts, ends = (
            edges.reshape(-1, width)[:, first:].ravel() for edges in (self.starts, self.ends)
        )
        return Tokens(self.text, starts, ends, self.shift, self.clean)

    def offsets(self) -> NDArray[np.int64]:
        """Return the byte of the content at which each token begins."""
        return self.starts.astype(np.int64) - self.shift

    def span(self) -> bytes:
        """Return the text from the first token to the last."""
        return self.text[self.starts[0] : self.ends[-1]].tobytes() if len(self) else b""

    def lines(self) -> int:
        """Count the lines from the first token to the last."""
        if len(self) == 0:
            return 0
        text = self.text[self.starts[0] : self.ends[-1]]
        blocks = (text[at : at + _BYTES] for at in range(0, len(text), _BYTES))
        return 1 + sum(int(np.count_nonzero(block == 10)) for block in blocks)

    def begin_lines(self) -> bool:
        """Whether each token stands at the very beginning of a line."""
        return bool((self.text[self.starts - 1] == 10).all())

    def are(self, character: str) -> bool:
        """Whether each token is this one character."""
        alone = (self.ends - self.starts == 1).all()
        return bool(alone and (self.text[self.starts] == ord(character)).all())

    def naturals(self) -> NDArray[np.int64] | None:
        """Read integers of at most 15 digits and no sign; None if there is anything else."""
        if not self.clean:
            return None
        values = np.empty(len(self), np.int64)
        for at in range(0, len(self), _TOKENS):
            block = self[at : at + _TOKENS]
            length = block.ends - block.starts
            if length.max() > _DIGITS:
                return None
            values[at : at + _TOKENS], wrong = block._digits(block.ends, length)
            if wrong.any():
                return None
        return values

    def decimals(self) -> NDArray[np.float64] | None:
        """Read decimals of at most 15 digits, a few others among them; None if there are more.

        The values are correctly rounded.
        """
        if not self.clean:
            return None
        values = np.empty(len(self))
        for at in range(0, len(self), _TOKENS):
            block = self[at : at + _TOKENS]
            if not block._decimals(values[at : at + _TOKENS]):
                return None
        return values

    def _decimals(self, values: NDArray[np.float64]) -> bool:
        negative = self.text[self.starts] == ord("-")
        starts = self.starts + negative
        first, last = int(self.starts[0]), int(self.ends[-1])
        points = np.flatnonzero(self.text[first:last] == ord(".")).astype(starts.dtype)
        points += first
        whole = self.ends  # where the digits ahead of the point end
        other = np.zeros(len(self), bool)
        if len(points) == len(self) and ((starts <= points) & (points < self.ends)).all():
            whole = points  # the usual case: a point in each
        elif len(points):
            owner = np.searchsorted(self.starts, points, side="right") - 1
            whole = self.ends.copy()
            whole[owner] = points
            other[owner[1:][owner[1:] == owner[:-1]]] = True
        ahead, behind = whole - starts, np.maximum(self.ends - whole - 1, 0)
        digits = ahead + behind
        other |= (digits > _DIGITS) | (digits == 0)
        if other.any():
            ahead, behind = np.where(other, 0, ahead), np.where(other, 0, behind)
        left, wrong = self._digits(whole, ahead)
        other |= wrong
        right, wrong = self._digits(self.ends, behind)
        other |= wrong
        power = _POWERS[behind]
        np.divide(left * power + right, power, out=values)
        np.negative(values, out=values, where=negative)
        odd = np.flatnonzero(other)
        if _RARE * len(odd) > max(len(self), _RARE):
            return False
        for k in odd:
            word = self.text[self.starts[k] : self.ends[k]].tobytes()
            if not NUMBER.fullmatch(word):
                return False
            values[k] = float(word)
        return True

    def _digits(
        self, ends: NDArray[Any], length: NDArray[Any]
    ) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        # The numbers of the last `length` bytes, at most 16, before `ends`, and which are none.
        if length.max() <= 8:
            return self._eight(ends, length)
        values, wrong = self._eight(ends, np.minimum(length, 8))
        long = np.flatnonzero(length > 8)
        more, none = self._eight(ends[long] - 8, length[long] - 8)
        values[long] += 10**8 * more
        wrong[long] |= none
        return values, wrong

    def _eight(
        self, ends: NDArray[Any], length: NDArray[Any]
    ) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        words: NDArray[np.uint64] = np.ndarray((len(self.text) - 7,), "<u8", self.text, 0, (1,))
        word = words[ends - 8].astype(np.uint64, copy=False)
        word ^= np.uint64(0x3030303030303030)
        # The last digit is in the highest byte; what stands before the first one goes out below.
        unused = (64 - 8 * length).astype(np.uint64)
        word >>= unused
        word <<= unused
        wrong = word + np.uint64(0x7676767676767676)  # a byte above 9 reaches 128
        wrong |= word
        wrong &= np.uint64(0x8080808080808080)
        word *= np.uint64(10 * 2**8 + 1)
        word >>= np.uint64(8)
        word &= np.uint64(0x00FF00FF00FF00FF)
        word *= np.uint64(100 * 2**16 + 1)
        word >>= np.uint64(16)
        word &= np.uint64(0x0000FFFF0000FFFF)
        word *= np.uint64(10000 * 2**32 + 1)
        word >>= np.uint64(32)
        return word.view(np.int64), wrong != 0
