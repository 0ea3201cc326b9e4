"""MNIST and Fashion-MNIST as point clouds, from IDX files or a table of points."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from ddeq_data.datasets.base import CloudDataset
from ddeq_data.datasets.images import pack_images
from ddeq_data.datasets.resources import FASHION_MNIST, MNIST
from ddeq_data.datasets.splits import check_split, stratified_holdout
from ddeq_data.downloads import Resource, fetch
from ddeq_data.errors import DataError
from ddeq_data.measures import Transform
from ddeq_data.readers.formats.idx import read_idx
from ddeq_data.readers.formats.point_csv import read_point_csv

__all__ = ["FashionMNISTPointCloud", "MNISTPointCloud"]

# Seed and share (one in twelve) of the validation split: part of the definition of the data set.
_SEED, _TWELVE = 0, 12
_SIDE = 28


class MNISTPointCloud(CloudDataset):
    """MNIST: 70,000 handwritten digits of 28 x 28 pixels, as point clouds in the plane.

    A point is a pixel whose value (1..255) is above 0: x its column 0..27, y = 27 - row, so that
    digits stand upright. Weights are uniform, or the values of the pixels divided by their sum.

    The IDX files, raw or gzipped, may lie in `root/MNIST/raw` (where torchvision puts them),
    `root/raw`, `root/mnist` or `root`, named as published (`train-images-idx3-ubyte`) or as some
    mirrors do (`train-images.idx3-ubyte`). Only those of the split are read. Where there are none,
    the same clouds are read from `train.csv` and `test.csv` of the Kaggle data set
    `pointcloudmnist2d`, padded with -1 or with 0, in `root` or `root/pointcloudmnist2d`.

    The files' test part is "test" (10,000). From their train part a fixed, stratified twelfth is
    "validation" (5,000), the rest "train" (55,000); "train+validation" is all of it (60,000).

    Source: Y. LeCun, C. Cortes and C. J. C. Burges, "The MNIST database of handwritten digits".

    Args:
        root: Folder of the files, or above them.
        split: "train", "validation", "test" or "train+validation".
        weighted: Weigh a point by the value of its pixel.
        transform: Applied to each cloud; see `CloudDataset`.
        download: Fetch the files that are in none of these places into `root/MNIST/raw`; needs
            the extra `download`.

    Raises:
        DataError: If a file is missing, damaged, or not of MNIST's kind; or no mirror gives it.
        ModuleNotFoundError: If pooch is needed and missing.
        ValueError: If there is no such split, or `transform` is random.
    """

    folder: ClassVar[str] = "MNIST"
    places: ClassVar[tuple[str, ...]] = ("MNIST/raw", "raw", "mnist", "")
    tables: ClassVar[str | None] = "pointcloudmnist2d"
    names: ClassVar[tuple[str, ...]] = tuple(str(digit) for digit in range(10))
    resources: ClassVar[tuple[Resource, ...]] = MNIST
    licence: str | None = "CC BY-SA 3.0"
    balanced: ClassVar[bool] = False

    def __init__(
        self,
        root: str | PathLike[str],
        split: str = "train",
        weighted: bool = False,
        transform: Transform | None = None,
        *,
        download: bool = False,
    ) -> None:
        check_split(split)
        self.root = Path(root)
        self.split = split
        self.weighted = weighted
        if download:
            self.download(self.root)
        part = "t10k" if split == "test" else "train"
        images, labels = self._read(part)
        if split in ("train", "validation"):
            if len(labels) < _TWELVE:
                raise DataError.at(
                    self.root,
                    expected=f"at least {_TWELVE} images to train, of which a twelfth validates",
                    found=str(len(labels)),
                    remedy=f"fetch the train files of {self.folder} again",
                )
            held = stratified_holdout(torch.from_numpy(labels), len(labels) // _TWELVE, _SEED)
            inside = np.zeros(len(labels), dtype=bool)
            inside[held.numpy()] = True
            chosen = inside if split == "validation" else ~inside
            images, labels = images[chosen], labels[chosen]
        clouds = pack_images(images, torch.from_numpy(labels), weighted=weighted)
        super().__init__(clouds, self.names, transform)

    @classmethod
    def download(cls, root: Path) -> None:
        """Fetch the files that are not there; a part of which there is a table needs none.

        Raises:
            DataError: If no mirror gives one of them.
            ModuleNotFoundError: If pooch is needed and missing.
        """
        for resource in cls.resources:
            part, stem, kind, _ = resource.name.split("-")  # train-images-idx3-ubyte.gz
            absent = cls._place(root, f"{part}-{stem}", f"{kind}-ubyte") is None
            if absent and cls._table(root, part) is None:
                fetch(resource, root / cls.folder / "raw")

    @classmethod
    def find(cls, root: Path) -> dict[str, Path]:
        """Return the folder of each part, "train" and "test", whose files are there.

        Of the files none but that of the labels is read, to see whose it is.
        """
        found = {}
        for part, name in (("train", "train"), ("t10k", "test")):
            images = cls._place(root, f"{part}-images", "idx3-ubyte")
            labels = cls._place(root, f"{part}-labels", "idx1-ubyte")
            file = labels if images is not None else cls._table(root, part)
            try:
                if file is None or (file == labels and not cls._owns(read_idx(file))):
                    continue
            except DataError:
                continue
            found[name] = file.parent
        return found

    def _read(self, part: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        image_file = self._find(f"{part}-images", "idx3-ubyte")
        label_file = self._find(f"{part}-labels", "idx1-ubyte")
        table = self._table(self.root, part)
        if image_file is None and label_file is None and table is not None:
            images, labels = read_point_csv(table, _SIDE)
            self._check_labels(table, labels)
            return images, labels
        if image_file is None:
            raise self._missing(f"{part}-images", "idx3-ubyte")
        if label_file is None:
            raise self._missing(f"{part}-labels", "idx1-ubyte")
        images, labels = read_idx(image_file), read_idx(label_file)
        if images.dtype != np.uint8 or images.shape[1:] != (_SIDE, _SIDE):
            raise DataError.at(
                image_file,
                expected=f"unsigned bytes of shape (images, {_SIDE}, {_SIDE})",
                found=f"{images.dtype} of shape {images.shape}",
                remedy=f"put the image file of {self.folder} in its place",
            )
        if labels.dtype != np.uint8 or labels.ndim != 1:
            raise DataError.at(
                label_file,
                expected="unsigned bytes of shape (labels,)",
                found=f"{labels.dtype} of shape {labels.shape}",
                remedy=f"put the label file of {self.folder} in its place",
            )
        if len(images) != len(labels):
            raise DataError.at(
                label_file,
                expected=f"{len(images)} labels, one for each image of {image_file}",
                found=f"{len(labels)}",
                remedy="put files of the same release side by side",
            )
        self._check_labels(label_file, labels)
        if not self._owns(labels):
            counts = np.bincount(labels)
            raise DataError.at(
                label_file,
                expected=f"the labels of {self.folder}",
                found=f"{counts.min():,} to {counts.max():,} of each class, those of another data "
                "set with files of the same names",
                remedy=f"put the files of {self.folder} into {self.folder}/raw",
            )
        return images, labels.astype(np.int64)

    @classmethod
    def _owns(cls, labels: NDArray[np.generic]) -> bool:
        # In the whole files of MNIST classes differ in size, in those of Fashion-MNIST never.
        if labels.dtype != np.uint8 or labels.ndim != 1:
            return True  # reading will say what is wrong with them
        counts = np.bincount(labels.astype(np.int64).reshape(-1))
        return len(labels) not in (60_000, 10_000) or (np.ptp(counts) == 0) == cls.balanced

    def _check_labels(self, file: Path, labels: NDArray[np.integer]) -> None:
        wrong = np.flatnonzero((labels < 0) | (labels >= len(self.names)))
        if len(wrong):
            raise DataError.at(
                file,
                place=f"label {wrong[0]}",
                expected=f"labels in 0..{len(self.names) - 1}",
                found=str(labels[wrong[0]]),
                remedy=f"put the label file of {self.folder} in its place",
            )

    def _find(self, stem: str, kind: str) -> Path | None:
        if not self.root.is_dir():
            raise DataError.at(
                self.root,
                expected=f"a folder with the files of {self.folder}",
                found="a file" if self.root.exists() else "nothing",
                remedy="give the folder that holds them, or fetch them with `ddeq datasets get` or "
                "download=True",
            )
        return self._place(self.root, stem, kind)

    @classmethod
    def _place(cls, root: Path, stem: str, kind: str) -> Path | None:
        # Its own folder first: another data set has files of the same names.
        for folder in (root / place for place in cls.places):
            for name in _idx_names(stem, kind):
                if (folder / name).is_file():
                    return folder / name
        return None

    @classmethod
    def _table(cls, root: Path, part: str) -> Path | None:
        if cls.tables is None:
            return None
        name = "test.csv" if part == "t10k" else "train.csv"
        places = (root / name, root / cls.tables / name)
        return next((place for place in places if place.is_file()), None)

    def _missing(self, stem: str, kind: str) -> DataError:
        return DataError.at(
            self.root,
            expected=f"{' or '.join(_idx_names(stem, kind))} in it or in "
            + ", ".join(place for place in self.places if place)
            + (f", or the tables of {self.tables}" if self.tables else ""),
            found="none of them",
            remedy="pass download=True or run `ddeq datasets get`, or put the four IDX files of "
            f"{self.folder} into one of these folders"
            + (f" (the tables of {self.tables} need an account at Kaggle)" if self.tables else ""),
        )

    def _facts(self) -> dict[str, str]:
        return {
            "root": str(self.root),
            "split": self.split,
            "weights": "values of the pixels" if self.weighted else "uniform",
            **super()._facts(),
        }


class FashionMNISTPointCloud(MNISTPointCloud):
    """Fashion-MNIST: 70,000 images of clothes, 28 x 28 pixels, as point clouds in the plane.

    As `MNISTPointCloud`, from the IDX files in `root/FashionMNIST/raw` (where torchvision puts
    them), `root/raw`, `root/fashion-mnist` (Keras; Debian, whose package dataset-fashion-mnist has
    them in the root /usr/share/datasets), `root/data/fashion` (a clone of its repository) or
    `root`.

    Source: H. Xiao, K. Rasul and R. Vollgraf, "Fashion-MNIST: a novel image dataset for
    benchmarking machine learning algorithms", arXiv 1708.07747.
    """

    folder: ClassVar[str] = "FashionMNIST"
    places: ClassVar[tuple[str, ...]] = (
        "FashionMNIST/raw",
        "raw",
        "fashion-mnist",
        "data/fashion",
        "",
    )
    tables: ClassVar[str | None] = None
    resources: ClassVar[tuple[Resource, ...]] = FASHION_MNIST
    licence: str | None = "MIT"
    balanced: ClassVar[bool] = True
    names: ClassVar[tuple[str, ...]] = (
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    )


def _idx_names(stem: str, kind: str) -> list[str]:
    return [f"{stem}{mark}{kind}{end}" for mark in "-." for end in ("", ".gz")]
