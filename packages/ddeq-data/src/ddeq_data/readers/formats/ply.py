"""The Polygon File Format (Stanford PLY), ASCII and binary."""

from __future__ import annotations

from os import PathLike
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ddeq_data.errors import DataError
from ddeq_data.readers.columns import stacked
from ddeq_data.readers.formats.ply_header import Element, Header, parse_header
from ddeq_data.readers.source import read_source
from ddeq_data.readers.text.numbers import NumberStream, line_feeds
from ddeq_data.readers.vertices import checked_mesh
from ddeq_data.shapes.mesh import Mesh

__all__ = ["Ply", "parse_ply", "read_ply"]

_CORNERS = ("vertex_indices", "vertex_index")
_FETCH = "fetch or export the file again"


def read_ply(path: str | PathLike[str]) -> Mesh:
    """Read a mesh or a point cloud from a PLY file, ASCII or binary of either byte order.

    Coordinates are the properties `x`, `y`, `z` of the element `vertex`, in any order and among
    any others; faces the list `vertex_indices` or `vertex_index` of the element `face`. All else
    (normals, colours, edges, materials) is passed over; triangle strips are not faces.

    A polygon (v0, v1, ..., vk) becomes the triangles (v0, v1, v2), (v0, v2, v3), ...; one of fewer
    than 3 corners is left out, triangles without area are kept.

    Args:
        path: The file.

    Returns:
        Vertices (V, 3) float64 and faces (F, 3) int64, (0, 3) where there are none.

    Raises:
        DataError: If it cannot be read, is not PLY or damaged, naming line, byte, vertex or face.
    """
    ply = parse_ply(path, "xyz")
    vertices = stacked([ply.vertex[axis] for axis in "xyz"], range(3), len(ply.vertex["x"]))
    return checked_mesh(path, vertices, ply.corners, ply.counts)


class Ply(NamedTuple):
    """What a PLY file holds.

    Attributes:
        vertex: The numbers of each vertex by the name of their property, (V,) each; lists not.
        corners: (K,) int64, the corners of all polygons, one after another.
        counts: (P,) int64, the number of corners of each polygon.
    """

    vertex: dict[str, NDArray[np.generic]]
    corners: NDArray[np.int64]
    counts: NDArray[np.int64]


def parse_ply(path: str | PathLike[str], axes: str = "") -> Ply:
    """Parse a PLY file.

    Args:
        path: The file.
        axes: Properties that the vertices must have.

    Raises:
        DataError: If it cannot be read, is not PLY or damaged, or has no such vertices.
    """
    content = read_source(path, "a mesh")
    header = parse_header(path, content)
    tables = {element.name: element for element in header.elements}
    there = tables["vertex"].properties if "vertex" in tables else ()
    single = [item.name for item in there if item.counter is None]
    if not single or not set(axes) <= set(single):
        raise DataError.at(
            path,
            place="header",
            expected="an element vertex with the properties x, y and z",
            found=", ".join(sorted(set(single) & set("xyz"))) or "none",
            remedy="export the file with its coordinates",
        )
    body = _Body(path, content, header)
    ply = Ply({}, np.empty(0, np.int64), np.empty(0, np.int64))
    for element in header.elements:
        columns = body.take(element)
        if element.name == "vertex":
            ply.vertex.update({name: columns[name][1] for name in single})
        elif element.name == "face":
            name = next((name for name in _CORNERS if name in columns), None)
            if name is not None:
                counts, corners = body.integers(columns[name][0]), body.integers(columns[name][1])
                ply = Ply(ply.vertex, corners, counts)
    body.finish()
    return ply


# The numbers of one property: how many in each row, and all of them end to end.
_Column = tuple[NDArray[np.generic], NDArray[np.generic]]


class _Body:
    """What follows the header, taken element by element.

    Text and binary bodies differ in what a position is, a number or a byte, and in how a row is
    cut out of them; the rest is alike.
    """

    def __init__(self, path: str | PathLike[str], content: bytes, header: Header) -> None:
        self.path, self.order = path, header.order
        self.text: NumberStream | None = None
        if header.order:
            self.binary = content[header.size :]
            self.start = header.size
            self.size = len(self.binary)
        else:
            text = line_feeds(content[header.size :])
            self.text = NumberStream.parse(path, text, header.lines + 1, _FETCH)
            self.size = len(self.text)
        self.position = 0

    def take(self, element: Element) -> dict[str, _Column]:
        """Return the columns of the next element."""
        if element.rows == 0 or not element.properties:
            return {item.name: (np.zeros(0, np.int64), np.zeros(0)) for item in element.properties}
        least = sum(
            self._width(item.dtype if item.counter is None else item.counter)
            for item in element.properties
        )
        if least * element.rows > self.size - self.position:
            raise self._refuse(self.size, f"{element.rows} rows of the element {element.name}")
        first = [self._row(element, self.position)]
        alike = self._alike(element, first[0])
        if alike is not None:
            return alike
        rows = []
        for _ in range(element.rows):
            row = self._row(element, self.position)
            rows.append(row)
            self.position = row[-1][2]
        columns = {}
        for i, item in enumerate(element.properties):
            spans = [row[i] for row in rows]
            counts = np.array([count for count, _, _ in spans])
            columns[item.name] = counts, self._gather([s[1:] for s in spans], item.dtype)
        return columns

    def integers(self, values: NDArray[np.generic]) -> NDArray[np.int64]:
        """Return corners or counts as integers."""
        wide = values.astype(np.float64)
        if not ((np.abs(wide) <= 2.0**53) & (wide == np.floor(wide))).all():
            raise DataError.at(
                self.path,
                place="element face",
                expected="whole numbers of vertices",
                found="another number",
                remedy=_FETCH,
            )
        return wide.astype(np.int64)

    def finish(self) -> None:
        """Check that nothing is left but white space."""
        rest = self.size - self.position
        if self.order and not self.binary[self.position :].strip():
            return
        if rest:
            raise DataError.at(
                self.path,
                place=self._place(self.position),
                expected="the end after the last element of the header",
                found=f"{rest} further {'bytes' if self.order else 'numbers'}",
                remedy=_FETCH,
            )

    def _row(self, element: Element, position: int) -> list[tuple[int, int, int]]:
        # For each property the number of its values, and where they begin and end.
        spans = []
        for item in element.properties:
            count = 1
            if item.counter is not None:
                stop = position + self._width(item.counter)
                if stop > self.size:
                    raise self._refuse(position, f"the length of a list {item.name}")
                value = float(self._gather([(position, stop)], item.counter)[0])
                if not 0 <= value <= self.size or value != int(value):
                    raise DataError.at(
                        self.path,
                        place=self._place(position),
                        expected=f"the length of a list {item.name}",
                        found=f"{value:g}",
                        remedy=_FETCH,
                    )
                count, position = int(value), stop
            stop = position + count * self._width(item.dtype)
            if stop > self.size:
                raise self._refuse(self.size, f"{count} numbers of {item.name}")
            spans.append((count, position, stop))
            position = stop
        return spans

    def _alike(
        self, element: Element, first: list[tuple[int, int, int]]
    ) -> dict[str, _Column] | None:
        # All rows at once, if each list is as long in every row as in the first.
        stride = first[-1][2] - self.position
        if stride * element.rows > self.size - self.position:
            return None
        stop = self.position + stride * element.rows
        source: NDArray[np.generic]
        if self.text is not None:
            source = self.text.values[self.position : stop]
        else:
            source = np.frombuffer(self.binary, np.uint8)[self.position : stop]
        table = source.reshape(element.rows, stride)
        columns: dict[str, _Column] = {}
        for item, (count, begin, end) in zip(element.properties, first, strict=True):
            begin, end = begin - self.position, end - self.position
            if item.counter is not None:
                ahead = table[:, begin - self._width(item.counter) : begin]
                if not (self._numbers(ahead, item.counter) == count).all():
                    return None
            values = self._numbers(table[:, begin:end], item.dtype)
            columns[item.name] = np.full(element.rows, count), values
        self.position = stop
        return columns

    def _numbers(self, table: NDArray[np.generic], dtype: str) -> NDArray[np.generic]:
        if not self.order:
            return table.ravel()
        return np.ascontiguousarray(table).reshape(-1).view(np.dtype(self.order + dtype))

    def _gather(self, spans: list[tuple[int, int]], dtype: str) -> NDArray[np.generic]:
        if self.text is not None:
            values = self.text.values
            return np.concatenate([values[begin:end] for begin, end in spans])
        joined = b"".join(self.binary[begin:end] for begin, end in spans)
        return np.frombuffer(joined, np.dtype(self.order + dtype))

    def _width(self, dtype: str) -> int:
        return np.dtype(dtype).itemsize if self.order else 1

    def _place(self, position: int) -> str:
        if self.text is not None:
            return self.text.place(position)
        return f"byte {self.start + position}"

    def _refuse(self, position: int, expected: str) -> DataError:
        return DataError.at(
            self.path,
            place=self._place(position),
            expected=expected,
            found="the end",
            remedy=_FETCH,
        )
