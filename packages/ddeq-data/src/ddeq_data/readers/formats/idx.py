"""The IDX format of MNIST and its successors."""

from __future__ import annotations

import gzip
import math
import os
import sys
import zlib
from io import BufferedReader
from os import PathLike, fspath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ddeq_data.errors import DataError
from ddeq_data.readers.source import refuse_special

__all__ = ["read_idx"]

# Third byte of the file -> dtype; all are stored with the most significant byte first.
_DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_MAX_NDIM = 8  # numpy holds 32 or 64; no published file has more than 4
_PIECE = 1 << 20
# Values of more bytes than this must not be more than so many times those of a gzip file.
_SMALL, _RATIO = 1 << 26, 100
_FETCH = "fetch the file again"


def read_idx(path: str | PathLike[str]) -> NDArray[Any]:
    """Read an IDX file, raw or gzipped (told by its first bytes, not by its name).

    The file is two zero bytes, a byte for the dtype, a byte for the number of dimensions, each
    dimension as four bytes, then the values, all with the most significant byte first, and then
    nothing more.

    Args:
        path: The file.

    Returns:
        A writable array of the dtype and shape that the file states, in native byte order.

    Raises:
        DataError: If the file cannot be read, is cut short, has bytes to spare, or is not IDX;
            naming the byte, counted in the decompressed content.
    """
    refuse_special(path)
    try:
        with open(path, "rb") as file:
            zipped = file.peek(2)[:2] == b"\x1f\x8b"
            if not zipped:
                return _parse(path, file)
            most = max(_SMALL, _RATIO * os.fstat(file.fileno()).st_size)
            with gzip.GzipFile(fileobj=file) as content:
                return _parse(path, content, most)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError.at(
            path,
            expected="a whole gzip file",
            found=f"a damaged or truncated one ({error})",
            remedy=_FETCH,
        ) from error
    except OSError as error:
        raise DataError.at(
            path,
            expected="a readable file",
            found=error.strerror or str(error),
            remedy="check the path and its permissions",
        ) from error


def _parse(
    path: str | PathLike[str], file: BufferedReader | gzip.GzipFile, most: int = sys.maxsize
) -> NDArray[Any]:
    magic = file.read(4)
    if len(magic) < 4:
        raise _ends(path, len(magic), "the 4 bytes of the magic number")
    if magic[:2] != b"\0\0" or magic[2] not in _DTYPES or not 1 <= magic[3] <= _MAX_NDIM:
        raise DataError.at(
            path,
            place="byte 0",
            expected="the magic number of an IDX file, 00 00, dtype 08..0e, "
            f"1 to {_MAX_NDIM} dimensions",
            found=magic.hex(" "),
            remedy=f"check that this is an IDX file, or {_FETCH}",
        )
    dtype, ndim = np.dtype(_DTYPES[magic[2]]), magic[3]
    sizes = file.read(4 * ndim)
    if len(sizes) < 4 * ndim:
        raise _ends(path, 4 + len(sizes), f"{4 * ndim} bytes for the sizes of {ndim} dimensions")
    shape = tuple(int(size) for size in np.frombuffer(sizes, ">u4"))
    header = 4 + 4 * ndim
    promised = math.prod(shape) * dtype.itemsize
    # numpy cannot address some shapes even if they hold nothing: (0, 2**32 - 1, 2**32 - 1).
    if math.prod(max(size, 1) for size in shape) * dtype.itemsize > sys.maxsize:
        raise DataError.at(
            path,
            place="byte 4",
            expected="the sizes of an array that fits in memory",
            found=f"{shape}",
            remedy=_FETCH,
        )
    content = _read_up_to(file, min(promised, most) + 1)
    if len(content) > most:
        raise DataError.at(
            path,
            place="byte 4",
            expected=f"at most {most} bytes of values in a gzip file of this size",
            found=f"{promised} for shape {shape}",
            remedy="unpack it with gzip -d, if that is what it holds",
        )
    if len(content) < promised:
        raise _ends(path, header + len(content), f"{promised} bytes of values for shape {shape}")
    if len(content) > promised:
        raise DataError.at(
            path,
            place=f"byte {header + promised}",
            expected=f"the end of the file after {promised} bytes of values for shape {shape}",
            found="further bytes",
            remedy=_FETCH,
        )
    values = np.frombuffer(content, dtype).reshape(shape)
    return values.astype(dtype.newbyteorder("="), copy=False)


def _read_up_to(file: BufferedReader | gzip.GzipFile, count: int) -> bytearray:
    # Piece by piece: a header may promise more bytes than there is memory, and they are not there.
    content = bytearray()
    while len(content) < count:
        piece = file.read(min(_PIECE, count - len(content)))
        if not piece:
            break
        content += piece
    return content


def _ends(path: str | PathLike[str], byte: int, expected: str) -> DataError:
    return DataError.at(
        fspath(path), place=f"byte {byte}", expected=expected, found="the end", remedy=_FETCH
    )
