"""One cloud from one file, whatever its format."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ddeq_data.errors import DataError
from ddeq_data.readers.columns import Columns, check_names, choose_columns, stacked
from ddeq_data.readers.formats.arrays import read_npy, read_npz
from ddeq_data.readers.formats.off import read_off
from ddeq_data.readers.formats.pcd import pcd_columns
from ddeq_data.readers.formats.ply import parse_ply
from ddeq_data.readers.formats.points import check_width, pts_table, xyz_table
from ddeq_data.readers.source import read_source
from ddeq_data.readers.text.table import Table, read_table
from ddeq_data.readers.vertices import checked_mesh

__all__ = ["SUFFIXES", "CloudFile", "read_cloud", "read_cloud_file"]

SUFFIXES = (".npy", ".npz", ".off", ".ply", ".pcd", ".xyz", ".pts", ".txt", ".csv")
_WHAT = "a point cloud"
_REPAIR = "remove or repair that point"


class CloudFile(NamedTuple):
    """What a file of points holds.

    Attributes:
        points: (n, d + f) float64, the coordinates first and the features behind them.
        weights: (n,) float64 summing to 1, or None where the file gives none.
        faces: (F, 3) int64, the triangles of a mesh; None for a format that has none.
        coordinates: d.
        kept: (rows,) bool, which rows of the file these points are: none of weight 0, and none
            without a measurement of a pcd.
    """

    points: Tensor
    weights: Tensor | None
    faces: Tensor | None
    coordinates: int
    kept: Tensor


def read_cloud(
    path: str | PathLike[str],
    *,
    dim: int | None = None,
    columns: Sequence[str] | None = None,
    features: Sequence[str] = (),
) -> tuple[Tensor, Tensor | None]:
    """Read a point cloud from a file, its format told by the suffix.

    - `.npy`: an array (n, d) of numbers. Pickled objects are refused.
    - `.npz`: such an array under the key `points`, or the only one in the file, or arrays (n,)
      under `x`, `y` and `z`; optionally `weights` (n,).
    - `.txt`, `.csv`, `.xyz`, `.pts`: a point on each line, its numbers separated by commas,
      semicolons, tabs or blanks; a `#` that begins a cell begins a comment. A line of words ahead
      of the points names the columns; so do the remarks `# x y z` and `//X Y Z`, and in a `.csv`
      the numbers 0, 1, 2, ... Without names the columns of `.xyz` and `.pts` are x, y, z and what
      is passed over, see `read_xyz` and `read_pts`; those of `.txt` and `.csv` all are
      coordinates, up to three: of more, `columns` or `dim` must say what they are.
    - `.pcd`: the fields, see `read_pcd`.
    - `.off`, `.ply`: the vertices; see `read_off`, `read_ply`, and `sample_surface` for points
      that are spread over the faces.

    Where columns have names, coordinates are `x`, `y` and, if it is there, `z`, in this order, in
    small or capital letters; `weight` or `weights`, at least 0, are divided by their sum, and
    points of weight 0 are padding and left out. All else (an index, a label, normals, colours) is
    passed over unless it is asked for.

    Args:
        path: The file.
        dim: How many columns the points must have, features included; None for any.
        columns: The columns that are coordinates, in this order: by name, by key of an npz (all
            columns of its array), or by number from 0, ("0", "1"). None for the rules above.
        features: Further columns, put behind the coordinates: ("nx", "ny", "nz"), ("normals",).

    Returns:
        Points (n, d + f) float64, as precise as the file has them, and weights (n,) float64
        summing to 1, or None where the file gives none.

    Raises:
        DataError: If the file is missing or not of these formats, or holds no cloud: no points,
            another dimension, columns that are missing or that nothing tells apart, numbers that
            are not finite or beyond float32, malformed lines; naming the place.
        ValueError: If `columns` or `features` are no names, or name a column twice.
    """
    cloud = read_cloud_file(path, dim=dim, columns=columns, features=features)
    return cloud.points, cloud.weights


def read_cloud_file(
    path: str | PathLike[str],
    *,
    dim: int | None = None,
    columns: Sequence[str] | None = None,
    features: Sequence[str] = (),
) -> CloudFile:
    """Read a point cloud, and the triangles between its points; see `read_cloud`."""
    check_names(columns, features)
    suffix = Path(path).suffix.lower()
    if Path(path).is_file() and suffix not in SUFFIXES:
        raise DataError.at(
            path,
            expected=f"a file that ends in {', '.join(SUFFIXES)}",
            found=repr(Path(path).suffix) if suffix else "no suffix",
            remedy="convert it to one of these, or rename it if it is one",
        )
    found, faces = _columns(path, suffix, columns, features)
    which = choose_columns(found, columns, features, dim)
    chosen = (*which.coordinates, *which.features)
    if dim is not None and len(chosen) != dim:
        raise DataError.at(
            path,
            expected=f"points of dimension {dim}",
            found=f"{len(chosen)} columns",
            remedy="leave out columns that are no coordinates, or say with columns= (--columns) "
            "which are; weights go under the key 'weights' of an npz file",
        )
    points = found.take(chosen)
    rows = np.arange(len(points))
    weights: NDArray[Any] | None = None
    if which.weights is not None:
        name = (found.names or ())[which.weights]
        weights = _shares(path, name, found.take([which.weights])[:, 0])
        rows = np.flatnonzero(weights)
    if suffix == ".pcd":  # a pixel without a measurement
        rows = rows[~np.isnan(points[rows, : len(which.coordinates)]).any(1)]
    kept = torch.zeros(len(points), dtype=torch.bool)
    kept[torch.from_numpy(rows)] = True
    if len(rows) < len(points):
        faces = None if faces is None else _faces_of(faces, rows, len(points))
        points, weights = points[rows], None if weights is None else weights[rows]
    _check(path, points, rows)
    return CloudFile(
        torch.from_numpy(np.require(points, np.float64, ["C", "W"])),
        None if weights is None else torch.from_numpy(weights / weights.sum()),
        None if faces is None else torch.from_numpy(faces),
        len(which.coordinates),
        kept,
    )


def _columns(
    path: str | PathLike[str],
    suffix: str,
    columns: Sequence[str] | None,
    features: Sequence[str],
) -> tuple[Columns, NDArray[np.int64] | None]:
    # The columns of a file, and its triangles.
    match suffix:
        case ".off":
            mesh = read_off(path)
            vertices = mesh.vertices.numpy()
            axes = [vertices[:, i] for i in range(3)]
            found = Columns(
                path, ("x", "y", "z"), 3, lambda which: stacked(axes, which, len(vertices))
            )
            return found, mesh.faces.numpy()
        case ".ply":
            ply = parse_ply(path)
            names, parts = tuple(ply.vertex), list(ply.vertex.values())
            rows = len(parts[0])
            # The triangles are those of vertices that are finite: `_check` sees to them.
            faces = checked_mesh(path, np.zeros((rows, 3)), ply.corners, ply.counts).faces.numpy()
            return Columns(path, names, len(names), lambda w: stacked(parts, w, rows)), faces
        case ".pcd":
            return pcd_columns(path), None
        case ".npy":
            points = read_npy(path, read_source(path, _WHAT))
            if points.ndim != 2:
                raise DataError.at(
                    path,
                    expected="points of shape (n, d)",
                    found=f"an array of shape {points.shape}",
                    remedy="write one cloud to a file, a point in each row",
                )
            width = points.shape[1]
            every = tuple(range(width))
            return Columns(path, None, width, lambda w: points[:, list(w)], base=every), None
        case ".npz":
            return read_npz(path, read_source(path, _WHAT), columns, features), None
        case ".xyz" | ".pts":
            table = xyz_table(path) if suffix == ".xyz" else pts_table(path)
            check_width(path, table)
            return _of_table(path, table, leading=3), None
        case _:
            csv = suffix == ".csv"
            table = read_table(path, read_source(path, _WHAT), header=True, numbered=csv)
            return _of_table(path, table, leading=None), None


def _of_table(path: str | PathLike[str], table: Table, leading: int | None) -> Columns:
    if table.rows == 0:
        _check(path, np.empty((0, 0)), np.empty(0))
    if table.names is None:
        table.all()  # without names every cell must be a number
    return Columns(path, table.names, table.width, table.take, leading=leading)


def _check(path: str | PathLike[str], points: NDArray[Any], rows: NDArray[Any]) -> None:
    if points.size == 0:
        raise DataError.at(
            path,
            expected="at least one point",
            found=f"{points.shape[0]} points of dimension {points.shape[1]}",
            remedy="leave this file out",
        )
    with np.errstate(over="ignore", invalid="ignore"):  # beyond float32 becomes inf
        wrong = np.flatnonzero(~np.isfinite(points.astype(np.float32)).all(1))
    if len(wrong):
        values = ", ".join(str(value) for value in points[wrong[0]])
        raise DataError.at(
            path,
            place=f"point {rows[wrong[0]]} (counted from 0)",
            expected="finite numbers in the range of float32",
            found=f"({values})",
            remedy=_REPAIR,
        )


def _shares(
    path: str | PathLike[str], name: str, weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    # The weights divided by their sum.
    place = f"key {name!r}"
    wrong = np.flatnonzero(~(np.isfinite(weights) & (weights >= 0)))
    if len(wrong):
        raise DataError.at(
            path,
            place=f"{place}, row {wrong[0]} (counted from 0)",
            expected="a finite weight of at least 0",
            found=f"{weights[wrong[0]]:g}",
            remedy="repair that weight",
        )
    largest = weights.max(initial=0.0)
    if largest == 0:
        raise DataError.at(
            path,
            place=place,
            expected="at least one point of positive weight",
            found="none",
            remedy="repair the weights, or leave this file out",
        )
    scaled = weights / largest  # so that the sum cannot overflow
    share: NDArray[np.float64] = scaled / scaled.sum()
    return np.where(share.astype(np.float32) > 0, share, 0.0)  # what float32 rounds to 0 is padding


def _faces_of(faces: NDArray[np.int64], rows: NDArray[np.intp], count: int) -> NDArray[np.int64]:
    # The triangles between the points that are left, by their new numbers.
    place = np.full(count, -1)
    place[rows] = np.arange(len(rows))
    moved: NDArray[np.int64] = place[faces]
    return moved[(moved >= 0).all(1)]
