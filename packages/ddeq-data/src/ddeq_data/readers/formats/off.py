"""The Object File Format of Geomview, in which ModelNet comes."""

from __future__ import annotations

import re
from os import PathLike
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from ddeq_data.errors import DataError
from ddeq_data.readers.source import read_source
from ddeq_data.readers.text.numbers import NumberStream, token_floats, uncommented
from ddeq_data.readers.text.tokens import Tokens
from ddeq_data.readers.vertices import checked_mesh
from ddeq_data.shapes.mesh import Mesh

__all__ = ["read_off"]

# MeshLab writes NCOFF where the format says CNOFF.
_HEADER = re.compile(
    rb"\s*(ST)?(?:(C)(N)?|(N)(C)?)?(4)?(n)?OFF(?=[\s\d]|$)[ \t]*(BINARY)?", re.IGNORECASE
)
_COUNTS = re.compile(rb"\s*(\d{1,15})[ \t]+(\d{1,15})[ \t]+\d{1,15}[ \t]*\r?\n")
_FETCH = "fetch or export the file again"


def read_off(path: str | PathLike[str]) -> Mesh:
    """Read a mesh from an OFF file.

    The numbers are read as one stream, wherever lines are broken. Also read: ModelNet's merged
    header (`OFF490 518 0`), any kind of line end, blanks at the ends of lines, blank lines, `#`
    comments, a missing number of edges, further columns of vertices (colours, normals, texture:
    `COFF`, `NOFF`, `STOFF` and their combinations, also under a plain `OFF`) and colours of faces.
    Of these only coordinates and corners are kept.

    A polygon (v0, v1, ..., vk) becomes the triangles (v0, v1, v2), (v0, v2, v3), ...; one of fewer
    than 3 corners is left out, triangles without area are kept.

    Args:
        path: The file.

    Returns:
        Vertices (V, 3) float64 and faces (F, 3) int64.

    Raises:
        DataError: If it cannot be read, is not OFF or damaged, naming line, vertex or face.
    """
    content = uncommented(read_source(path, "a mesh"))
    header = _HEADER.match(content)
    if header is None or header[6] or header[7] or header[8]:
        raise DataError.at(
            path,
            place="line 1",
            expected="the header of a text file in three dimensions: OFF, COFF, NOFF, ...",
            found=repr(content[:32].lstrip()[:20].decode("ascii", "backslashreplace")),
            remedy="export the mesh as ASCII OFF",
        )
    plain = None if any(header.groups()) else _plain(path, content, header.end())
    if plain is not None:
        return plain
    line = 1 + content.count(b"\n", 0, header.end())
    body = content[header.end() :]
    stream = NumberStream.parse(path, body, line, "remove it, or put '#' before a comment")
    normal, colour = header[3] or header[4], header[2] or header[5]
    declared = 3 + 3 * bool(normal) + 4 * bool(colour) + 2 * bool(header[1])
    return _general(stream, declared)


def _plain(path: str | PathLike[str], content: bytes, start: int) -> Mesh | None:
    # The layout of nearly all files, a vertex in each line and then triangles, in a fraction of
    # the time: then it is known which numbers are integers. None if it is another one.
    counts = _COUNTS.match(content, start)
    if counts is None:
        return None
    vertices, faces = int(counts[1]), int(counts[2])
    tokens = Tokens.find(content, counts.end())
    if vertices < 1 or len(tokens) != 3 * vertices + 4 * faces:
        return None
    points, corners = tokens[: 3 * vertices], tokens[3 * vertices :]
    # As many lines as there are vertices and faces, and each of these begins one: otherwise a 3
    # ahead of three numbers might be a colour.
    if tokens.lines() != vertices + faces or not points[3::3].begin_lines():
        return None
    if not corners[::4].begin_lines("3"):
        return None
    places = token_floats(points)
    triangles = np.empty((faces, 3), np.int64)
    if places is None or any(
        corners[1 + k :: 4].naturals(triangles[:, k]) is None for k in range(3)
    ):
        return None
    return checked_mesh(path, places.reshape(vertices, 3), triangles.ravel(), None)


def _general(stream: NumberStream, declared: int) -> Mesh:
    lines = stream.per_line()
    # Two numbers in the first line and a point in the next: the number of edges is left out.
    lead = 2 if len(lines) > 1 and lines[0] == 2 and lines[1] >= 3 else 3
    if len(stream) < lead:
        _ends(stream, "the numbers of vertices, faces and edges")
    vertices, faces = map(int, stream.integers(0, 2, "a number of vertices or faces"))
    if min(vertices, faces) < 0:
        raise DataError.at(
            stream.path,
            place=stream.place(0),
            expected="the numbers of vertices and faces, at least 0",
            found=f"{vertices} and {faces}",
            remedy=_FETCH,
        )
    width = declared
    inner = lines[1 : 1 + vertices]
    if lines[0] == lead and len(inner) == vertices > 0 and 3 <= inner[0] <= 12:
        # A line for each vertex: these say how many columns there are, whatever the header does.
        width = int(inner[0]) if (inner == inner[0]).all() else declared
    first = lead + width * vertices
    if first <= len(stream):
        rest = stream.values[first:]
        aligned = lines[0] == lead and (inner == width).all()
        if not aligned:
            _check_line_ends(stream, lines, lead, width, first)
        # A line for each face, too: what follows the corners there is a colour. Else one stream.
        polygons = _lines(rest, lines[1 + vertices :], faces) if aligned else None
        if polygons is None:
            polygons = _polygons(rest, faces)
        if polygons is not None:
            points = stream.values[lead:first].reshape(vertices, width)[:, :3]
            return checked_mesh(stream.path, points, *polygons)
    return _refuse(stream, first, vertices, faces)


def _check_line_ends(
    stream: NumberStream, lines: NDArray[np.int64], lead: int, width: int, first: int
) -> None:
    # Lines may be broken anywhere. But where most hold a vertex, one that begins within a vertex
    # and ends beyond it shows that a number ahead of it is too many or lost.
    starts = np.cumsum(lines) - lines
    within = (starts >= lead) & (starts < first)
    begun = (starts - lead) % width
    strayed = within & (begun > 0) & (begun + lines > width)
    if strayed.any() and 2 * int((lines[within] == width).sum()) > int(within.sum()):
        # Ahead of the first that strays is one with another count, if only that of the header.
        other = (lines != width) & (starts < starts[strayed][0])
        other[0] |= lines[0] != lead
        odd = int(np.flatnonzero(other)[-1])
        raise DataError.at(
            stream.path,
            place=stream.place(int(starts[odd])),
            expected=f"the {width} numbers of a vertex, as in most lines",
            found=f"{lines[odd]} in this line",
            remedy=_FETCH,
        )


def _polygons(
    values: NDArray[np.float64], faces: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
    # Corners and counts, if `values` are `faces` times a count and as many corners.
    counts, where, position = [], np.ones(len(values), bool), 0
    for _ in range(faces):
        count = values[position] if position < len(values) else 0.0
        if not 1 <= count < len(values) or count != int(count):
            return None
        counts.append(int(count))
        where[position] = False
        position += 1 + int(count)
    corners = values[where]
    if position != len(values) or not _whole(corners):
        return None
    return corners.astype(np.int64), np.array(counts, np.int64)


def _lines(
    values: NDArray[np.float64], lines: NDArray[np.int64], faces: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
    # The same where each face has a line of its own, perhaps with a colour behind the corners.
    if len(lines) != faces:
        return None
    starts = np.cumsum(lines) - lines
    counts = values[starts]
    if not _whole(counts) or (counts < 1).any() or (counts >= lines).any():
        return None
    column = np.arange(len(values)) - np.repeat(starts, lines)
    corners = values[(column > 0) & (column <= np.repeat(counts, lines))]
    if not _whole(corners):
        return None
    return corners.astype(np.int64), counts.astype(np.int64)


def _whole(values: NDArray[np.float64]) -> bool:
    return bool(((np.abs(values) <= 2.0**53) & (values == np.floor(values))).all())


def _refuse(stream: NumberStream, first: int, vertices: int, faces: int) -> NoReturn:
    # Nothing fitted: find the first thing that is wrong with the simplest reading.
    if first > len(stream):
        _ends(stream, f"{vertices} vertices")
    position = first
    for face in range(faces):
        if position >= len(stream):
            _ends(stream, f"{faces} faces, of which {face} are there")
        (count,) = stream.integers(position, position + 1, "a number of corners")
        if count < 1:
            raise DataError.at(
                stream.path,
                place=stream.place(position),
                expected="a number of corners, at least 1",
                found=str(count),
                remedy=_FETCH,
            )
        if position + 1 + count > len(stream):
            _ends(stream, f"{count} corners of face {face} (counted from 0)")
        stream.integers(position + 1, position + 1 + int(count), "the number of a vertex")
        position += 1 + int(count)
    raise DataError.at(
        stream.path,
        place=stream.place(position),
        expected=f"the end after {vertices} vertices and {faces} faces",
        found=f"{len(stream) - position} further numbers",
        remedy=_FETCH,
    )


def _ends(stream: NumberStream, expected: str) -> NoReturn:
    raise DataError.at(
        stream.path,
        place=stream.place(len(stream)),
        expected=expected,
        found="the end",
        remedy=_FETCH,
    )
