"""A file of clouds: written whole or not at all, checked, and mapped into memory."""

from __future__ import annotations

import contextlib
import json
import math
import operator
import os
import struct
import tempfile
import zlib
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray

from ddeq_data.errors import DataError
from ddeq_data.measures import PackedClouds

__all__ = ["read_clouds", "write_clouds"]

# Magic number, then length and checksum of the description in JSON, then the arrays.
_HEAD = struct.Struct("<8sQI")
_MAGIC = b"DDEQPC01"
_ALIGN = 64
_PIECE = 1 << 24
_DTYPES = ("|u1", "<f2", "<f4", "<f8", "<i8")


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
    if clouds.targets is not None:
        arrays["targets"] = clouds.targets.numpy()
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
            tensors.get("targets"),
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
