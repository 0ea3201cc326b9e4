"""Arrays in numpy's own formats, npy and npz."""

from __future__ import annotations

import io
import math
import sys
import zipfile
from os import PathLike
from typing import Any

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from ddeq_data.errors import DataError

__all__ = ["read_npy", "read_npz"]

_VERSIONS = ((1, 0), (2, 0), (3, 0))


def read_npy(path: str | PathLike[str], content: bytes, place: str = "") -> NDArray[Any]:
    """Parse the content of an npy file that holds real numbers.

    Args:
        path: Named in errors.
        content: The bytes of the file.
        place: Where in the file `content` comes from, named in errors.

    Returns:
        An array of booleans, integers or floating numbers.

    Raises:
        DataError: If it is not npy, damaged, or holds anything else, pickled objects above all.
    """
    file = io.BytesIO(content)
    try:
        version = npy_format.read_magic(file)
        if version not in _VERSIONS:
            raise ValueError(f"unknown version {version}")
        if version == (1, 0):
            shape, fortran, dtype = npy_format.read_array_header_1_0(file)
        else:
            shape, fortran, dtype = npy_format.read_array_header_2_0(file)
    # The header is a Python literal; its parser has no short list of what it raises.
    except Exception as error:
        raise DataError.at(
            path,
            place=place,
            expected="an array in numpy's npy format",
            found=f"something else or a damaged header ({error})",
            remedy="write it with numpy.save",
        ) from error
    if dtype.kind not in "buif":
        raise DataError.at(
            path,
            place=place,
            expected="an array of real numbers",
            found="pickled Python objects, which are not loaded"
            if dtype.hasobject
            else f"dtype {dtype}",
            remedy="write a plain array of floating numbers with numpy.save",
        )
    promised, there = math.prod(shape) * dtype.itemsize, len(content) - file.tell()
    # An array without values may still state sizes beyond what numpy can address.
    extent = math.prod(max(size, 1) for size in shape) * dtype.itemsize
    if promised != there or min(shape, default=0) < 0 or extent > sys.maxsize:
        raise DataError.at(
            path,
            place=place,
            expected=f"{promised} bytes of values for shape {shape} and dtype {dtype}",
            found=f"{there}",
            remedy="write or fetch the file again",
        )
    flat = np.frombuffer(content, dtype, offset=file.tell())
    return flat.reshape(shape, order="F" if fortran else "C")


def read_npz(path: str | PathLike[str], content: bytes) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """Parse the content of an npz file with an array of points, and perhaps one of weights.

    Args:
        path: Named in errors.
        content: The bytes of the file.

    Returns:
        The array under the key `points`, or the only one besides `weights`; and that under the
        key `weights`, or None.

    Raises:
        DataError: If it is not npz or damaged, or no array can be told to be the points.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            names = [name.removesuffix(".npy") for name in archive.namelist()]
            others = [name for name in names if name != "weights"]
            if "points" not in others and len(others) != 1:
                raise DataError.at(
                    path,
                    expected="an array under the key 'points', or a single array",
                    found=f"the keys {', '.join(names)}" if names else "no array",
                    remedy="write it with numpy.savez(file, points=...)",
                )
            chosen = "points" if "points" in others else others[0]
            members = {name.removesuffix(".npy"): name for name in archive.namelist()}
            points = read_npy(path, archive.read(members[chosen]), f"key {chosen!r}")
            if "weights" not in names:
                return points, None
            return points, read_npy(path, archive.read(members["weights"]), "key 'weights'")
    except DataError:
        raise
    # zipfile lets through what its parts raise: RuntimeError, NotImplementedError, zlib.error, ...
    except Exception as error:
        raise DataError.at(
            path,
            expected="an archive in numpy's npz format",
            found=f"something else or a damaged one ({error})",
            remedy="write it with numpy.savez",
        ) from error
