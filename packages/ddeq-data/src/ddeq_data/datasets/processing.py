"""From files to packed clouds, by a rule that is named."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from os import PathLike
from pathlib import Path
from typing import NamedTuple

import torch

from ddeq_data.cache import cached_clouds
from ddeq_data.datasets.listing import Listing
from ddeq_data.errors import DataError
from ddeq_data.packed import PackedClouds
from ddeq_data.readers.cloud import read_cloud
from ddeq_data.readers.off import read_off
from ddeq_data.readers.ply import read_ply
from ddeq_data.sampling import Sampling, Shape

__all__ = ["Source", "file_key", "file_sources", "pack_listing", "pack_shapes", "read_shape"]

# Raise it when the clouds that come of the same files and arguments change.
VERSION = 1


class Source(NamedTuple):
    """A shape, where it comes from, the key of its chance, and its label."""

    path: Path
    place: str
    key: int
    shape: Shape
    label: int


def read_shape(path: str | PathLike[str]) -> Shape:
    """Read a mesh or a cloud, told by the suffix; see `read_cloud`.

    Raises:
        DataError: If the file is missing, of an unknown kind or damaged.
    """
    suffix = Path(path).suffix.lower()
    if suffix in (".off", ".ply"):
        mesh = read_off(path) if suffix == ".off" else read_ply(path)
        return Shape(mesh.vertices, None, mesh.faces)
    points, weights = read_cloud(path)
    return Shape(points, weights, None)


def file_key(name: str) -> int:
    """Return 64 bits that belong to a file's name, for the seed of its chance."""
    digest = hashlib.blake2b(name.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True)


def _file_facts(files: Iterable[Path], root: Path) -> str:
    """Return a hash of the names, sizes and times of change of files."""
    digest = hashlib.blake2b(digest_size=16)
    for file in files:
        # A shape within an archive is called archive#row.
        status = (root / file).with_name(file.name.partition("#")[0]).stat()
        digest.update(f"{file.as_posix()}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def pack_shapes(sources: Iterable[Source], sampling: Sampling) -> PackedClouds:
    """Make a cloud of each shape and lay them end to end, in float32.

    Raises:
        DataError: If there is no such cloud of a shape, or it is of another dimension than the
            first; naming the file.
    """
    points, weights, sizes, labels = [], [], [0], []
    dim: int | None = None
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
        narrow = cloud.points.to(torch.float32)
        dim = narrow.shape[1] if dim is None else dim
        if narrow.shape[1] != dim or len(narrow) == 0 or not bool(narrow.isfinite().all()):
            raise DataError.at(
                source.path,
                place=source.place,
                expected=f"points of dimension {dim}, at least one, in the range of float32",
                found=f"{len(narrow)} of dimension {narrow.shape[1]}",
                remedy="repair this file, or leave it out",
            )
        points.append(narrow)
        weights.append(None if cloud.weights is None else cloud.weights.to(torch.float32))
        sizes.append(len(narrow))
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
    return PackedClouds(torch.cat(points), mass, offsets, torch.tensor(labels))


def file_sources(listing: Listing) -> Iterator[Source]:
    """Read the files of a listing one by one."""
    for file, label in zip(listing.files, listing.labels.tolist(), strict=True):
        path = listing.root / file
        yield Source(path, "", file_key(file.as_posix()), read_shape(path), label)


def pack_listing(
    listing: Listing,
    sampling: Sampling,
    *,
    name: str,
    cache: Path | None,
    sources: Callable[[Listing], Iterator[Source]] = file_sources,
) -> PackedClouds:
    """Make clouds of the files of a listing, or take them from the cache.

    Args:
        listing: The files.
        sampling: The rule.
        name: Of the data set, in the cache.
        cache: Folder of the cache, or None.
        sources: Reads the files.

    Raises:
        DataError: If a file cannot be read or made a cloud of, or the cache not be written.
    """
    return cached_clouds(
        cache,
        name,
        {
            "version": VERSION,
            "sampling": repr(sampling),
            "classes": listing.classes,
            "labels": hashlib.blake2b(listing.labels.numpy().tobytes()).hexdigest(),
            "files": _file_facts(listing.files, listing.root),
        },
        lambda: pack_shapes(sources(listing), sampling),
    )
