"""The one error of this package for all that is wrong with a file, and how it shows names."""

from __future__ import annotations

from os import PathLike, fspath

from ddeq_data._internal.text import shown

__all__ = ["DataError", "shown"]

_LONGEST = 200


class DataError(ValueError):
    """A file or folder of data is missing, damaged or not what it was taken for.

    The message is one sentence that names the file, the place in it, what was expected, what was
    found and what to do; a program may print it as it stands: control characters of names, and what
    else moves a cursor, are escaped.
    """

    # A plain message is all there is: a data loader's worker rebuilds the exception from its
    # text alone, which an __init__ with further arguments would break.

    @classmethod
    def at(
        cls,
        path: str | PathLike[str],
        *,
        expected: str,
        found: str,
        remedy: str,
        place: str = "",
    ) -> DataError:
        """Put a message together from its parts.

        Args:
            path: The file or folder.
            expected: What should have been there, completing "expected ...".
            found: What was there, completing "found ...".
            remedy: What the reader of the message can do, as an imperative.
            place: Line, byte, row or key within the file; empty where the whole file is meant.
        """
        # What a damaged file holds may be of any length and span lines; the message may not.
        found = " ".join(found.split())
        found = found if len(found) <= _LONGEST else f"{found[:_LONGEST]}..."
        where = f"{fspath(path)}, {place}" if place else fspath(path)
        return cls(shown(f"{where}: expected {expected}, found {found}; {remedy}."))
