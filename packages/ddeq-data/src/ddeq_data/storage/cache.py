"""Processed clouds that are made once: kept in a folder, by all that they depend on."""

from __future__ import annotations

import contextlib
import glob
import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ddeq_data._internal.locks import locked
from ddeq_data._internal.text import shown
from ddeq_data.errors import DataError
from ddeq_data.measures import PackedClouds
from ddeq_data.storage.clouds_file import read_clouds, write_clouds

__all__ = ["cached_clouds"]

_LOG = logging.getLogger(__name__)


def cached_clouds(
    folder: str | os.PathLike[str] | None,
    name: str,
    facts: Mapping[str, Any],
    make: Callable[[], PackedClouds],
) -> PackedClouds:
    """Return processed clouds from the cache, or make them and keep them there.

    The file is called `name` and a hash of `facts`, so that whatever is processed otherwise has a
    file of its own. It is written beside its place and moved there in one step, under a lock: of
    several processes that start at once, one makes it and the others wait. A file that is damaged
    (its checksums tell) is made anew. What comes back is mapped into memory, not read into it.

    Args:
        folder: Folder of the cache, made where it is missing; None for no cache.
        name: What the file is called, for the human eye.
        facts: All that the clouds depend on, as JSON can write it.
        make: Makes the clouds.

    Where the folder cannot be written to, they are made anew each time, and a warning is logged.
    """
    if folder is None:
        return make()
    wanted = json.dumps(dict(facts), sort_keys=True)
    digest = hashlib.blake2b(wanted.encode(), digest_size=16).hexdigest()
    file = Path(folder) / f"{name}-{digest}.clouds"
    try:
        with _hold(file):
            if file.exists():
                try:
                    return read_clouds(file, wanted)
                except DataError as error:
                    _LOG.warning("%s It is made anew.", error)
            # Under the lock nobody else writes: these were left by processes that were killed.
            for left in file.parent.glob(f"{glob.escape(file.name)}.*.partial"):
                left.unlink(missing_ok=True)
            made = make()
            try:
                write_clouds(file, made, wanted)
                return read_clouds(file, wanted)
            except OSError as error:  # a disk that is full, or a folder that is gone by now
                _LOG.warning(
                    "%s: processed clouds cannot be kept there (%s).",
                    shown(str(file)),
                    error.strerror or error,
                )
                return made
    except _Unwritable as error:
        # Data on a read-only disk, or somebody else's: they can be read, if not kept.
        with contextlib.suppress(DataError):
            return read_clouds(file, wanted)
        _LOG.warning(
            "%s: processed clouds cannot be kept there (%s), and are made anew each time.",
            shown(str(file.parent)),
            error.strerror or error,
        )
        return make()


class _Unwritable(OSError):
    """The folder of the cache cannot be written to."""


@contextlib.contextmanager
def _hold(file: Path) -> Iterator[None]:
    # The lock of a file of the cache, or `_Unwritable`; what goes wrong within is not touched.
    with contextlib.ExitStack() as stack:
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            stack.enter_context(locked(file.with_suffix(".lock")))
        except OSError as error:
            raise _Unwritable(error.errno, error.strerror) from error
        yield
