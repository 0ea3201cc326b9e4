"""Numbers from words: eight characters of text in 64 bits, many words at once.

Of a word that holds digits three multiplications make a number (a known trick of parsers within a
register; here the registers are arrays). All steps are shifts and multiplications on unsigned
words, in place: what they cost is the passes over memory. The first character is in the lowest
byte; a shift by 64 or more leaves 0.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["Words", "joined", "last_characters", "number", "over", "without_point"]

Words = NDArray[np.uint64]

_ZEROS = np.uint64(0x3030303030303030)
_POINTS = np.uint64(0x1E1E1E1E1E1E1E1E)  # "." where "0" is 0
_ONES = np.uint64(0x0101010101010101)
_HIGH = np.uint64(0x8080808080808080)
_BEHIND = np.uint64(0x0706050403020100)
_BYTE, _SEVEN, _TOP = np.uint64(8), np.uint64(7), np.uint64(56)


def last_characters(text: NDArray[np.uint8], ends: NDArray[np.intp], length: Words) -> Words:
    """Return the last characters before each of `ends`, digits as 0 to 9; 0 ahead of them.

    Args:
        text: (N,) characters.
        ends: (K,) places in it, at least 8.
        length: (K,) how many characters, those beyond 8 left out; changed.
    """
    every: Words = np.ndarray((len(text) - 7,), "<u8", text, 0, (1,))
    words = every[ends - 8].astype(np.uint64, copy=False)
    words ^= _ZEROS
    np.minimum(length, _BYTE, out=length)
    np.subtract(_BYTE, length, out=length)
    length *= _BYTE
    words >>= length
    words <<= length
    return words


def over(length: Words) -> Words:
    """Return by how much each length exceeds a word."""
    excess: Words = np.maximum(length, _BYTE) - _BYTE
    return excess


def without_point(words: Words) -> tuple[Words, Words, Words]:
    """Take the first decimal point out of each word, what is ahead of it closing up.

    Args:
        words: (K,) characters, digits as 0 to 9.

    Returns:
        The words, the number of characters behind the point, and whether there is one (0 or 1).
    """
    # A byte is the point where this is 0: the lowest one at which the subtraction borrows.
    point = words ^ _POINTS
    other = ~point
    point -= _ONES
    point &= other
    point &= _HIGH
    np.negative(point, out=other)
    point &= other
    point >>= _SEVEN  # a 1 in the byte of the point
    found = (point != 0).astype(np.uint64)
    np.multiply(point, _BEHIND, out=other)
    other >>= _TOP
    ahead = point - found
    ahead &= words
    ahead *= np.uint64(255)  # once more makes 256: a byte higher
    point *= np.uint64(0x1E)
    ahead -= point
    ahead += words
    return ahead, other, found


def joined(high: Words, low: Words) -> tuple[Words, Words, Words, Words]:
    """Take the first decimal point out of pairs of words, `high` the characters ahead of `low`.

    Returns:
        Both words, the number of characters behind the point, and how many points were taken out
        (0, 1 or, which is one too many, 2).
    """
    closed, behind, found = without_point(low)
    # What is ahead of the point moves by one character, from one word into the other.
    if found.all():
        closed += high >> _TOP
        return high << _BYTE, closed, behind, found
    closed += (high >> _TOP) * found
    first, more, further = without_point(high << (_BYTE * found))
    behind += further * (more + _BYTE)
    return first, closed, behind, found + further


def number(words: Words) -> tuple[NDArray[np.int64], Words]:
    """Return the number that eight digits make, and what is not 0 where one is no digit.

    Args:
        words: (K,) digits as 0 to 9; changed.
    """
    wrong = words + np.uint64(0x7676767676767676)  # a byte above 9 reaches 128
    wrong |= words
    wrong &= _HIGH
    words *= np.uint64(10 * 2**8 + 1)
    words >>= _BYTE
    words &= np.uint64(0x00FF00FF00FF00FF)
    words *= np.uint64(100 * 2**16 + 1)
    words >>= np.uint64(16)
    words &= np.uint64(0x0000FFFF0000FFFF)
    words *= np.uint64(10000 * 2**32 + 1)
    words >>= np.uint64(32)
    return words.view(np.int64), wrong
