"""ModelNet10 and ModelNet40, from the meshes or from releases of points."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from os import PathLike
from pathlib import Path
from typing import ClassVar, Literal, get_args

from ddeq_data.datasets import resources
from ddeq_data.datasets.base import CloudDataset
from ddeq_data.datasets.listing import Listing
from ddeq_data.datasets.modelnet.counts import MODELNET10, MODELNET40
from ddeq_data.datasets.modelnet.releases import (
    hdf5_listing,
    hdf5_sources,
    mesh_listing,
    resampled_listing,
    resampled_sources,
)
from ddeq_data.datasets.processing import (
    Source,
    cache_folder,
    file_sources,
    pack_listing,
    processed,
)
from ddeq_data.datasets.splits import check_split
from ddeq_data.downloads import Resource, fetch, unpack
from ddeq_data.errors import DataError
from ddeq_data.measures import Transform
from ddeq_data.shapes import FirstPoints, Sampling, SurfacePoints

__all__ = ["ModelNet10", "ModelNet40", "Release"]

Release = Literal["meshes", "hdf5", "resampled"]
# Seed and share of the validation split: part of the definition of the data set.
_SEED, _SHARE = 0, 0.1


class ModelNet40(CloudDataset):
    """ModelNet40: 12,311 shapes of 40 classes, 9,843 to train and 2,468 to test.

    Three releases are read. Their results are not comparable, so none is taken in the place of
    another:

    - `"meshes"`: the OFF files, class/part/file, in `root` or `root/ModelNet40`. The default
      sampling is `SurfacePoints(1024)`; the DDEQ paper's is `VoxelVertices(z_scored=True)`.
    - `"hdf5"`: `modelnet40_ply_hdf5_2048`, 2,048 points of each shape within the unit sphere, 9,840
      to train. Needs h5py. The default sampling is `FirstPoints(1024)`.
    - `"resampled"`: `modelnet40_normal_resampled`, 10,000 points of each shape. The default
      sampling is `FirstPoints(1024)`.

    Shapes are neither centred nor scaled; that is for a transform, `UnitSphere()` say. A fixed,
    stratified tenth of the shapes to train is "validation".

    Source: Z. Wu, S. Song, A. Khosla, F. Yu, L. Zhang, X. Tang and J. Xiao, "3D ShapeNets: A deep
    representation for volumetric shapes", CVPR 2015; the releases of points are of C. R. Qi,
    L. Yi, H. Su and L. J. Guibas (PointNet and PointNet++, 2017).

    Args:
        root: Folder of the release, or above it.
        split: "train", "validation", "test" or "train+validation".
        release: Which files to read.
        sampling: How a shape becomes a cloud; None for the default of the release.
        transform: Applied to each cloud; see `CloudDataset`.
        complete: Demand the published number of shapes in each class.
        cache: Folder for processed clouds, relative to that of the release; None to process anew.
        download: Fetch the release's archive into `root`, unless it or its folder is there, and
            unpack it there; needs the extra `download`.

    Raises:
        DataError: If files are missing, more than published or damaged, naming them; or no mirror
            gives the archive.
        ModuleNotFoundError: If h5py or pooch is needed and missing.
        ValueError: If there is no such split or release, or `transform` is random.
    """

    counts: ClassVar[dict[str, tuple[int, int]]] = MODELNET40
    meshes: ClassVar[Resource] = resources.MODELNET40
    licence: str | None = "academic research only"

    def __init__(
        self,
        root: str | PathLike[str],
        split: str = "train",
        *,
        release: Release = "meshes",
        sampling: Sampling | None = None,
        transform: Transform | None = None,
        complete: bool = True,
        cache: str | PathLike[str] | None = ".processed",
        download: bool = False,
    ) -> None:
        check_split(split)
        if release not in get_args(Release):
            raise ValueError(f"release must be one of {get_args(Release)}, got {release!r}")
        if release == "hdf5" and self.counts is MODELNET10:
            raise ValueError(f"{type(self).__name__} has no hdf5 release; read ModelNet40's")
        list_files, sources = _RELEASES[release]
        self.split = split
        self.release = release
        self.root = self._locate(Path(root), release, download)
        default: Sampling = SurfacePoints(1024) if release == "meshes" else FirstPoints(1024)
        self.sampling = default if sampling is None else sampling
        listing = list_files(self.root, self.counts, complete).select(
            split, validation_share=_SHARE, test_share=0.0, seed=_SEED
        )
        self.files = listing.files
        self.cache = cache_folder(self.root, cache)
        clouds = pack_listing(
            listing,
            self.sampling,
            name=f"{type(self).__name__.lower()}-{release}-{split}",
            cache=self.cache,
            sources=sources,
        )
        super().__init__(clouds, listing.classes, transform)

    def _facts(self) -> dict[str, str]:
        return {
            "root": str(self.root),
            "split": self.split,
            "release": self.release,
            "sampling": repr(self.sampling),
            **super()._facts(),
            "processed": processed(self.cache),
        }

    @classmethod
    def _locate(cls, root: Path, release: Release, download: bool) -> Path:
        found = cls.find(root, release)
        if found is not None:
            return found
        if download:
            return cls.download(root, release)
        resource = cls.archive(release)
        raise DataError.at(
            root,
            expected=f"the release {release!r} of {cls.__name__} in it or in "
            f"{resource.name.removesuffix('.zip')}",
            found="neither" if root.is_dir() else "no such folder",
            remedy="give the folder that holds it, fetch it with `ddeq datasets get` or "
            f"download=True, or {resource.by_hand}",
        )

    @classmethod
    def download(cls, root: Path, release: Release = "meshes") -> Path:
        """Fetch and unpack a release, unless that was done; return its folder.

        Raises:
            DataError: If no mirror gives the archive, or it is damaged.
            ModuleNotFoundError: If pooch is needed and missing.
        """
        resource = cls.archive(release)
        name = resource.name.removesuffix(".zip")
        if (root / name).is_dir():
            return root / name
        return unpack(fetch(resource, root), name)

    @classmethod
    def archive(cls, release: Release) -> Resource:
        """The published archive of a release; its name is that of the folder in it, and .zip."""
        of_points = {"hdf5": resources.HDF5, "resampled": resources.RESAMPLED}
        return of_points.get(release, cls.meshes)

    @classmethod
    def find(cls, root: Path, release: Release) -> Path | None:
        """The folder of a release, `root` or one in it; None if there is none. Counts nothing."""
        inner = root / cls.archive(release).name.removesuffix(".zip")
        if inner.is_dir():
            return inner
        signs = {
            # A folder of a class may hold anything: it is the meshes that tell.
            "meshes": [f"{kind}/**/*.off" for kind in cls.counts],
            "hdf5": ["ply_data_train0.h5", "ply_data_test0.h5"],
            "resampled": [f"modelnet{len(cls.counts)}_{part}.txt" for part in ("train", "test")],
        }[release]
        return root if any(any(root.glob(sign)) for sign in signs) else None


class ModelNet10(ModelNet40):
    """ModelNet10: 4,899 shapes of 10 classes, 3,991 to train and 908 to test.

    As `ModelNet40`, with the OFF files in `root` or `root/ModelNet10`; or, of the release
    `"resampled"`, the shapes of its lists `modelnet10_train.txt` and `modelnet10_test.txt`.
    """

    counts: ClassVar[dict[str, tuple[int, int]]] = MODELNET10
    meshes: ClassVar[Resource] = resources.MODELNET10


_Lister = Callable[[Path, dict[str, tuple[int, int]], bool], Listing]
_RELEASES: dict[Release, tuple[_Lister, Callable[[Listing], Iterator[Source]]]] = {
    "meshes": (mesh_listing, file_sources),
    "hdf5": (hdf5_listing, hdf5_sources),
    "resampled": (resampled_listing, resampled_sources),
}
