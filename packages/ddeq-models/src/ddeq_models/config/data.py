"""Which clouds a run is about, and how the model sees them."""

import math
from dataclasses import dataclass
from typing import Literal, get_args

from ddeq_data.datasets import TargetKind
from ddeq_models.config.bounds import check_words, require
from ddeq_models.config.options import option
from ddeq_models.errors import UserError
from ddeq_models.registry import DATA_SETS

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)
ARRAYS = "arrays"
"""The name of the data set whose clouds are in memory."""
Release = Literal["meshes", "hdf5", "resampled"]
Normalisation = Literal["set", "z-score", "unit-sphere", "none"]


def check_split(split: str) -> None:
    """Raise UserError unless it is the name of a split."""
    if split not in SPLITS:
        raise UserError(f"split must be one of {', '.join(SPLITS)}, got {split!r}")


@dataclass(frozen=True)
class DataConfig:
    """Which clouds, how they are normalised, and how they vary during training.

    Attributes:
        name: The data set.
        root: Folder of its files; None where the data set comes with the package.
        weighted: Whether a point of `mnist` or `fashion-mnist` weighs as much as its pixel's
            value, and not all points of a cloud alike. Points of `digits` always do.
        normalise: What is done to every cloud, in training and in prediction alike: ``set`` (one
            centre and one scale for all of them, so that place, size and proportions are kept),
            ``z-score`` (zero mean and unit variance along each axis), ``unit-sphere`` (zero mean,
            largest norm 1) or ``none``.
        centre: The centre of ``set``, found in the training clouds when the training begins, and
        unit: its scale; () and 0 before. See `ddeq_data.fit_frame`.
        rotate: Largest random rotation to either side, in degrees. This and all that follow apply
            to training clouds only, after normalisation; 0 turns each of them off.
        scale: Largest random change of size, relative: the factor is drawn from
            [1 - scale, 1 + scale].
        stretch: The same, but for each axis by itself.
        shear: Largest random shear.
        shift: Largest random shift along each axis.
        jitter: Standard deviation of the noise added to each point.
        drop: Probability of a point to be dropped.
        cut_mix: Probability of a cloud to be mixed with another one, and its label with that of the
            other; see `ddeq_data.cut_mix`. For classification.
        release: Which files of `modelnet10` and `modelnet40` are read; see
            `ddeq_data.ModelNet40`.
        sampling: How a mesh becomes a cloud: by ``surface``, 1,024 points, or by its ``vertices``,
            500 to 800 of them; the DDEQ paper's are ``z-scored-vertices``, see
            `ddeq_data.VoxelVertices`. Of a folder ``vertices`` takes every file as it is, and that
            is also what ``default`` does there.
        points: Number of points of each cloud, 0 for all that there are: those that are farthest
            from each other, each with the mass that is nearest to it. In each step of the training
            the first is another one, by chance; wherever something is measured or predicted it is
            the outermost. See `ddeq_data.FarthestSample`.
        points_at: Where these points are: ``chosen``, at points of the cloud, or each in the
            ``mean`` of the points that are nearest to it.
        columns: Which columns of the files of a `folder` are coordinates, by name or by number
            from 0; see `ddeq_data.read_cloud`. Empty: x, y and z by their names, or what the
            format says.
        features: Further columns of these files, which the points keep behind their coordinates.
            Of `arrays` they are told by the clouds.
        learn_from: ``train``; or ``train+validation``, once a configuration was chosen: the
            validation clouds are learnt from as well, and what is measured on them tells nothing of
            others.
        target: What is known of each cloud: its ``class``, ``numbers``, or a label of each of its
            ``points``; decided by the task. See `ddeq_data.PointCloudFolder`.
        label: The column of the files of a `folder` that holds the labels of points.
    """

    name: str = "digits"
    root: str | None = None
    weighted: bool = option(False, "points of images weigh as much as their pixels")
    normalise: Normalisation = option("z-score", "{choices}", common=True)
    centre: tuple[float, ...] = ()
    unit: float = 0.0
    rotate: float = 0.0
    scale: float = 0.0
    stretch: float = 0.0
    shear: float = 0.0
    shift: float = 0.0
    jitter: float = 0.0
    drop: float = 0.0
    cut_mix: float = 0.0
    release: Release = option("meshes", "files of ModelNet to read: {choices}")
    sampling: Literal["default", "surface", "vertices", "z-scored-vertices"] = option(
        "default", "points of a mesh: {choices}"
    )
    points: int = option(0, "points of each cloud, 0: all", common=True)
    points_at: Literal["chosen", "mean"] = "chosen"
    columns: tuple[str, ...] = option((), "columns that are coordinates, by name or number")
    features: tuple[str, ...] = option((), "columns that the points keep beside them: nx,ny,nz")
    learn_from: Literal["train", "train+validation"] = option("train", "clouds: {choices}")
    target: TargetKind = "class"
    label: str = "label"

    def __post_init__(self) -> None:
        DATA_SETS.find(self.name)
        check_words(self)
        check_columns(self.columns, self.features)
        if self.name != "folder" and (self.columns or (self.features and self.name != ARRAYS)):
            raise UserError(
                f"{self.name} has columns of its own; leave columns and features out, or take the "
                "data set folder"
            )
        require(self, "centre", lambda x: all(map(math.isfinite, x)), "finite")
        require(self, "unit", lambda x: 0 <= x < math.inf, "at least 0")
        if bool(self.centre) != (self.unit > 0):
            raise UserError("centre and unit are of one frame: give both, or leave both out")
        require(self, "points", lambda x: x >= 0, "at least 0")
        require(self, "points", lambda x: x <= 2**20, "at most 2^20")
        require(self, "rotate", lambda x: 0 <= x <= 180, "between 0 and 180")
        for name in ("shear", "shift", "jitter"):
            require(self, name, lambda x: 0 <= x < math.inf, "at least 0")
        for name in ("scale", "stretch", "drop"):
            require(self, name, lambda x: 0 <= x < 1, "at least 0 and below 1")
        require(self, "cut_mix", lambda x: 0 <= x <= 1, "in 0..1")


def check_columns(columns: tuple[str, ...], features: tuple[str, ...]) -> None:
    """See that columns of files are told by names, each once.

    Raises:
        UserError: One is empty, or comes twice.
    """
    every = [*columns, *features]
    if "" in every:
        raise UserError(f"columns and features must be names or numbers of columns, got {every}")
    if twice := [name for name in every if every.count(name) > 1]:
        raise UserError(f"columns and features must name each column once, got {twice[0]!r} twice")
