"""Words of messages: names from elsewhere, and how many there are of a thing."""

from __future__ import annotations

import unicodedata

__all__ = ["counted", "shown"]

# Categories that are not shown as they are: controls, formats (which may turn the direction of a
# line round), lone surrogates (of names that are not UTF-8), private ones, ends of lines.
_HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def shown(text: str) -> str:
    r"""Return a text in one line that moves no cursor and rings no bell: `\x1b` for an escape.

    For a terminal or a log: file names, names of classes, and whatever a message quotes of a file.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(_escaped(c) if unicodedata.category(c) in _HIDDEN else c for c in text)


def counted(count: int, one: str, several: str = "") -> str:
    """Return "1 file" or "1,000 files".

    Args:
        count: How many there are.
        one: The word for one of them.
        several: That for any other number; empty for `one` and an s.
    """
    return f"{count:,} {one if count == 1 else several or one + 's'}"


def _escaped(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte of a name that is not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    return (
        f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}" if code < 65536 else f"\\U{code:08x}"
    )
