"""Points as lines of text, in the formats that have names of their own: xyz and pts."""

from __future__ import annotations

from os import PathLike

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ddeq_data.errors import DataError
from ddeq_data.readers.mesh import finite_vertices
from ddeq_data.readers.source import read_source
from ddeq_data.readers.table import read_table

__all__ = ["read_pts", "read_text", "read_xyz"]


def read_xyz(path: str | PathLike[str]) -> Tensor:
    """Read the coordinates of an xyz file: a point in each line, x y z and perhaps more.

    What follows the coordinates (normals, colours) is left out. Cells are separated by blanks,
    tabs, commas or semicolons; `#` starts a comment. The format of the same name for molecules
    is refused at its first line.

    Args:
        path: The file.

    Returns:
        Points (n, 3) float64.

    Raises:
        DataError: If it cannot be read or is malformed, naming the line.
    """
    content = read_source(path, "a point cloud")
    return finite_vertices(path, _coordinates(path, read_table(path, content)))


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
    content = read_source(path, "a point cloud")
    head, _, rest = content.replace(b"\r\n", b"\n").replace(b"\r", b"\n").partition(b"\n")
    head = head.removeprefix(b"\xef\xbb\xbf").strip()
    if not head.isdigit():
        return finite_vertices(path, _coordinates(path, read_table(path, content)))
    # A blank line in place of the number: the others keep theirs.
    points = _coordinates(path, read_table(path, b"\n" + rest))
    if len(head) > 15 or len(points) != int(head):
        raise DataError.at(
            path,
            place="line 1",
            expected=f"{head[:20].decode()} points, as it says",
            found=str(len(points)),
            remedy="fetch the file again, or correct the number",
        )
    return finite_vertices(path, points)


def read_text(path: str | PathLike[str], *, header: bool = False) -> Tensor:
    """Read rows of numbers from a text file, all columns of it.

    Numbers are separated by commas, semicolons, tabs or blanks; `#` starts a comment.

    Args:
        path: The file, of any suffix.
        header: Skip the first line if none of its cells is a number.

    Returns:
        (n, d) float64; (0, 0) if there is no row.

    Raises:
        DataError: If it cannot be read or is malformed, naming the line.
    """
    return torch.from_numpy(read_table(path, read_source(path, "rows of numbers"), header=header))


def _coordinates(path: str | PathLike[str], table: NDArray[np.float64]) -> NDArray[np.float64]:
    if len(table) and table.shape[1] < 3:
        raise DataError.at(
            path,
            expected="at least 3 numbers in each line, x y z",
            found=str(table.shape[1]),
            remedy="give the file the suffix .txt if its points are not of dimension 3",
        )
    return table[:, :3].reshape(-1, 3)
