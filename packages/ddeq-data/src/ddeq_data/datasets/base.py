"""The data set that every other one is: packed clouds with classes."""

from __future__ import annotations

import hashlib
import operator
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.utils.data import Dataset

from ddeq_data._internal.text import counted
from ddeq_data.measures import Cloud, PackedClouds, PointBatch, Transform
from ddeq_data.measures.transform import with_labels
from ddeq_data.transforms.base import is_random

__all__ = ["CloudDataset", "TargetKind"]

TargetKind = Literal["class", "numbers", "points"]

_SHOWN = 12  # names of classes in __repr__


class CloudDataset(Dataset[Cloud]):
    """A map-style data set of labelled clouds that is held in memory.

    `dataset[i]` is a `Cloud`. A `DataLoader` asks for a whole batch at once and gets a
    `PointBatch`, gathered without a loop over the clouds; give it `collate_fn=ddeq_data.collate`.

    Args:
        clouds: The clouds.
        classes: Name of each class; labels are indices into it. Of clouds that have targets: the
            name of each of their numbers, or of each label of their points.
        transform: Applied to each cloud that is taken out, without a generator. It may not be
            random: workers would share one state, and a resumed run would not repeat. Draw in
            the training loop, `batch.map(transform, generator)`.

    Raises:
        ValueError: If a cloud is no measure (see `PackedClouds.check`), a label is no index into
            `classes`, targets are not of as many numbers or labels as it names, or `transform` is
            random.

    Attributes:
        classes: list of the names of the classes.
        class_to_idx: dict from name to label.
        transform: The transform, or None.
        licence: What may be done with the data, or None where it is not known.
        drawn: Whether chance decided which clouds are of this split, so that a change of the files
            makes another choice: clouds of one split may then be of another.
    """

    licence: str | None = None
    drawn: bool = False

    def __init__(
        self, clouds: PackedClouds, classes: Sequence[str], transform: Transform | None = None
    ) -> None:
        clouds.check()
        _check_labels(clouds, len(classes))
        if transform is not None and is_random(transform):
            raise ValueError(
                f"a data set takes no random transform, got {transform}; apply it in the training "
                "loop with a generator of its own: batch.map(transform, generator)"
            )
        self._clouds = clouds
        self.classes = list(classes)
        self.class_to_idx = {name: i for i, name in enumerate(self.classes)}
        self.transform = transform

    @property
    def dim(self) -> int:
        """Number of columns d of the points, features included."""
        return self._clouds.dim

    @property
    def coordinates(self) -> int:
        """How many columns, the first ones, are coordinates; those behind them are features."""
        known = self._clouds.coordinates
        return self.dim if known is None else known

    @property
    def labels(self) -> Tensor:
        """(C,) int64: the label of each cloud."""
        return self._clouds.labels

    @property
    def targets(self) -> Tensor | None:
        """Numbers of each cloud (C, k), labels of all points (N,), or None; see `PackedClouds`."""
        return self._clouds.targets

    @property
    def target_kind(self) -> TargetKind:
        """What is to be found of a cloud: its ``class``, ``numbers``, or a label of its ``points``.

        By this `classes` are the names of the classes, of the numbers, or of the labels.
        """
        if self.targets is None:
            return "class"
        return "numbers" if self.targets.is_floating_point() else "points"

    @property
    def sizes(self) -> Tensor:
        """(C,) int64: the number of points of each cloud; for `SizeBuckets`."""
        return self._clouds.sizes

    def fingerprint(self) -> str:
        """Some letters that are others for other clouds, weights, labels or classes.

        All points are read. The transform does not count, nor does the place of the files.
        """
        clouds = self._clouds
        digest = hashlib.blake2b(repr((self.classes, clouds.coordinates)).encode(), digest_size=16)
        tensors = [clouds.points, clouds.weights, clouds.offsets, clouds.labels]
        tensors += [] if clouds.targets is None else [clouds.targets]
        for tensor in tensors:
            digest.update(b"none" if tensor is None else str((tensor.dtype, tensor.shape)).encode())
            if tensor is not None and tensor.numel():
                digest.update(tensor.contiguous().numpy().data)
        return digest.hexdigest()

    def __len__(self) -> int:
        return len(self._clouds)

    def __getitem__(self, index: int) -> Cloud:
        points, weights, label = self._clouds.cloud(self._checked(index))
        if self.transform is not None and self.target_kind == "points":
            assert isinstance(label, Tensor)
            points, weights, label = with_labels(self.transform, points, weights, label)
        elif self.transform is not None:
            points, weights = self.transform(points, weights)
        return Cloud(points, weights, label)

    def __getitems__(self, indices: Sequence[int]) -> PointBatch:
        """Return the clouds `indices` as one padded batch."""
        chosen = torch.as_tensor(indices, dtype=torch.int64)
        if len(chosen) and not -len(self) <= int(chosen.min()) <= int(chosen.max()) < len(self):
            raise IndexError(
                f"indices must be in 0..{len(self) - 1}, "
                f"got {int(chosen.min())}..{int(chosen.max())}"
            )
        batch = self._clouds.gather(torch.where(chosen < 0, chosen + len(self), chosen))
        return batch if self.transform is None else batch.map(self.transform)

    def joined(self, other: CloudDataset) -> CloudDataset:
        """Return these clouds and then those of `other`, which has the same classes.

        Raises:
            ValueError: If it has not, or the clouds are of another kind, or are transformed
                otherwise.
        """
        if self.classes != other.classes or self.transform != other.transform:
            raise ValueError("expected a data set of the same classes and the same transform")
        both = CloudDataset(self._clouds.joined(other._clouds), self.classes, self.transform)
        both.drawn = self.drawn or other.drawn
        both.licence = self.licence if self.licence == other.licence else None
        return both

    def _checked(self, index: int) -> int:
        i = operator.index(index)
        if not -len(self) <= i < len(self):
            raise IndexError(f"index must be in 0..{len(self) - 1}, got {i}")
        return i + len(self) if i < 0 else i

    def __repr__(self) -> str:
        body = "\n".join(f"    {key}: {value}" for key, value in self._facts().items())
        return f"{type(self).__name__}\n{body}"

    def _facts(self) -> dict[str, str]:
        # What __repr__ tells, one line each.
        sizes = self.sizes
        names = self.classes
        if len(names) > _SHOWN:
            names = [*names[: _SHOWN - 2], "...", names[-1]]
        kinds = counted(len(self.classes), "class", "classes")
        spread = "no points"
        if len(sizes):
            least, most = int(sizes.min()), int(sizes.max())
            spread = f"{least:,} to {most:,} per cloud, median {int(sizes.median()):,}"
        extra = self.dim - self.coordinates
        told = {
            "class": {"clouds": f"{len(self):,} in {kinds}", "classes": ", ".join(names)},
            "numbers": {"clouds": f"{len(self):,}", "numbers": ", ".join(names)},
            "points": {"clouds": f"{len(self):,}", "labels of points": ", ".join(names)},
        }
        return {
            **told[self.target_kind],
            "points": f"{spread}, dimension {self.coordinates}",
            **({"features": f"{extra} of each point"} if extra else {}),
            "transform": repr(self.transform),
            **({} if self.licence is None else {"licence": self.licence}),
        }


def _check_labels(clouds: PackedClouds, classes: int) -> None:
    if not len(clouds):
        return
    found, what = clouds.labels, "labels"
    if clouds.targets is not None:
        if clouds.targets.is_floating_point():
            if clouds.targets.shape[1] != classes:
                raise ValueError(
                    f"the clouds have {clouds.targets.shape[1]} numbers each, and {classes} are "
                    "named; give classes a name for each"
                )
            return
        found, what = clouds.targets, "labels of points"
    if found.numel() and not 0 <= int(found.min()) <= int(found.max()) < classes:
        raise ValueError(
            f"{what} must be in 0..{classes - 1}, one of "
            f"{counted(classes, 'class', 'classes')}, got {int(found.min())}..{int(found.max())}"
        )
