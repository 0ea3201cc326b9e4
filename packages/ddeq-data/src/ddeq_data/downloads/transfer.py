"""One file over HTTP into a part that later runs go on with."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

__all__ = ["Transfer", "TransferError"]

_PIECE = 1 << 18
_TRIES = 3  # in a row that bring nothing new
_WAIT = 0.2  # seconds, doubled from try to try
_SECONDS = 30.0  # without a byte
_SLOWEST = 1024  # bytes a second, on average over these seconds


class TransferError(Exception):
    """A server did not give the file; the text says why."""


class Transfer:
    """A downloader for pooch that goes on where an earlier one was cut.

    What has come is kept in `part`, also when the process is killed. The next request asks for
    what is behind it. A server that cannot do so sends the whole file, and it begins anew.

    Args:
        part: The file of what has come.
        seconds: Longest time to wait for a connection, and for the next byte; in as many at least
            `_SLOWEST` bytes a second must come.
        most: Bytes that the file has at most; of more none is kept.
    """

    def __init__(self, part: Path, seconds: float = _SECONDS, most: int = 1 << 26) -> None:
        self.part = part
        self.seconds = seconds
        self.most = most

    def __call__(self, url: str, output_file: str, pooch: object) -> None:
        """Receive a file and give it the name `output_file` as well.

        Raises:
            TransferError: If the server refuses, cuts the connection again and again, hardly
                sends anything, or sends more than there can be.
        """
        wait, failures, best = _WAIT, 0, self.size()
        while True:
            try:
                self._request(url)
                break
            except _Cut as error:
                # What was thrown away and comes again is no progress, nor is a byte now and then.
                onward = self.size() > best and not isinstance(error, _Slow)
                failures, best = 0 if onward else failures + 1, max(best, self.size())
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
                if total is not None and total > self.most:
                    raise TransferError(f"{total:,} bytes, where at most {self.most:,} can be")
                with open(self.part, "r+b" if start else "wb") as out:
                    out.seek(start)
                    for piece in self._pieces(answer.raw):
                        if out.tell() + len(piece) > self.most:
                            out.truncate(0)  # it is another file, or none
                            raise TransferError(f"more than {self.most:,} bytes, which it has not")
                        out.write(piece)
                        out.flush()
                    os.fsync(out.fileno())
                    have = out.tell()
        except broken as error:
            raise _Cut(_reason(error)) from error
        if total is not None and have != total:
            raise _Cut(f"the connection ended after {have:,} of {total:,} bytes")

    def _pieces(self, raw: Any) -> Iterator[bytes]:
        # What comes, as it comes; each wait for it is bounded by the connection's own limit.
        begun, come = time.monotonic(), 0
        read = getattr(raw, "read1", None)  # older ones wait for a whole piece
        while piece := raw.read(_SLOWEST) if read is None else read(_PIECE):
            yield piece
            come += len(piece)
            passed = time.monotonic() - begun
            if passed >= self.seconds:
                if come < _SLOWEST * passed:
                    raise _Slow(f"{come:,} bytes in {passed:.0f} seconds")
                begun, come = time.monotonic(), 0

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


class _Slow(_Cut):
    """Bytes come, but so few that there is no end to it."""


def _reason(error: BaseException) -> str:
    # What lies at the bottom ("Connection refused") without the layers of the libraries.
    text = str(error)
    while (below := error.__context__) is not None:
        error = below
        text = str(error) or text
    return f"{type(error).__name__}: {' '.join(text.split())}"
