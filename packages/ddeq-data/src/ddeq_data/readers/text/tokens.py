"""The tokens of a text, and the numbers that they spell, all at once."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ddeq_data.readers.text.words import Words, joined, last_characters, number, over, without_point

__all__ = ["NUMBER", "Tokens"]

# Each part can match in one way only: a long number that ends in a letter is refused at once.
NUMBER = re.compile(rb"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?|[+-]?(nan|inf|infinity)", re.I)
# Two words may be read that end at any token: so many bytes are ahead of the first.
_AHEAD = 16
# A decimal of at most 15 digits is an integer below 2^53 over a power of ten of at most 10^22,
# both exact in float64: their quotient is the correctly rounded value (Clinger, "How to read
# floating point numbers accurately", PLDI 1990).
_DIGITS = 15
_WORD = 8
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
            clean = clean and bool(block.min() > 8) and bool((block - 14).min() > 17)
            found = np.flatnonzero(token[1:] != token[:-1])
            if token[0] != last:
                edges[count] = at
                count += 1
            np.add(found, at + 1, out=edges[count : count + len(found)])
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

    def begin_lines(self, character: str = "") -> bool:
        """Whether each token stands at the very beginning of a line, and is this one character."""
        before = self.starts.astype(np.intp) - 1
        if not character:
            return bool((self.text[before] == 10).all())
        pairs: NDArray[np.uint16] = np.ndarray((len(self.text) - 1,), "<u2", self.text, 0, (1,))
        alone = (self.ends - self.starts == 1).all()
        return bool(alone and (pairs[before] == 10 + (ord(character) << 8)).all())

    def naturals(self, out: NDArray[np.int64] | None = None) -> NDArray[np.int64] | None:
        """Read integers of at most 15 digits and no sign; None if there is anything else.

        Args:
            out: (K,) where to write them; None for a new array.
        """
        if not self.clean:
            return None
        values = np.empty(len(self), np.int64) if out is None else out
        for at in range(0, len(self), _TOKENS):
            if not self[at : at + _TOKENS]._naturals(values[at : at + _TOKENS]):
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

    def _naturals(self, values: NDArray[np.int64]) -> bool:
        ends = self.ends.astype(np.intp)
        length = (ends - self.starts).view(np.uint64)
        longest = length.max(initial=0)
        if longest > _DIGITS:
            return False
        ahead = over(length) if longest > _WORD else None
        own, wrong = number(last_characters(self.text, ends, length))
        values[:] = own
        if ahead is not None:
            more, none = number(last_characters(self.text, ends - 8, ahead))
            values += 10**8 * more
            wrong |= none
        return not wrong.any()

    def _decimals(self, values: NDArray[np.float64]) -> bool:
        starts, ends = self.starts.astype(np.intp), self.ends.astype(np.intp)
        negative = self.text[starts] == ord("-")
        length = (ends - starts - negative).view(np.uint64)
        long = np.flatnonzero(length > _WORD)
        if 4 * len(long) > len(self):
            other = self._quotients(ends, length, values, pairs=True)
        else:
            other = self._quotients(ends, length, values, pairs=False)
            if len(long):
                own = np.empty(len(long))
                other[long] = self._quotients(ends[long], length[long], own, pairs=True)
                values[long] = own
        np.negative(values, out=values, where=negative)
        odd = np.flatnonzero(other)
        if _RARE * len(odd) > max(len(self), _RARE):
            return False
        for k in odd:
            token = self.text[starts[k] : ends[k]].tobytes()
            if not NUMBER.fullmatch(token):
                return False
            values[k] = float(token)
        return True

    def _quotients(
        self, ends: NDArray[np.intp], length: Words, values: NDArray[np.float64], *, pairs: bool
    ) -> NDArray[np.bool_]:
        # Writes the decimals of up to 8 characters, or 16, to `values`; which of them are none.
        low = last_characters(self.text, ends, length.copy())
        if pairs:
            high = last_characters(self.text, ends - 8, over(length))
            high, low, behind, points = joined(high, low)
        else:
            low, behind, points = without_point(low)
        whole, wrong = number(low)
        if pairs:
            ahead, more = number(high)
            ahead *= 10**8
            whole += ahead
            wrong |= more
        other: NDArray[np.bool_] = wrong != 0
        other |= length <= points
        if pairs:
            other |= points > 1
            other |= length - points > _DIGITS
        np.divide(whole, np.take(_POWERS, behind.view(np.int64), mode="clip"), out=values)
        return other
