"""One cloud from one file, whatever its format."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ddeq_data.errors import DataError
from ddeq_data.readers.arrays import read_npy, read_npz
from ddeq_data.readers.off import read_off
from ddeq_data.readers.pcd import read_pcd
from ddeq_data.readers.ply import read_ply
from ddeq_data.readers.points import read_pts, read_xyz
from ddeq_data.readers.source import read_source
from ddeq_data.readers.table import read_table

__all__ = ["SUFFIXES", "read_cloud"]

SUFFIXES = (".npy", ".npz", ".off", ".ply", ".pcd", ".xyz", ".pts", ".txt", ".csv")
_WHAT = "a point cloud"


def read_cloud(
    path: str | PathLike[str], *, dim: int | None = None
) -> tuple[Tensor, Tensor | None]:
    """Read a point cloud from a file, its format told by the suffix.

    - `.npy`: an array (n, d) of numbers. Pickled objects are refused.
    - `.npz`: such an array under the key `points`, or the only one in the file; optionally
      `weights` (n,), at least 0. They are divided by their sum; points of weight 0 are padding
      and left out.
    - `.txt`, `.csv`: a point on each line, its coordinates separated by commas, semicolons, tabs
      or blanks; `#` starts a comment; a `.csv` may begin with a line of names.
    - `.xyz`, `.pts`, `.pcd`: the coordinates x, y and z; see `read_xyz`, `read_pts`, `read_pcd`.
    - `.off`, `.ply`: the vertices; see `read_off`, `read_ply`, and `sample_surface` for points
      that are spread over the faces.

    Args:
        path: The file.
        dim: The dimension that points must have; None for any.

    Returns:
        Points (n, d) float32, and weights (n,) float32 summing to 1, or None where the file
        gives none.

    Raises:
        DataError: If the file is missing or not of these formats, or holds no cloud: no points,
            another dimension, numbers that are not finite, malformed lines; naming the place.
    """
    suffix = Path(path).suffix.lower()
    if Path(path).is_file() and suffix not in SUFFIXES:
        raise DataError.at(
            path,
            expected=f"a file that ends in {', '.join(SUFFIXES)}",
            found=repr(Path(path).suffix) if suffix else "no suffix",
            remedy="convert it to one of these, or rename it if it is one",
        )
    weights: NDArray[Any] | None = None
    points: NDArray[Any]
    match suffix:
        case ".off":
            points = read_off(path).vertices.numpy()
        case ".ply":
            points = read_ply(path).vertices.numpy()
        case ".pcd":
            points = read_pcd(path).numpy()
        case ".xyz":
            points = read_xyz(path).numpy()
        case ".pts":
            points = read_pts(path).numpy()
        case ".npy":
            points = read_npy(path, read_source(path, _WHAT))
        case ".npz":
            points, weights = read_npz(path, read_source(path, _WHAT))
        case _:
            points = read_table(path, read_source(path, _WHAT), header=suffix == ".csv")
    return _checked(path, points, weights, dim)


def _checked(
    path: str | PathLike[str],
    points: NDArray[Any],
    weights: NDArray[Any] | None,
    dim: int | None,
) -> tuple[Tensor, Tensor | None]:
    if points.ndim != 2:
        raise DataError.at(
            path,
            expected="points of shape (n, d)",
            found=f"an array of shape {points.shape}",
            remedy="write one cloud to a file, a point in each row",
        )
    if dim is not None and points.shape[1] != dim:
        raise DataError.at(
            path,
            expected=f"points of dimension {dim}",
            found=f"{points.shape[1]} columns",
            remedy="leave out columns that are no coordinates; weights go under the key "
            "'weights' of an npz file",
        )
    rows = np.arange(len(points))
    if weights is not None:
        weights = _checked_weights(path, weights, len(points))
        rows = np.flatnonzero(weights)
        points, weights = points[rows], weights[rows]
    if points.size == 0:
        raise DataError.at(
            path,
            expected="at least one point",
            found=f"{points.shape[0]} points of dimension {points.shape[1]}",
            remedy="leave this file out",
        )
    with np.errstate(over="ignore"):  # beyond float32 becomes inf, which is reported below
        narrow = points.astype(np.float32)
    wrong = np.flatnonzero(~np.isfinite(narrow).all(1))
    if len(wrong):
        values = ", ".join(str(value) for value in points[wrong[0]])
        raise DataError.at(
            path,
            place=f"point {rows[wrong[0]]} (counted from 0)",
            expected="finite numbers in the range of float32",
            found=f"({values})",
            remedy="remove or repair that point",
        )
    return (
        torch.from_numpy(narrow),
        None if weights is None else torch.from_numpy(weights.astype(np.float32)),
    )


def _checked_weights(
    path: str | PathLike[str], weights: NDArray[Any], count: int
) -> NDArray[np.float64]:
    # Returns the weights divided by their sum.
    if weights.shape != (count,):
        raise DataError.at(
            path,
            place="key 'weights'",
            expected=f"shape ({count},), one weight for each point",
            found=f"shape {weights.shape}",
            remedy="write as many weights as points",
        )
    wide = weights.astype(np.float64)
    wrong = np.flatnonzero(~(np.isfinite(wide) & (wide >= 0)))
    if len(wrong):
        raise DataError.at(
            path,
            place=f"key 'weights', row {wrong[0]} (counted from 0)",
            expected="a finite weight of at least 0",
            found=str(weights[wrong[0]]),
            remedy="repair that weight",
        )
    largest = wide.max(initial=0.0)
    if largest == 0:
        raise DataError.at(
            path,
            place="key 'weights'",
            expected="at least one point of positive weight",
            found="none",
            remedy="repair the weights, or leave this file out",
        )
    wide /= largest  # so that the sum cannot overflow
    share: NDArray[np.float64] = wide / wide.sum()
    return np.where(share.astype(np.float32) > 0, share, 0.0)  # what float32 rounds to 0 is padding
