"""The files of ModelNet's published releases: which shapes there are, and how to read them."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray

from ddeq_data._internal.extras import import_extra
from ddeq_data._internal.text import counted
from ddeq_data.datasets.listing import Listing, list_folder
from ddeq_data.datasets.processing import Source, file_key
from ddeq_data.errors import DataError
from ddeq_data.readers.source import read_source
from ddeq_data.readers.text.table import read_table
from ddeq_data.shapes import Shape

__all__ = ["hdf5_listing", "hdf5_sources", "mesh_listing", "resampled_listing", "resampled_sources"]

# Values of more bytes than this must not be more than so many times those of their file.
_SMALL, _RATIO = 1 << 26, 100
_FETCH = "fetch and unpack the release again"
_FETCH_OR_TAKE = f"{_FETCH}, or, from Python, take what is there with complete=False"
# The hdf5 release lacks three shapes of the meshes; it is published like this.
_HDF5_COUNTS = {"train": 9840, "test": 2468}


def mesh_listing(root: Path, counts: dict[str, tuple[int, int]], complete: bool) -> Listing:
    """List the OFF meshes of a folder class/part/file, and check their number in each class."""
    listing = list_folder(root, (".off",))
    _check_classes(root, listing.classes, counts)
    _check_counts(listing, counts, complete)
    return listing


def resampled_listing(root: Path, counts: dict[str, tuple[int, int]], complete: bool) -> Listing:
    """List the text files of `modelnet40_normal_resampled`, as its lists of names say."""
    rows = []
    for part in ("train", "test"):
        path = root / f"modelnet{len(counts)}_{part}.txt"
        for name in read_source(path, "a list of shapes").decode("ascii", "replace").split():
            kind = name.rpartition("_")[0]
            file = Path(kind) / f"{name}.txt"
            if kind not in counts or not (root / file).is_file():
                raise DataError.at(
                    path,
                    expected=f"names of shapes whose files are in {root}",
                    found=f"{name}, but no {file}",
                    remedy=_FETCH,
                )
            rows.append((kind, part, file))
    rows.sort()
    classes = tuple(sorted(counts))
    listing = Listing(
        root,
        classes,
        tuple(file for _, _, file in rows),
        torch.tensor([classes.index(kind) for kind, _, _ in rows], dtype=torch.int64),
        tuple(part for _, part, _ in rows),
    )
    _check_counts(listing, counts, complete)
    return listing


def resampled_sources(listing: Listing) -> Iterator[Source]:
    """Read the 10,000 points of each shape; the normals behind them are left out."""
    for file, label in zip(listing.files, listing.labels.tolist(), strict=True):
        path = listing.root / file
        table = read_table(path, read_source(path, "a point cloud")).all()
        if table.shape[1] != 6 or not np.isfinite(table).all():
            raise DataError.at(
                path,
                expected="6 finite numbers in each line, a point and its normal",
                found=f"numbers of shape {table.shape}",
                remedy=_FETCH,
            )
        points = torch.from_numpy(table[:, :3].copy())
        yield Source(path, "", file_key(file.as_posix()), Shape(points, None, None), label)


def hdf5_listing(root: Path, counts: dict[str, tuple[int, int]], complete: bool) -> Listing:
    """List the clouds of `modelnet40_ply_hdf5_2048`: file#row, in the order of the files."""
    h5py = import_extra("h5py", "hdf5", "the hdf5 release")
    classes = tuple(sorted(counts))
    files: list[Path] = []
    labels: list[NDArray[np.int64]] = []
    parts: list[str] = []
    for part in ("train", "test"):
        archives = sorted(
            root.glob(f"ply_data_{part}*.h5"),
            key=lambda path: int("0" + re.sub(r"\D", "", path.stem)),
        )
        total = 0
        for path in archives:
            own = _dataset(h5py, path, "label").reshape(-1)
            least, most = (own.min(), own.max()) if own.size else (-1, -1)
            if own.dtype.kind not in "iu" or least < 0 or most >= len(classes):
                raise DataError.at(
                    path,
                    place="key 'label'",
                    expected=f"at least one label, and labels in 0..{len(classes) - 1}",
                    found=f"{own.dtype}, {least} to {most}" if own.size else "none",
                    remedy=_FETCH,
                )
            files += [Path(f"{path.name}#{row}") for row in range(len(own))]
            labels.append(own.astype(np.int64))
            parts += [part] * len(own)
            total += len(own)
        if complete and total != _HDF5_COUNTS[part]:
            raise DataError.at(
                root,
                expected=f"{_HDF5_COUNTS[part]} shapes to {part} in ply_data_{part}*.h5",
                found=f"{total} in {counted(len(archives), 'file')}",
                remedy=_FETCH_OR_TAKE,
            )
    if not files:
        raise DataError.at(
            root,
            expected="the files ply_data_train0.h5, ...",
            found="none",
            remedy="give the folder that holds them",
        )
    return Listing(
        root,
        classes,
        tuple(files),
        torch.from_numpy(np.concatenate(labels)),
        tuple(parts),
        tuple(Path(name) for name in dict.fromkeys(f.name.rpartition("#")[0] for f in files)),
    )


def hdf5_sources(listing: Listing) -> Iterator[Source]:
    """Read the clouds of a listing, 2,048 points each, one archive in memory at a time."""
    h5py = import_extra("h5py", "hdf5", "the hdf5 release")
    name, points = "", cast(NDArray[np.generic], np.empty((0, 0, 3)))
    for file, label in zip(listing.files, listing.labels.tolist(), strict=True):
        archive, _, row = file.name.rpartition("#")
        path = listing.root / archive
        if archive != name:
            name, points = archive, _dataset(h5py, path, "data")
            if points.ndim != 3 or points.shape[2] != 3 or points.dtype.kind != "f":
                raise DataError.at(
                    path,
                    place="key 'data'",
                    expected="points of shape (shapes, points, 3)",
                    found=f"{points.dtype} of shape {points.shape}",
                    remedy=_FETCH,
                )
        if int(row) >= len(points):
            raise DataError.at(
                path,
                place="key 'data'",
                expected="as many clouds as labels",
                found=str(len(points)),
                remedy=_FETCH,
            )
        shape = Shape(torch.from_numpy(points[int(row)].astype(np.float32)), None, None)
        yield Source(path, f"row {row}", file_key(file.name), shape, label)


def _check_classes(root: Path, found: tuple[str, ...], counts: dict[str, tuple[int, int]]) -> None:
    wrong = set(found) ^ set(counts)
    if wrong:
        name = min(wrong)
        raise DataError.at(
            root,
            expected=f"a folder for each of {len(counts)} classes, {name} "
            + ("among them" if name in counts else "not among them"),
            found=counted(len(found), "folder"),
            remedy="give the folder of this data set, unpacked whole",
        )


def _check_counts(listing: Listing, counts: dict[str, tuple[int, int]], complete: bool) -> None:
    if not complete:
        return
    found = Counter(zip(listing.labels.tolist(), listing.parts, strict=True))
    for i, name in enumerate(listing.classes):
        for part, published in zip(("train", "test"), counts[name], strict=True):
            there = found[i, part]
            if there != published:
                raise DataError.at(
                    listing.root / name,
                    expected=f"{published} shapes to {part}",
                    found=str(there),
                    remedy=_FETCH_OR_TAKE,
                )


def _dataset(h5py: ModuleType, path: Path, key: str) -> NDArray[np.generic]:
    try:
        with h5py.File(path, "r") as archive:
            # Other links lead to other files, of which this one may be none of the business.
            if not isinstance(archive.get(key, getlink=True), h5py.HardLink):
                raise ValueError("a link to it, which is not followed")
            dataset = archive[key]
            if dataset.external or dataset.is_virtual:
                raise ValueError("values that are in another file, which is not read")
            if dataset.nbytes > max(_SMALL, _RATIO * os.path.getsize(path)):
                raise ValueError(f"{dataset.nbytes} bytes of values in a small file")
            values: NDArray[np.generic] = dataset[()]
            return values
    # h5py lets through what the C library says: OSError, KeyError, RuntimeError, ...
    except Exception as error:
        raise DataError.at(
            path,
            place=f"key {key!r}",
            expected="an array in the HDF5 format",
            found=f"none or a damaged one ({error})",
            remedy=_FETCH,
        ) from error
