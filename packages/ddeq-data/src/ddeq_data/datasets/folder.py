"""A folder of files as a data set."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from functools import partial
from os import PathLike
from pathlib import Path

import torch

from ddeq_data.datasets.base import CloudDataset, TargetKind
from ddeq_data.datasets.listing import list_folder
from ddeq_data.datasets.processing import cache_folder, file_sources, pack_listing, processed
from ddeq_data.datasets.splits import check_split
from ddeq_data.datasets.targets import Numbers, labelled_clouds, list_files, list_numbers
from ddeq_data.measures import Transform
from ddeq_data.readers.columns import check_names
from ddeq_data.shapes import AllPoints, Sampling

__all__ = ["PointCloudFolder"]


class PointCloudFolder(CloudDataset):
    """The clouds of a folder: class/part/file, part/class/file or class/file.

    Or, of other targets than a class, files at any depth, part/file say: with ``numbers`` of each
    cloud, which a table ``targets.csv`` in the folder holds (`list_numbers` says how), or with a
    label for each of its ``points``, which a column of each file holds: whole numbers from 0 on,
    which a file ``classes.txt`` may name, a line each.

    Files are off, ply, pcd, npy, npz, xyz, pts, txt or csv, also mixed. A part is a folder called
    train, test or validation (val, valid). Where no folder says what is for the test, a fixed and
    stratified share of the files is held out for it; where none is for validation, a share of
    those to train. Names that begin with a dot or two underscores are passed over; any other file
    that cannot be read is an error, so that none is lost without a word.

    Processed clouds are kept in a file whose name depends on the files (their names, sizes and
    times of change) and on every argument, and mapped into memory from there.

    Args:
        root: The folder.
        split: "train", "validation", "test" or "train+validation".
        sampling: How a file becomes a cloud: `AllPoints()`, all points or vertices;
            `SurfacePoints(count)` for meshes; `VoxelVertices`, `FirstPoints`, `RandomPoints`. Its
            `repr` must tell all there is to it.
        transform: Applied to each cloud; see `CloudDataset`.
        columns: Which columns of the files are coordinates, by name or by number from 0; see
            `read_cloud`. None: x, y and z by their names, or what the format says.
        features: Further columns that the points keep behind their coordinates, normals or
            colours say: `data.dim` is then larger than `data.coordinates`.
        suffixes: Take only files of these suffixes, (".off",) say, and pass others over.
        validation_share: Share of the files to train that validate, where no folder says.
        test_share: Share of all files that test, where no folder says.
        seed: Seed of these two choices.
        target: What is told of the clouds: their ``class``, ``numbers``, or labels of ``points``.
        label: The column of the labels of points, by name or by number from 0.
        cache: Folder for processed clouds, relative to `root`; None to process anew.

    Raises:
        DataError: If the folder is missing or laid out otherwise, or a file in it is damaged, of
            an unknown kind or of another dimension than the others; naming it.
        ValueError: If there is no such split, a share is not in 0..1, `transform` is random, or
            `columns` and `features` name a column twice.
    """

    def __init__(
        self,
        root: str | PathLike[str],
        split: str = "train",
        *,
        sampling: Sampling | None = None,
        transform: Transform | None = None,
        columns: Sequence[str] | None = None,
        features: Sequence[str] = (),
        suffixes: Collection[str] | None = None,
        validation_share: float = 0.1,
        test_share: float = 0.2,
        seed: int = 0,
        target: TargetKind = "class",
        label: str = "label",
        cache: str | PathLike[str] | None = ".processed",
    ) -> None:
        check_split(split)
        for name, share in (("validation_share", validation_share), ("test_share", test_share)):
            if not 0 <= share <= 1:
                raise ValueError(f"{name} must be in 0..1, got {share}")
        check_names(columns, features)
        self.root = Path(root)
        self.split = split
        self.sampling: Sampling = AllPoints() if sampling is None else sampling
        self.cache = cache_folder(self.root, cache)
        numbers: Numbers | None = None
        if target == "numbers":
            numbers = list_numbers(self.root, suffixes)
            every = numbers.listing
        else:
            every = (list_folder if target == "class" else list_files)(self.root, suffixes)
        listing = every.select(
            split, validation_share=validation_share, test_share=test_share, seed=seed
        )
        self.files = listing.files
        self.drawn = listing.drawn
        place = {file: i for i, file in enumerate(every.files)}
        chosen = torch.tensor([place[file] for file in listing.files])
        if target == "points":
            if self.sampling != AllPoints():
                raise ValueError(f"{self.sampling} gives points without labels; leave sampling out")
            clouds, names = labelled_clouds(
                every, label=label, columns=columns, features=features, cache=self.cache
            )
            super().__init__(clouds.select(chosen), names, transform)
            return
        clouds = pack_listing(
            listing,
            self.sampling,
            name=f"folder-{split}",
            cache=self.cache,
            sources=partial(file_sources, columns=columns, features=features),
            facts={"columns": columns and list(columns), "features": list(features)},
        )
        if numbers is not None:
            clouds = replace(clouds, targets=numbers.values[chosen])
        super().__init__(clouds, listing.classes, transform)

    def _facts(self) -> dict[str, str]:
        return {
            "root": str(self.root),
            "split": self.split,
            "sampling": repr(self.sampling),
            **super()._facts(),
            "processed": processed(self.cache),
        }
