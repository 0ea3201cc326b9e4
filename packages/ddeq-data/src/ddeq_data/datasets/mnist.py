"""MNIST as point clouds, from its IDX files."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from ddeq_data.datasets.base import CloudDataset
from ddeq_data.datasets.images import pack_images
from ddeq_data.datasets.splits import check_split, stratified_holdout
from ddeq_data.errors import DataError
from ddeq_data.readers.idx import read_idx
from ddeq_data.transforms.base import Transform

__all__ = ["MNISTPointCloud"]

# Seed and share (one in twelve) of the validation split: part of the definition of the data set.
_SEED, _TWELVE = 0, 12
_SIDE = 28


class MNISTPointCloud(CloudDataset):
    """MNIST: 70,000 handwritten digits of 28 x 28 pixels, as point clouds in the plane.

    A point is a pixel whose value (1..255) is above 0: x its column 0..27, y = 27 - row, so that
    digits stand upright. These are the clouds of the Kaggle data set `pointcloudmnist2d`. Weights
    are uniform, or the values of the pixels divided by their sum.

    The IDX files, raw or gzipped, may lie in `root`, `root/MNIST/raw` (where torchvision puts
    them) or `root/raw`, named as published (`train-images-idx3-ubyte`) or as some mirrors do
    (`train-images.idx3-ubyte`). Only those of the split are read.

    The files' test part is "test" (10,000). From their train part a fixed, stratified twelfth is
    "validation" (5,000), the rest "train" (55,000); "train+validation" is all of it (60,000).

    Source: Y. LeCun, C. Cortes and C. J. C. Burges, "The MNIST database of handwritten digits".

    Args:
        root: Folder of the files, or above them.
        split: "train", "validation", "test" or "train+validation".
        weighted: Weigh a point by the value of its pixel.
        transform: Applied to each cloud; see `CloudDataset`.

    Raises:
        DataError: If a file is missing, damaged, or not of MNIST's kind.
        ValueError: If there is no such split, or `transform` is random.
    """

    folder: ClassVar[str] = "MNIST"
    names: ClassVar[tuple[str, ...]] = tuple(str(digit) for digit in range(10))

    def __init__(
        self,
        root: str | PathLike[str],
        split: str = "train",
        weighted: bool = False,
        transform: Transform | None = None,
    ) -> None:
        check_split(split)
        self.root = Path(root)
        self.split = split
        self.weighted = weighted
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

    def _read(self, part: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        image_file = self._find(f"{part}-images", "idx3-ubyte")
        label_file = self._find(f"{part}-labels", "idx1-ubyte")
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
        wrong = np.flatnonzero(labels >= len(self.names))
        if len(wrong):
            raise DataError.at(
                label_file,
                place=f"label {wrong[0]}",
                expected=f"labels in 0..{len(self.names) - 1}",
                found=str(labels[wrong[0]]),
                remedy=f"put the label file of {self.folder} in its place",
            )
        return images, labels.astype(np.int64)

    def _find(self, stem: str, kind: str) -> Path:
        if not self.root.is_dir():
            raise DataError.at(
                self.root,
                expected=f"a folder with the files of {self.folder}",
                found="a file" if self.root.exists() else "nothing",
                remedy="give the folder that holds them, or download them into it",
            )
        names = [f"{stem}{mark}{kind}{end}" for mark in "-." for end in ("", ".gz")]
        folders = [self.root, self.root / self.folder / "raw", self.root / "raw"]
        for folder in folders:
            for name in names:
                if (folder / name).is_file():
                    return folder / name
        raise DataError.at(
            self.root,
            expected=f"{' or '.join(names)} in it, in {self.folder}/raw or in raw",
            found="none of them",
            remedy=f"download the four IDX files of {self.folder} into one of these folders",
        )

    def _facts(self) -> dict[str, str]:
        return {
            "root": str(self.root),
            "split": self.split,
            "weights": "values of the pixels" if self.weighted else "uniform",
            **super()._facts(),
        }
