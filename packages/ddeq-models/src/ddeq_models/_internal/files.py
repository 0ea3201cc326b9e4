"""Files that are there whole or not at all, and files from others, read without trust."""

import errno
import json
import math
import os
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from ddeq_models.errors import UserError

_MOST_JSON = 1 << 26  # bytes of a JSON file; no run has written as many
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)
_NO_WAIT = getattr(os, "O_NONBLOCK", 0)  # a pipe in the place of a file is not waited for


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that it is there whole or not at all, also after a crash.

    A link of that name is replaced and not followed.

    Raises:
        OSError: The folder does not exist, cannot be written to, or is full; with the file's name.
    """
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(temporary, 0o644)  # mkstemp's 0600 would keep colleagues from reading a run
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        # A write knows no name, and the temporary one is of no use to anybody.
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error


def write_output(path: Path, content: bytes) -> None:
    """Write a file where a user wants it: through a link, and never in the place of a device.

    Raises:
        UserError: There is something that is no file.
        OSError: As of `write_atomically`.
    """
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_file():
        what = "a folder" if target.is_dir() else "no file but a device or a pipe"
        raise UserError(f"{path} is {what}, which is not replaced; give the name of a file")
    write_atomically(target, content)


def owned_file(folder: Path, name: str) -> Path:
    """The place of a file of a folder, once it is sure that it belongs to it.

    A link is followed if it leads to a file beneath the folder, or from a snapshot of the Hugging
    Face Hub's cache to the files of that cache, its `blobs`; a link to anything else might show or
    change a file of the user's.

    Raises:
        UserError: It is a link that leads out of the folder, or no file.
        FileNotFoundError: It is not there.
    """
    path = folder / name
    if path.is_symlink():
        base, target = folder.resolve(), path.resolve()
        if not target.is_relative_to(base) and target.parent != base.parent.parent / "blobs":
            raise UserError(
                f"{path} is a link that leads out of its folder, which is not followed; put the "
                "file itself there"
            )
        path = target
    mode = os.stat(path, follow_symlinks=False).st_mode
    if not stat.S_ISREG(mode):
        raise UserError(f"{path} is not a file; put the file itself there")
    return path


def read_owned(folder: Path, name: str, most: int = _MOST_JSON) -> bytes:
    """The content of a file of a folder; see `owned_file`.

    Args:
        folder: The folder.
        name: Of the file.
        most: Bytes that it may have.

    Raises:
        UserError: It is larger, a link that leads out of the folder, or no file.
        OSError: It is not there, or cannot be read.
    """
    path = owned_file(folder, name)
    handle = os.open(path, os.O_RDONLY | _NO_LINK | _NO_WAIT)
    with open(handle, "rb") as file:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise UserError(f"{path} is not a file; put the file itself there")
        if status.st_size > most:
            raise UserError(f"{path} has more than {most:,} bytes, which no such file has")
        return file.read(status.st_size)


def open_owned(path: Path, flags: int) -> int:
    """Open a file that a run writes to, as `os.open` does; a link is not followed.

    Raises:
        UserError: It is a link, or no file.
        OSError: It cannot be opened.
    """
    try:
        handle = os.open(path, flags | _NO_LINK | _NO_WAIT, 0o644)
    except OSError as error:
        if error.errno == errno.ELOOP or (error.errno == errno.ENXIO and path.exists()):
            raise UserError(
                f"{path} is a link or a pipe, which a run does not write to; remove it"
            ) from error
        raise
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise UserError(f"{path} is not a file, and a run does not write to it; remove it")
    return handle


def parse_json(text: bytes) -> Any:
    """A JSON document whose numbers are all finite.

    Raises:
        ValueError: It is none; the text says why.
    """
    try:
        return json.loads(text.decode("utf-8"), parse_constant=_no_number, parse_float=_finite)
    except RecursionError:
        raise ValueError("too deeply nested") from None


def json_line(value: Any) -> str:
    """Strict JSON on one line: what is no finite number is null.

    Text that is not UTF-8, of a file's name say, is escaped as Python's `os.fsencode` reads it
    back.
    """
    strict = _strict(value)
    try:
        line = json.dumps(strict, ensure_ascii=False, allow_nan=False)
        line.encode("utf-8")
    except UnicodeEncodeError:
        line = json.dumps(strict, allow_nan=False)
    return line


def json_document(value: Any, indent: str = "") -> str:
    """JSON with a line for each key, and lists on one line."""
    if not isinstance(value, Mapping) or not value:
        return json_line(value)
    lines = [
        f"{indent}  {json_line(str(k))}: {json_document(v, indent + '  ')}"
        for k, v in value.items()
    ]
    return "{\n" + ",\n".join(lines) + f"\n{indent}}}"


def _strict(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _strict(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_strict(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"the number {text[:40]} is too large")
    return value


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number of JSON")
