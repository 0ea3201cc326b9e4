"""The data sets by name: what there is, what of it is on disk, and how to get the rest."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from ddeq_data import (
    CloudDataset,
    DataError,
    Digits,
    FashionMNISTPointCloud,
    MNISTPointCloud,
    ModelNet10,
    ModelNet40,
    PointCloudFolder,
    SyntheticShapes,
)
from ddeq_data.datasets import Release
from ddeq_models.errors import UserError

__all__ = ["CATALOGUE", "Entry", "entry", "listing"]


@dataclass(frozen=True)
class Entry:
    """A data set.

    Attributes:
        name: What the command calls it.
        text: What it is, in a few words.
        clouds: How many there are, or None where that depends on the files.
        dim: Dimension of the points, or None likewise.
        releases: In which it is published; () where there is but one.
        find: Where under a folder its files are, in words, one for each release or part that is
            there; None where it reads no files.
        open: One split of it, from a folder and, of several, a release.
        download: Fetches it into a folder; None where there is nothing to fetch.
        place: Where under a folder a release is; None where there are none.
    """

    name: str
    text: str
    clouds: int | None
    dim: int | None
    find: Callable[[Path], list[str]] | None
    open: Callable[[Path, str, Release], CloudDataset]
    download: Callable[[Path, Release], object] | None = None
    releases: tuple[Release, ...] = ()
    place: Callable[[Path, Release], Path | None] | None = None

    def release(self, root: Path) -> Release:
        """The first release whose files are under a folder; the meshes where there is none."""
        for one in self.releases:
            if self.place is not None and self.place(root, one) is not None:
                return one
        return "meshes"


def entry(name: str) -> Entry:
    """The data set of that name.

    Raises:
        UserError: There is none.
    """
    for one in CATALOGUE:
        if one.name == name:
            return one
    names = ", ".join(one.name for one in CATALOGUE)
    raise UserError(f"there is no data set {name}; expected one of {names}")


def listing(root: Path) -> str:
    """A table of the data sets, and how those that are not under a folder get there."""
    rows = [("name", "clouds", "dim", "what it is", f"on disk under {root}")]
    absent = []
    for one in CATALOGUE:
        there = ["always there"] if one.find is None else one.find(root)
        if not there and one.download is not None:
            absent.append(one)
        rows.append(
            (
                one.name,
                "any" if one.clouds is None else f"{one.clouds:,}",
                "any" if one.dim is None else str(one.dim),
                one.text,
                "; ".join(there) or "-",
            )
        )
    widths = [max(map(len, column)) for column in list(zip(*rows, strict=True))[:-1]]
    form = "{{:{}}}  {{:>{}}}  {{:>{}}}  {{:{}}}  {{}}".format(*widths)
    lines = [form.format(*row) for row in rows]
    if absent:
        lines += ["", "to fetch what is not there (pip install 'ddeq-data[download]'):"]
        for one in absent:
            lines.append(f"  ddeq datasets get {one.name} --root {root}")
    tables = MNISTPointCloud.tables
    lines += [
        "",
        f"mnist is also read from train.csv and test.csv of Kaggle's {tables}, which need an",
        "account there; folder from class/part/file or class/file of any point files or meshes.",
        "to see clouds: ddeq datasets show NAME",
    ]
    return "\n".join(lines)


def _images(name: str, text: str, kind: type[MNISTPointCloud]) -> Entry:
    def find(root: Path) -> list[str]:
        places = kind.find(root)
        if len(set(places.values())) == 1:
            return [f"{' and '.join(places)} in {next(iter(places.values()))}"]
        return [f"{part} in {place}" for part, place in places.items()]

    return Entry(
        name,
        text,
        70_000,
        2,
        find,
        lambda root, split, _: kind(root, split, weighted=True),
        lambda root, _: kind.download(root),
    )


def _modelnet(
    name: str, text: str, kind: type[ModelNet40], clouds: int, releases: tuple[Release, ...]
) -> Entry:
    def find(root: Path) -> list[str]:
        places = {release: kind.find(root, release) for release in releases}
        return [f"{release} in {place}" for release, place in places.items() if place is not None]

    return Entry(
        name,
        text,
        clouds,
        3,
        find,
        lambda root, split, release: kind(root, split, release=release),
        kind.download,
        releases,
        kind.find,
    )


def _folder(root: Path) -> list[str]:
    from ddeq_data.datasets import list_folder

    try:
        found = list_folder(root)
    except DataError:
        return []
    return [f"{len(found.files):,} files of {len(found.classes)} classes"]


_RELEASES: tuple[Release, ...] = get_args(Release)
CATALOGUE: tuple[Entry, ...] = (
    Entry("digits", "handwritten digits, 8 x 8", 1797, 2, None, lambda _, split, __: Digits(split)),
    _images("mnist", "handwritten digits, 28 x 28", MNISTPointCloud),
    _images("fashion-mnist", "clothes, 28 x 28", FashionMNISTPointCloud),
    _modelnet("modelnet10", "furniture", ModelNet10, 4899, ("meshes", "resampled")),
    _modelnet("modelnet40", "things of all kinds", ModelNet40, 12_311, _RELEASES),
    Entry(
        "folder",
        "a folder of your own",
        None,
        None,
        _folder,
        lambda root, split, _: PointCloudFolder(root, split),
    ),
    Entry(
        "shapes-2d",
        "random curves, for tests",
        None,
        2,
        None,
        lambda _, split, __: SyntheticShapes(split, dim=2),
    ),
    Entry(
        "shapes-3d",
        "random surfaces, for tests",
        None,
        3,
        None,
        lambda _, split, __: SyntheticShapes(split, dim=3, sizes=(512, 1024)),
    ),
)
