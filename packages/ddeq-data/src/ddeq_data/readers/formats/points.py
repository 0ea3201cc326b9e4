"""Points as lines of text, in the formats that have names of their own: xyz and pts."""

from __future__ import annotations

from os import PathLike

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ddeq_data.errors import DataError
from ddeq_data.readers.columns import Columns, choose_columns
from ddeq_data.readers.source import read_source
from ddeq_data.readers.text.numbers import line_feeds
from ddeq_data.readers.text.table import Table, read_table
from ddeq_data.readers.vertices import finite_vertices

__all__ = ["check_width", "pts_table", "read_pts", "read_text", "read_xyz", "xyz_table"]


def read_xyz(path: str | PathLike[str]) -> Tensor:
    """Read the coordinates of an xyz file: a point in each line, x y z and perhaps more.

    What follows the coordinates (normals, colours) is left out; where a line of words ahead of the
    points names the columns, x, y and z are found by their names. Cells are separated by blanks,
    tabs, commas or semicolons; `#` starts a comment. The format of the same name for molecules
    is refused at its first line.

    Args:
        path: The file.

    Returns:
        Points (n, 3) float64.

    Raises:
        DataError: If it cannot be read or is malformed, naming the line.
    """
    return finite_vertices(path, _coordinates(path, xyz_table(path)))


def read_pts(path: str | PathLike[str]) -> Tensor:
    """Read the coordinates of a pts file: x y z and perhaps more in each line.

    The number of points may stand alone in the first line, as Leica's scanners write it, or be
    left out, as in the ShapeNet part annotations. What follows the coordinates (intensity,
    colours) is left out.

    Args:
        path: The file.

    Returns:
        Points (n, 3) float64.

    Raises:
        DataError: If it cannot be read or is malformed, naming the line; or if there are not as
            many points as the first line says.
    """
    return finite_vertices(path, _coordinates(path, pts_table(path)))


def xyz_table(path: str | PathLike[str]) -> Table:
    """Parse the rows of an xyz file; see `read_xyz`."""
    return read_table(path, read_source(path, "a point cloud"), header=True)


def pts_table(path: str | PathLike[str]) -> Table:
    """Parse the rows of a pts file; see `read_pts`."""
    content = line_feeds(read_source(path, "a point cloud").removeprefix(b"\xef\xbb\xbf"))
    head, _, rest = content.partition(b"\n")
    head = head.strip()
    if not head.isdigit():
        return read_table(path, content, header=True)
    table = read_table(path, rest, header=True, first_line=2)
    if len(head) > 15 or table.rows != int(head):
        raise DataError.at(
            path,
            place="line 1",
            expected=f"{head[:20].decode()} points, as it says",
            found=str(table.rows),
            remedy="fetch the file again, or correct the number",
        )
    return table


def read_text(path: str | PathLike[str], *, header: bool = False) -> Tensor:
    """Read rows of numbers from a text file, all columns of it.

    Numbers are separated by commas, semicolons, tabs or blanks; `#` starts a comment.

    Args:
        path: The file, of any suffix.
        header: Pass the first line over if none of its cells is a number.

    Returns:
        (n, d) float64; (0, 0) if there is no row.

    Raises:
        DataError: If it cannot be read or is malformed, naming the line.
    """
    content = read_source(path, "rows of numbers")
    return torch.from_numpy(read_table(path, content, header=header).all())


def _coordinates(path: str | PathLike[str], table: Table) -> NDArray[np.float64]:
    if table.rows == 0:
        return np.empty((0, 3))
    check_width(path, table)
    if table.names is None:
        return table.all()[:, :3]
    found = Columns(path, table.names, table.width, table.take)
    return table.take(choose_columns(found, ("x", "y", "z"), (), None).coordinates)


def check_width(path: str | PathLike[str], table: Table) -> None:
    """See that the rows of an xyz or pts file can be points of dimension 3.

    Raises:
        DataError: If they are too short, or hold what is no number.
    """
    if table.names is not None or table.rows == 0:
        return
    if table.width < 3:
        raise DataError.at(
            path,
            expected="at least 3 numbers in each line, x y z",
            found=str(table.width),
            remedy="give the file the suffix .txt if its points are not of dimension 3",
        )
    table.all()
