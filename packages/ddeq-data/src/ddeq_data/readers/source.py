"""The bytes of a file, or why there are none."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

from ddeq_data.errors import DataError

__all__ = ["read_source", "refuse_special"]


def refuse_special(path: str | PathLike[str]) -> None:
    """See that nothing stands in the place of a file that would be waited for, or never ends.

    Raises:
        DataError: It is a pipe or a device.
    """
    file = Path(path)
    if file.exists() and not file.is_file() and not file.is_dir():
        raise DataError.at(
            path,
            expected="a file",
            found="a pipe or a device",
            remedy="put the file itself there",
        )


def read_source(path: str | PathLike[str], what: str) -> bytes:
    """Return the bytes of a file that is not empty.

    Args:
        path: The file.
        what: What is looked for in it, for the error: "a point cloud", "a mesh".

    Raises:
        DataError: If there is no such file, it cannot be read, or it is empty.
    """
    file = Path(path)
    refuse_special(path)
    if not file.is_file():
        folder = file.is_dir()
        raise DataError.at(
            path,
            expected="a file",
            found="a folder" if folder else "nothing",
            remedy="give the files in it, one by one" if folder else "check the path",
        )
    try:
        content = file.read_bytes()
    except OSError as error:
        raise DataError.at(
            path,
            expected="a readable file",
            found=error.strerror or str(error),
            remedy="check its permissions",
        ) from error
    if not content:
        raise DataError.at(
            path, expected=what, found="an empty file", remedy="write the file again"
        )
    return content
