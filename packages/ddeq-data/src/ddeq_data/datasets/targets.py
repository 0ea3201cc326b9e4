"""Folders whose clouds have numbers, or whose points have labels, and no folders of classes."""

from __future__ import annotations

import csv
import math
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from ddeq_data._internal.text import counted
from ddeq_data.datasets.listing import PARTS, Listing, part_of, walk
from ddeq_data.datasets.processing import Source, file_key, pack_listing, read_shape
from ddeq_data.errors import DataError
from ddeq_data.measures import PackedClouds
from ddeq_data.readers.cloud import SUFFIXES
from ddeq_data.readers.text.tokens import NUMBER
from ddeq_data.shapes import AllPoints

__all__ = ["LABELS", "TARGETS", "labelled_clouds", "list_files", "list_numbers"]

TARGETS = "targets.csv"
"""The file, beside the clouds, that holds the numbers of each."""

LABELS = "classes.txt"
"""The file, beside the clouds, that names the labels of their points: one in each line."""

# What a table is separated by that is no CSV.
_OTHERS = {";": "semicolons", "\t": "tabs", "|": "bars"}

_MOST = 4096  # labels that are told apart


def list_files(root: Path, suffixes: Collection[str] | None = None) -> Listing:
    """List the clouds of a folder, however deep they lie in it.

    A file is for the part that a folder on its way is called after: train, test, validation, valid
    or val, in small or capital letters; links to folders are followed. Names that begin with a dot
    or two underscores are passed over, and beside the folders other files than clouds.

    Args:
        root: The folder.
        suffixes: Suffixes of the files to take; None for all that a cloud may have.

    Returns:
        The files, of one class.

    Raises:
        DataError: If there is no such folder, no cloud in it, or something else between them.
    """
    if not root.is_dir():
        raise DataError.at(
            root,
            expected="a folder of clouds",
            found="a file" if root.exists() else "nothing",
            remedy="check the path, or unpack the archive there",
        )
    wanted = set(SUFFIXES) if suffixes is None else {suffix.lower() for suffix in suffixes}
    files: list[Path] = []
    for path in sorted(walk(root)):
        file = path.relative_to(root)
        if file.suffix.lower() in wanted and str(file) not in (TARGETS, LABELS):
            files.append(file)
        elif len(file.parts) > 1 and suffixes is None:
            raise DataError.at(
                path,
                expected=f"files that end in {', '.join(SUFFIXES)}",
                found=repr(file.suffix),
                remedy="move it away",
            )
    if not files:
        raise DataError.at(
            root,
            expected=f"files that end in {', '.join(sorted(wanted))}",
            found="none",
            remedy="check the path, or unpack the archive there",
        )
    parts = [next(filter(None, map(part_of, file.parts[:-1])), "") for file in files]
    none = torch.zeros(len(files), dtype=torch.int64)
    return Listing(root, ("cloud",), tuple(files), none, tuple(parts))


class Numbers(NamedTuple):
    """Clouds of a folder with the numbers of each.

    Attributes:
        listing: The files.
        names: Of the numbers.
        values: (C, k) float64.
    """

    listing: Listing
    names: tuple[str, ...]
    values: Tensor


def list_numbers(root: Path, suffixes: Collection[str] | None = None) -> Numbers:
    """List the clouds of a folder, and what its ``targets.csv`` says of each.

    Its first line names the columns: ``file``, the path of a cloud relative to the folder;
    ``split``, if it is there, its part (train, validation, test, or nothing); and a column for each
    number. Every cloud has a row, and every row a cloud.

    Args:
        root: The folder.
        suffixes: See `list_files`.

    Raises:
        DataError: If that file or a row is missing, or a number is none; naming the line.
    """
    listing = list_files(root, suffixes)
    table = root / TARGETS
    if not table.is_file():
        raise DataError.at(
            table,
            expected="a table with the column file and a column for each number",
            found="nothing",
            remedy="write one, with a row for each cloud",
        )
    rows = _rows(table)
    _, head = next(rows, (1, []))
    names = tuple(name for name in head if name not in ("file", "split"))
    if len(head) == 1 and (apart := next((mark for mark in _OTHERS if mark in head[0]), "")):
        raise DataError.at(
            table,
            place="line 1",
            expected="cells separated by commas",
            found=f"{_OTHERS[apart]}: {head[0]}",
            remedy="save it with commas between the cells, and points in the numbers",
        )
    if head.count("file") != 1 or not names or len(set(head)) < len(head) or "" in head:
        raise DataError.at(
            table,
            place="line 1",
            expected="names of columns: file, perhaps split, and one for each number",
            found=", ".join(head) or "nothing",
            remedy="name each column once",
        )
    found: dict[str, tuple[str, list[float]]] = {}
    for line, cells in rows:
        if len(cells) != len(head):
            raise _bad(table, line, counted(len(head), "cell"), str(len(cells)))
        row = dict(zip(head, cells, strict=True))
        part = row.get("split", "")
        if part and not part_of(part):
            raise _bad(table, line, f"a split of {', '.join(PARTS)}, or nothing", part)
        if row["file"] in found:
            raise _bad(table, line, "each file once", f"{row['file']} again")
        row_values = []
        for name in names:
            value = float(row[name]) if NUMBER.fullmatch(row[name].encode()) else math.nan
            if not abs(value) <= 1e30:  # what float32 holds, with room
                raise _bad(table, line, f"a finite number as {name}", repr(row[name]))
            row_values.append(value)
        found[row["file"]] = part_of(part), row_values
    known = {file.as_posix(): i for i, file in enumerate(listing.files)}
    for kind, some in (("a row for", known.keys() - found), ("a cloud", found.keys() - known)):
        if some:
            raise DataError.at(
                table,
                expected=f"{kind} {min(some)}",
                found="none",
                remedy="add it, or move away what has none",
            )
    ordered = [found[name] for name in known]
    parts = tuple(given or own for (given, _), own in zip(ordered, listing.parts, strict=True))
    values = torch.tensor([own for _, own in ordered], dtype=torch.float64)
    return Numbers(Listing(root, names, listing.files, listing.labels, parts), names, values)


def _rows(table: Path) -> Iterator[tuple[int, list[str]]]:
    # The lines that are not blank, by their numbers.
    try:
        with open(table, encoding="utf-8-sig", newline="") as lines:
            reader = csv.reader(lines)
            for cells in reader:
                if any(cell.strip() for cell in cells):
                    yield reader.line_num, [cell.strip() for cell in cells]
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError.at(
            table,
            expected="text in UTF-8, cells separated by commas",
            found=str(error),
            remedy="save it as CSV again",
        ) from error


def _bad(table: Path, line: int, expected: str, found: str) -> DataError:
    return DataError.at(
        table, place=f"line {line}", expected=expected, found=found, remedy="repair that row"
    )


def labelled_clouds(
    listing: Listing,
    *,
    label: str,
    columns: Sequence[str] | None,
    features: Sequence[str],
    cache: Path | None,
) -> tuple[PackedClouds, tuple[str, ...]]:
    """All clouds of a folder with a label of each point, and the names of the labels.

    Labels are whole numbers from 0 on, in one column of each file; ``classes.txt`` names them, and
    else they are called by their numbers.

    Args:
        listing: All files of the folder: a label may be in one split alone.
        label: The column of the labels, by name or by number; see `read_cloud`.
        columns: Of the coordinates.
        features: Further columns.
        cache: Folder of the cache, or None.

    Raises:
        DataError: If a file cannot be read, has no labels, or one that is no such number.
    """

    def sources(listing: Listing) -> Iterator[Source]:
        for file in listing.files:
            path = listing.root / file
            shape = read_shape(path, columns, (*features, label))
            found = shape.points[:, -1]
            wrong = ((found != found.round()) | (found < 0) | (found >= _MOST)).nonzero()
            if len(wrong):
                raise DataError.at(
                    path,
                    place=f"point {int(wrong[0])} (counted from 0)",
                    expected=f"a whole number from 0 to {_MOST - 1} as {label}",
                    found=f"{float(found[wrong[0]]):g}",
                    remedy="number the labels from 0 on",
                )
            yield Source(path, "", file_key(file.as_posix()), shape, 0)

    packed = pack_listing(
        listing,
        AllPoints(),
        name="folder-points",
        cache=cache,
        sources=sources,
        facts={"columns": columns and list(columns), "features": list(features), "label": label},
    )
    labels = packed.points[:, -1].to(torch.int64)
    width = packed.dim - 1
    coordinates = packed.coordinates
    clouds = PackedClouds(
        packed.points[:, :-1],
        packed.weights,
        packed.offsets,
        packed.labels,
        None if coordinates == width else coordinates,
        labels,
    )
    return clouds, _names(listing.root / LABELS, int(labels.max()) + 1)


def _names(file: Path, count: int) -> tuple[str, ...]:
    if not file.is_file():
        return tuple(map(str, range(count)))
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise DataError.at(
            file, expected="text in UTF-8", found=str(error), remedy="save it as plain text"
        ) from error
    names = tuple(line.strip() for line in lines if line.strip())
    if len(names) < count or len(set(names)) < len(names):
        raise DataError.at(
            file,
            expected=f"a name for each label from 0 to {count - 1}, a line each and each once",
            found=f"{len(set(names))} names",
            remedy="name them all, the label 0 first",
        )
    return names
