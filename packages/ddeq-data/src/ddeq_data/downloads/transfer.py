"""One file over HTTP into a part that later runs go on with."""

from __future__ import annotations

import os
import re
import shutil
import time
from importlib import import_module
from pathlib import Path
from typing import Any

__all__ = ["Transfer", "TransferError"]

_PIECE = 1 << 18
_TRIES = 3  # in a row that bring nothing new
_WAIT = 0.2  # seconds, doubled from try to try
_SECONDS = 30.0  # without a byte


class TransferError(Exception):
    """A server did not give the file; the text says why."""


class Transfer:
    """A downloader for pooch that goes on where an earlier one was cut.

    What has come is kept in `part`, also when the process is killed. The next request asks for
    what is behind it. A server that cannot do so sends the whole file, and it begins anew.

    Args:
        part: The file of what has come.
        seconds: Longest time to wait for a connection, and for the next byte.
    """

    def __init__(self, part: Path, seconds: float = _SECONDS) -> None:
        self.part = part
        self.seconds = seconds

    def __call__(self, url: str, output_file: str, pooch: object) -> None:
        """Receive a file and give it the name `output_file` as well.

        Raises:
            TransferError: If the server refuses, or cuts the connection again and again.
        """
        wait, failures = _WAIT, 0
        while True:
            before = self.size()
            try:
                self._request(url)
                break
            except _Cut as error:
                failures = 0 if self.size() > before else failures + 1
                if failures == _TRIES:
                    come = f", {self.size():,} bytes have come" if self.size() else ""
                    raise TransferError(f"{error}{come}") from error
                time.sleep(wait)
                wait = 2 * wait if failures else _WAIT
        # The part stays until the file is checked and in its place: a process that is killed in
        # between does not have to fetch it again.
        os.unlink(output_file)
        try:
            os.link(self.part, output_file)
        except OSError:  # a file system without hard links
            shutil.copyfile(self.part, output_file)

    def size(self) -> int:
        """Bytes that have come."""
        return self.part.stat().st_size if self.part.exists() else 0

    def _request(self, url: str) -> None:
        requests: Any = import_module("requests")
        broken = (requests.RequestException, import_module("urllib3.exceptions").HTTPError)
        have = self.size()
        # A .gz must come as it is, not unpacked on the way.
        headers = {"Accept-Encoding": "identity"}
        if have:
            headers["Range"] = f"bytes={have}-"
        limits = (min(self.seconds, 10.0), self.seconds)
        try:
            with requests.get(url, headers=headers, stream=True, timeout=limits) as answer:
                start, total = self._place(answer, have)
                if start and start == total:
                    return
                with open(self.part, "r+b" if start else "wb") as out:
                    out.seek(start)
                    for piece in answer.raw.stream(_PIECE, decode_content=False):
                        out.write(piece)
                        out.flush()
                    os.fsync(out.fileno())
                    have = out.tell()
        except broken as error:
            raise _Cut(_reason(error)) from error
        if total is not None and have != total:
            raise _Cut(f"the connection ended after {have:,} of {total:,} bytes")

    def _place(self, answer: Any, have: int) -> tuple[int, int | None]:
        # The first byte that the server sends, and the length of the whole file if it says it.
        code = answer.status_code
        if code == 200:
            length = answer.headers.get("Content-Length")
            return 0, int(length) if length and length.isdigit() else None
        said = answer.headers.get("Content-Range", "")
        given = re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)", said)
        if code == 206 and given and given[1] is not None and int(given[1]) == have:
            return have, None if given[2] == "*" else int(given[2])
        if code == 416 and given and given[2] == str(have):
            return have, have  # there is nothing behind what has come
        if code in (206, 416):
            self.part.unlink(missing_ok=True)  # it belongs to another file
            raise _Cut(f"HTTP {code}, Content-Range {said!r}, asked for bytes from {have}")
        if code >= 500:
            raise _Cut(f"HTTP {code} {answer.reason}")
        raise TransferError(f"HTTP {code} {answer.reason}")


class _Cut(Exception):
    """Another try may help."""


def _reason(error: BaseException) -> str:
    # What lies at the bottom ("Connection refused") without the layers of the libraries.
    text = str(error)
    while (below := error.__context__) is not None:
        error = below
        text = str(error) or text
    return f"{type(error).__name__}: {' '.join(text.split())}"
