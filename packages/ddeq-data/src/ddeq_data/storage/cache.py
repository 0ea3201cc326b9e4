"""Processed clouds on disk: written whole or not at all, checked, and mapped into memory."""

from __future__ import annotations

import contextlib
import glob
import hashlib
import json
import logging
import math
import operator
import os
import struct
import tempfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray

from ddeq_data._internal.locks import locked
from ddeq_data._internal.text import shown
from ddeq_data.errors import DataError
from ddeq_data.measures.packed import PackedClouds

__all__ = ["cached_clouds", "read_clouds", "write_clouds"]

_LOG = logging.getLogger(__name__)
# Magic number, then length and checksum of the description in JSON, then the arrays.
_HEAD = struct.Struct("<8sQI")
_MAGIC = b"DDEQPC01"
_ALIGN = 64
_PIECE = 1 << 24
_DTYPES = ("|u1", "<f2", "<f4", "<f8", "<i8")


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


def write_clouds(file: Path, clouds: PackedClouds, facts: str = "{}") -> None:
    """Write clouds to a file that is there whole or not at all.

    Args:
        file: The file; one that is there is replaced.
        clouds: The clouds.
        facts: Kept in the file.
    """
    arrays: dict[str, NDArray[Any]] = {
        "points": clouds.points.numpy(),
        "offsets": clouds.offsets.numpy(),
        "labels": clouds.labels.numpy(),
    }
    if clouds.weights is not None:
        arrays["weights"] = clouds.weights.numpy()
    entries, start = {}, 0
    for key, array in arrays.items():
        flat = np.ascontiguousarray(array)
        arrays[key] = flat
        entries[key] = {
            "dtype": flat.dtype.str,
            "shape": flat.shape,
            "start": start,
            "checksum": _checksum(flat),
        }
        start += -(-flat.nbytes // _ALIGN) * _ALIGN
    description = {
        "facts": facts,
        "arrays": entries,
        "size": start,
        "coordinates": clouds.coordinates,
    }
    text = json.dumps(description).encode()
    text += b" " * (-(_HEAD.size + len(text)) % _ALIGN)
    handle, partial = tempfile.mkstemp(prefix=f"{file.name}.", suffix=".partial", dir=file.parent)
    try:
        with open(handle, "wb") as out:
            out.write(_HEAD.pack(_MAGIC, len(text), zlib.crc32(text)) + text)
            for array in arrays.values():
                out.write(array.reshape(-1).view(np.uint8).data)
                out.write(bytes(-array.nbytes % _ALIGN))
            out.flush()
            os.fsync(out.fileno())  # the name must not be on disk before the bytes are
        os.chmod(partial, 0o644)
        os.replace(partial, file)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(partial)
        raise


def read_clouds(file: Path, facts: str | None = None) -> PackedClouds:
    """Map the clouds of a file that `write_clouds` wrote into memory.

    Every byte is read once, for the checksums.

    Args:
        file: The file.
        facts: What it must say of itself; None for anything.

    Raises:
        DataError: If it is not such a file, or damaged.
    """
    try:
        with open(file, "rb") as source:
            arrays, coordinates = _arrays(source, facts)
        mapped = {
            key: np.memmap(file, dtype, "c", start, shape)
            if 0 not in shape
            else np.empty(shape, dtype)
            for key, (dtype, start, shape, _) in arrays.items()
        }
        for key, (_, _, _, checksum) in arrays.items():
            if _checksum(mapped[key]) != checksum:
                raise ValueError(f"{key} of another checksum")
        tensors = {key: torch.from_numpy(array) for key, array in mapped.items()}
        return PackedClouds(
            tensors["points"],
            tensors.get("weights"),
            tensors["offsets"],
            tensors["labels"],
            coordinates,
        )
    # A description that is JSON, but another one than was written, may lead anywhere.
    except (OSError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError) as error:
        raise DataError.at(
            file,
            expected="processed clouds as they were written",
            found=f"a damaged file ({error})",
            remedy="delete it, it will be made again",
        ) from error


def _arrays(
    source: BinaryIO, facts: str | None
) -> tuple[dict[str, tuple[str, int, tuple[int, ...], int]], int | None]:
    # Dtype, first byte, shape and checksum of each array; and how many columns are coordinates.
    size = os.fstat(source.fileno()).st_size
    magic, length, checksum = _HEAD.unpack(source.read(_HEAD.size).ljust(_HEAD.size, b"\0"))
    if magic != _MAGIC or length > size:
        raise ValueError("another format")
    text = source.read(length)
    if zlib.crc32(text) != checksum:
        raise ValueError("a description of another checksum")
    description = json.loads(text)
    start = _HEAD.size + length
    if start + description["size"] != size:
        raise ValueError(f"{size} bytes, expected {start + description['size']}")
    if facts is not None and description["facts"] != facts:
        raise ValueError("clouds of other arguments")
    arrays = {}
    for key, entry in description["arrays"].items():
        if entry["dtype"] not in _DTYPES:
            raise ValueError(f"the dtype {entry['dtype']}")
        shape, begin = tuple(map(operator.index, entry["shape"])), operator.index(entry["start"])
        end = begin + math.prod(shape) * np.dtype(entry["dtype"]).itemsize
        if min(shape, default=0) < 0 or not 0 <= begin <= end <= size - start:
            raise ValueError(f"{key} of shape {shape} from byte {begin} on")
        arrays[key] = entry["dtype"], start + begin, shape, entry["checksum"]
    coordinates = description["coordinates"]
    return arrays, None if coordinates is None else int(coordinates)


def _checksum(array: NDArray[Any]) -> int:
    flat, value = array.reshape(-1).view(np.uint8), 0
    for first in range(0, len(flat), _PIECE):
        value = zlib.crc32(flat[first : first + _PIECE].data, value)
    return value
