"""Locks between processes that end with the process that holds them."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["Lock", "locked"]

if sys.platform == "win32":
    import msvcrt

    def _lock(handle: int) -> None:
        while True:
            try:
                msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
                return
            except OSError:
                time.sleep(0.05)

    def _try_lock(handle: int) -> bool:
        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    def _lock(handle: int) -> None:
        fcntl.flock(handle, fcntl.LOCK_EX)

    def _try_lock(handle: int) -> bool:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Hold the lock of a file, waiting for whoever holds it.

    The operating system lets go of it when the process ends, however that happens; the file
    remains and means nothing.

    Args:
        file: Made where it is missing; a link is not followed.
    """
    handle = os.open(file, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o644)
    try:
        _lock(handle)
        yield
    finally:
        os.close(handle)  # and with it the lock


class Lock:
    """A lock that is held, or not taken at all if somebody else holds it.

    The operating system lets go of it when the process ends, however that happens.
    """

    def __init__(self, file: Path, handle: int) -> None:
        self._file, self._handle = file, handle

    @classmethod
    def take(cls, file: Path) -> Lock | None:
        """Take the lock of a file, or return None if another process has it.

        Args:
            file: Made where it is missing; a link is not followed.

        Raises:
            OSError: It cannot be made or opened.
        """
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
        while True:
            handle = os.open(file, flags, 0o644)
            if not _try_lock(handle):
                os.close(handle)
                return None
            # Whoever held it before may have removed the file that was opened here.
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(handle), os.stat(file)):
                    return cls(file, handle)
            os.close(handle)

    def release(self) -> None:
        """Let go of it, and remove the file."""
        with contextlib.suppress(OSError):
            os.unlink(self._file)  # while it is held: nobody else is waiting for this one
        os.close(self._handle)
