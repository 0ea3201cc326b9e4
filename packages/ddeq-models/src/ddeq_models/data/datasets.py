"""The data sets that come along, each in one entry: how it is opened, found and fetched."""

from __future__ import annotations

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
    Sampling,
    SurfacePoints,
    SyntheticBlobs,
    SyntheticMoons,
    SyntheticShapes,
    VoxelVertices,
)
from ddeq_models.config import ARRAYS, DataConfig, Release, Split
from ddeq_models.data.entries import DataSet, register_data
from ddeq_models.errors import UserError


def _root(config: DataConfig) -> str:
    if config.root is None:
        raise UserError(
            f"--data {config.name} reads files: say with --root which folder they are in"
        )
    return config.root


def _images(
    name: str, text: str, kind: type[MNISTPointCloud], title: str, source: str, hub: str
) -> DataSet:
    def find(root: Path) -> list[str]:
        places = kind.find(root)
        if len(set(places.values())) == 1:
            return [f"{' and '.join(places)} in {next(iter(places.values()))}"]
        return [f"{part} in {place}" for part, place in places.items()]

    return DataSet(
        name,
        text,
        lambda config, split: kind(_root(config), split=split, weighted=config.weighted),
        70_000,
        2,
        find,
        lambda root, _: kind.download(root),
        title=title,
        source=f"{source}, each as the cloud of its pixels that are not 0",
        hub=hub,
        image=True,
    )


def _modelnet(
    name: str, text: str, kind: type[ModelNet40], clouds: int, releases: tuple[Release, ...]
) -> DataSet:
    def find(root: Path) -> list[str]:
        places = {release: kind.find(root, release) for release in releases}
        return [f"{release} in {place}" for release, place in places.items() if place is not None]

    def open_one(config: DataConfig, split: Split) -> CloudDataset:
        if config.release not in releases:
            raise UserError(f"{name} has no release {config.release}; it has {', '.join(releases)}")
        if config.release != "meshes" and config.sampling != "default":
            raise UserError(
                f"the release {config.release} holds points and no meshes to sample; "
                "leave --sampling out, or take --release meshes"
            )
        try:
            return kind(_root(config), split, release=config.release, sampling=_sampling(config))
        except ModuleNotFoundError as error:
            raise UserError("--release hdf5 needs: pip install 'ddeq-data[hdf5]'") from error

    return DataSet(
        name,
        text,
        open_one,
        clouds,
        3,
        find,
        kind.download,
        releases,
        kind.find,
        title=kind.__name__,
        source="the CAD models of Z. Wu et al. 2015 (for academic research)",
    )


def _sampling(config: DataConfig) -> Sampling | None:
    """How the meshes of ModelNet become clouds; None for what is usual with the release."""
    return {
        "default": None,
        "surface": SurfacePoints(),
        "vertices": VoxelVertices(),
        "z-scored-vertices": VoxelVertices(z_scored=True),
    }[config.sampling]


def _folder(config: DataConfig, split: Split) -> CloudDataset:
    if config.target == "points" and config.sampling == "surface":
        raise UserError("points on a surface have no labels; leave --sampling out")
    sampling = SurfacePoints() if config.sampling == "surface" else None
    return PointCloudFolder(
        _root(config),
        split,
        sampling=sampling,
        columns=config.columns or None,
        features=config.features,
        target=config.target,
        label=config.label,
    )


def _files(root: Path) -> list[str]:
    from ddeq_data.datasets import TARGETS, list_files, list_folder

    try:
        if (root / TARGETS).is_file():
            return [f"{len(list_files(root).files):,} files with {TARGETS}"]
        return [list_folder(root).summary()]
    except DataError:
        return []


def _memory(config: DataConfig, split: Split) -> CloudDataset:
    raise UserError(
        "the clouds of this run came from memory, and no file holds them: give them again, from "
        "Python, as sets=(train, validation, test), or to embed and predict as files or arrays of "
        "their own"
    )


_RELEASES: tuple[Release, ...] = get_args(Release)

for _data_set in (
    DataSet(
        "digits",
        "handwritten digits, 8 x 8",
        lambda _, split: Digits(split),
        1797,
        2,
        title="Digits",
        source="the 1,797 digits of the UCI Optical Recognition of Handwritten Digits data set "
        "(E. Alpaydin and C. Kaynak, CC BY 4.0) as measures of pixels",
        image=True,
        weighed=True,
    ),
    _images(
        "mnist",
        "handwritten digits, 28 x 28",
        MNISTPointCloud,
        "MNIST",
        "the handwritten digits of Y. LeCun, C. Cortes and C. J. C. Burges (CC BY-SA 3.0)",
        "ylecun/mnist",
    ),
    _images(
        "fashion-mnist",
        "clothes, 28 x 28",
        FashionMNISTPointCloud,
        "Fashion-MNIST",
        "the images of clothes of H. Xiao, K. Rasul and R. Vollgraf (MIT)",
        "zalando-datasets/fashion_mnist",
    ),
    _modelnet("modelnet10", "furniture", ModelNet10, 4899, ("meshes", "resampled")),
    _modelnet("modelnet40", "things of all kinds", ModelNet40, 12_311, _RELEASES),
    DataSet(
        "folder",
        "a folder of your own",
        _folder,
        find=_files,
        title="a folder of clouds",
        source="clouds of the author's own",
    ),
    DataSet(
        ARRAYS,
        "clouds in memory, from Python",
        _memory,
        find=lambda _: [],  # on no disk
        title="clouds in memory",
        source="clouds of the author's own",
    ),
    DataSet(
        "blobs",
        "clusters, for tests of regression",
        lambda _, split: SyntheticBlobs(split),
        dim=2,
        title="Blobs",
    ),
    DataSet(
        "moons",
        "two half-circles, for tests of segmentation",
        lambda _, split: SyntheticMoons(split),
        dim=2,
        title="Moons",
    ),
    DataSet(
        "shapes-2d",
        "random curves, for tests",
        lambda _, split: SyntheticShapes(split, dim=2),
        dim=2,
    ),
    DataSet(
        "shapes-3d",
        "random surfaces, for tests",
        lambda _, split: SyntheticShapes(split, dim=3, sizes=(512, 1024)),
        dim=3,
    ),
):
    register_data(_data_set)
