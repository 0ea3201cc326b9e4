"""The header of a PLY file: which elements there are, and what each row of them holds."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike

from ddeq_data.errors import DataError
from ddeq_data.readers.text.numbers import header_end

__all__ = ["Element", "Header", "Property", "parse_header"]

_TYPES = {
    "char": "i1",
    "uchar": "u1",
    "short": "i2",
    "ushort": "u2",
    "int": "i4",
    "uint": "u4",
    "float": "f4",
    "double": "f8",
    "int8": "i1",
    "uint8": "u1",
    "int16": "i2",
    "uint16": "u2",
    "int32": "i4",
    "uint32": "u4",
    "float32": "f4",
    "float64": "f8",
    "int64": "i8",  # not of the standard, but written
    "uint64": "u8",
}
_ORDERS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}
_LONGEST = 1 << 20


@dataclass(frozen=True)
class Property:
    """A number or a list of numbers in each row.

    Attributes:
        name: Its name.
        dtype: numpy's code of the number, or of the members of the list, without byte order.
        counter: The code of the length ahead of a list; None for a single number.
    """

    name: str
    dtype: str
    counter: str | None


@dataclass(frozen=True)
class Element:
    """A table: its name, its number of rows and what each row holds."""

    name: str
    rows: int
    properties: tuple[Property, ...]


@dataclass(frozen=True)
class Header:
    """The whole header.

    Attributes:
        order: "" for text, "<" or ">" for binary numbers of that byte order.
        elements: The tables in their order.
        size: Bytes of the header.
        lines: Lines of the header.
    """

    order: str
    elements: tuple[Element, ...]
    size: int
    lines: int


def parse_header(path: str | PathLike[str], content: bytes) -> Header:
    """Parse the header of a PLY file.

    Raises:
        DataError: If it is none or damaged, naming the line.
    """

    def refuse(number: int, expected: str, found: str) -> DataError:
        return DataError.at(
            path,
            place=f"line {number}",
            expected=expected,
            found=found,
            remedy="export the file again, as ASCII or binary PLY",
        )

    order: str | None = None
    elements: list[tuple[str, int, list[Property]]] = []
    seen: set[tuple[int, str]] = set()
    end = header_end(content)
    position = number = 0
    while True:
        number += 1
        line, position = _line(content, position, end)
        if line is None:
            raise refuse(number, "the line end_header", "the end")
        words = line.split()
        match words:
            case ["ply"] if number == 1:
                continue
            case _ if number == 1:
                raise refuse(1, "the line ply", repr(line[:20]))
            case [] | ["comment" | "obj_info", *_]:
                continue
            case ["format", name, "1.0"] if name in _ORDERS and order is None:
                order = _ORDERS[name]
            case ["element", name, count] if count.isdecimal() and len(count) < 16:
                elements.append((name, int(count), []))
            case ["property", "list", counter, dtype, name] if elements and (
                _TYPES.get(counter, "f")[0] in "iu" and dtype in _TYPES
            ):
                elements[-1][2].append(Property(name, _TYPES[dtype], _TYPES[counter]))
            case ["property", dtype, name] if elements and dtype in _TYPES:
                elements[-1][2].append(Property(name, _TYPES[dtype], None))
            case ["end_header"]:
                break
            case _:
                raise refuse(
                    number,
                    "format, element, property, comment or end_header, in this order",
                    repr(line),
                )
        if words[0] == "property":
            own = len(elements), words[-1]
            if own in seen:
                raise refuse(number, "properties of different names", repr(line))
            seen.add(own)
    if order is None:
        raise refuse(number, "a line format ahead of it", "none")
    tables = tuple(Element(name, rows, tuple(items)) for name, rows, items in elements)
    if len({table.name for table in tables}) != len(tables):
        raise refuse(number, "elements of different names", ", ".join(t.name for t in tables))
    return Header(order, tables, position, number)


def _line(content: bytes, start: int, end: bytes) -> tuple[str | None, int]:
    # The line that begins at `start`, and where the next one does.
    stop = content.find(end, start, start + _LONGEST)
    if stop < 0:
        return None, start
    return content[start:stop].decode("ascii", "backslashreplace").strip(), stop + 1
