"""From files to packed clouds, by a rule that is named."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import torch

from ddeq_data._internal.text import counted
from ddeq_data.datasets.listing import Listing
from ddeq_data.errors import DataError
from ddeq_data.measures import PackedClouds, as_precise_as_needed
from ddeq_data.readers.cloud import read_cloud_file
from ddeq_data.shapes import Sampling, Shape
from ddeq_data.storage.cache import cached_clouds

__all__ = [
    "Source",
    "cache_folder",
    "file_key",
    "file_sources",
    "pack_listing",
    "pack_shapes",
    "processed",
    "read_shape",
]

# What a function and an object without a repr of its own call themselves.
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
# Raise it when the clouds that come of the same files and arguments change.
VERSION = 2


class Source(NamedTuple):
    """A shape, where it comes from, the key of its chance, and its label."""

    path: Path
    place: str
    key: int
    shape: Shape
    label: int


def read_shape(
    path: str | PathLike[str],
    columns: Sequence[str] | None = None,
    features: Sequence[str] = (),
) -> Shape:
    """Read a mesh or a cloud, told by the suffix; see `read_cloud`.

    Raises:
        DataError: If the file is missing, of an unknown kind or damaged.
    """
    cloud = read_cloud_file(path, columns=columns, features=features)
    return Shape(cloud.points, cloud.weights, cloud.faces, cloud.coordinates)


def file_key(name: str) -> int:
    """Return 64 bits that belong to a file's name, for the seed of its chance."""
    digest = hashlib.blake2b(os.fsencode(name), digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True)


def _file_facts(listing: Listing) -> str:
    # A hash of the names of the clouds, and of the sizes and times of change of their files. The
    # time of the content a copy brings along, so that another file of that size would pass for the
    # old one; the time of the file's entry it does not.
    digest = hashlib.blake2b(digest_size=16)
    for file in listing.files:
        digest.update(os.fsencode(file.as_posix()) + b"\0")
    for file in listing.archives or listing.files:
        status = (listing.root / file).stat()
        times = f"{status.st_mtime_ns}\0{status.st_ctime_ns}"
        digest.update(f"\0{status.st_size}\0{times}\n".encode())
    return digest.hexdigest()


def pack_shapes(sources: Iterable[Source], sampling: Sampling) -> PackedClouds:
    """Make a cloud of each shape and lay them end to end.

    In float32, unless that would move the points of a cloud: `as_precise_as_needed`.

    Raises:
        DataError: If there is no such cloud of a shape, or it is of another dimension than the
            first; naming the file.
    """
    points, weights, sizes, labels = [], [], [0], []
    first: tuple[int, int] | None = None
    for source in sources:
        try:
            cloud = sampling(source.shape, source.key)
        except DataError:
            raise
        except ValueError as error:
            raise DataError.at(
                source.path,
                place=source.place,
                expected=f"a shape for {sampling}",
                found=f"one for which there is none: {error}",
                remedy="choose another sampling, or leave this file out",
            ) from error
        own = as_precise_as_needed(cloud.points)
        shape = own.shape[1], cloud.coordinates or own.shape[1]
        first = shape if first is None else first
        if shape != first or len(own) == 0 or not bool(own.to(torch.float32).isfinite().all()):
            raise DataError.at(
                source.path,
                place=source.place,
                expected=f"points of dimension {_dimension(*first)}, at least one, in the range of "
                "float32",
                found=f"{len(own)} of dimension {_dimension(*shape)}",
                remedy="repair this file, or leave it out",
            )
        points.append(own)
        weights.append(None if cloud.weights is None else cloud.weights.to(torch.float32))
        sizes.append(len(own))
        labels.append(source.label)
    offsets = torch.tensor(sizes).cumsum(0)
    mass = None
    if any(weight is not None for weight in weights):
        mass = torch.cat(
            [
                torch.full((len(own),), 1 / len(own)) if weight is None else weight
                for own, weight in zip(points, weights, strict=True)
            ]
        )
    dtype = torch.float64 if any(p.dtype == torch.float64 for p in points) else torch.float32
    every = torch.cat([own.to(dtype) for own in points])
    coordinates = first[1] if first is not None and first[1] < first[0] else None
    return PackedClouds(every, mass, offsets, torch.tensor(labels), coordinates)


def _dimension(width: int, coordinates: int) -> str:
    extra = width - coordinates
    return f"{coordinates} with {counted(extra, 'feature')}" if extra else str(width)


def file_sources(
    listing: Listing, columns: Sequence[str] | None = None, features: Sequence[str] = ()
) -> Iterator[Source]:
    """Read the files of a listing one by one; see `read_cloud` for what `columns` are."""
    for file, label in zip(listing.files, listing.labels.tolist(), strict=True):
        path = listing.root / file
        shape = read_shape(path, columns, features)
        yield Source(path, "", file_key(file.as_posix()), shape, label)


def pack_listing(
    listing: Listing,
    sampling: Sampling,
    *,
    name: str,
    cache: Path | None,
    sources: Callable[[Listing], Iterator[Source]] = file_sources,
    facts: Mapping[str, Any] | None = None,
) -> PackedClouds:
    """Make clouds of the files of a listing, or take them from the cache.

    Args:
        listing: The files.
        sampling: The rule.
        name: Of the data set, in the cache.
        cache: Folder of the cache, or None.
        sources: Reads the files.
        facts: What else the clouds depend on.

    Raises:
        DataError: If a file cannot be read or made a cloud of, or the cache not be written.
        ValueError: If there is a cache and the rule has no name of its own to be found by there.
    """
    if cache is not None and _ADDRESS.search(repr(sampling)):
        raise ValueError(
            f"sampling is {sampling!r}, told from others by its place in memory alone, so that the "
            "cache would mix them up; give it a repr that tells all there is to it, as a frozen "
            "dataclass has, or cache=None"
        )
    return cached_clouds(
        cache,
        name,
        {
            "version": VERSION,
            "sampling": repr(sampling),
            "classes": listing.classes,
            "labels": hashlib.blake2b(listing.labels.numpy().tobytes()).hexdigest(),
            "files": _file_facts(listing),
            **(facts or {}),
        },
        lambda: pack_shapes(sources(listing), sampling),
    )


def cache_folder(root: Path, cache: str | PathLike[str] | None) -> Path | None:
    """Return the folder of the cache, which is relative to the data, or None.

    Raises:
        ValueError: If it would be one of the folders of the clouds.
    """
    if cache is None:
        return None
    folder = root / cache
    try:
        inside = folder.absolute().relative_to(root.absolute()).parts
    except ValueError:
        return folder
    if not any(part.startswith((".", "__")) for part in inside):
        raise ValueError(
            f"cache is {str(cache)!r}, in {root}, where folders are of clouds; give it a name that "
            "begins with a dot, a folder elsewhere, or None"
        )
    return folder


def processed(cache: Path | None) -> str:
    """Say where the processed clouds are kept."""
    return "anew each time, cache=None" if cache is None else f"kept in {cache}"
