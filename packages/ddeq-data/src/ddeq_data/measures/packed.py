"""Storage of many clouds as one array of points, and the vectorised way out of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor

from ddeq_data._internal.text import counted
from ddeq_data.measures.batch import Cloud, PointBatch
from ddeq_data.measures.targets import check_targets
from ddeq_data.measures.transform import NO_LABEL

__all__ = ["PackedClouds"]


@dataclass(frozen=True, eq=False)
class PackedClouds:
    """All clouds of a data set, their points laid end to end.

    Points may be stored in a small integer dtype (pixel coordinates fit in uint8); they come out
    in floating point. Those of a data set live on the CPU of the loader; `pack` leaves them where
    the batch is.

    Attributes:
        points: (N, d), the points of all C clouds.
        weights: (N,) floating, summing to 1 in each cloud; None if every cloud is uniform.
        offsets: (C + 1,) int64; cloud i is the rows offsets[i] to offsets[i + 1] (exclusive).
        labels: (C,) int64.
        coordinates: How many columns of the points, the first ones, are coordinates; the others
            are features of the points. None: all of them.
        targets: (C, k) floating, k numbers of each cloud; or (N,) int64 from 0 on, a label for
            each point. None: there are none beside the labels.

    Raises:
        ValueError: If the shapes or dtypes do not fit, or the offsets do not cut N rows.
    """

    points: Tensor
    weights: Tensor | None
    offsets: Tensor
    labels: Tensor
    coordinates: int | None = None
    targets: Tensor | None = None

    def __post_init__(self) -> None:
        if self.points.ndim != 2:
            raise ValueError(f"points must be (N, d), got shape {tuple(self.points.shape)}")
        rows = len(self.points)
        if self.weights is not None and (
            self.weights.shape != (rows,) or not self.weights.is_floating_point()
        ):
            raise ValueError(
                f"weights must be floating of shape ({rows},), "
                f"got {self.weights.dtype} of shape {tuple(self.weights.shape)}"
            )
        if self.labels.ndim != 1 or self.labels.dtype != torch.int64:
            raise ValueError(
                "labels must be torch.int64 of shape (C,), "
                f"got {self.labels.dtype} of shape {tuple(self.labels.shape)}"
            )
        if self.offsets.shape != (len(self.labels) + 1,) or self.offsets.dtype != torch.int64:
            raise ValueError(
                f"offsets must be torch.int64 of shape ({len(self.labels) + 1},), "
                f"got {self.offsets.dtype} of shape {tuple(self.offsets.shape)}"
            )
        if self.coordinates is not None and not 1 <= self.coordinates <= self.dim:
            raise ValueError(
                f"coordinates must be in 1..{self.dim}, the columns of the points, "
                f"got {self.coordinates}"
            )
        if self.targets is not None:
            check_targets(self.targets, len(self.labels), (rows,))
        if self.offsets[0] != 0 or self.offsets[-1] != rows or (self.offsets.diff() < 0).any():
            raise ValueError(f"offsets must rise from 0 to the number of rows, {rows}")

    @classmethod
    def from_clouds(cls, clouds: Sequence[Cloud]) -> PackedClouds:
        """Lay clouds end to end.

        Args:
            clouds: At least one; all of one dimension, on the CPU. They are laid down in the
                widest dtype of their points, which the weights take too.

        Raises:
            TypeError: If an element is not a `Cloud`.
            ValueError: If there is none, or one does not fit the first; naming it.
        """
        if len(clouds) == 0:
            raise ValueError("expected at least one cloud to batch, got an empty list")
        for i, cloud in enumerate(clouds):
            if not isinstance(cloud, Cloud):
                raise TypeError(f"element {i} must be a Cloud, got {type(cloud).__name__}")
            _fits(i, cloud, clouds[0])
        sizes = torch.tensor([0] + [len(cloud.points) for cloud in clouds])
        dtype = reduce(torch.promote_types, {cloud.points.dtype for cloud in clouds})
        return cls(
            torch.cat([cloud.points.to(dtype) for cloud in clouds]),
            torch.cat([cloud.weights.to(dtype) for cloud in clouds]),
            sizes.cumsum(0),
            *_labels([cloud.label for cloud in clouds]),
        )

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        clouds = counted(len(self), "cloud")
        weights = "uniform" if self.weights is None else str(self.weights.dtype)
        return (
            f"PackedClouds({clouds}, {counted(len(self.points), 'point')} of dimension "
            f"{self.dim}, {self.points.dtype}, weights {weights}, {self.points.device})"
        )

    @property
    def dim(self) -> int:
        """Number of columns d of the points, features included."""
        return self.points.shape[1]

    @property
    def sizes(self) -> Tensor:
        """(C,) int64: the number of points of each cloud."""
        return self.offsets.diff()

    @property
    def owners(self) -> Tensor:
        """(N,) int64: the cloud that each row belongs to; the `batch` of PyTorch Geometric."""
        count = torch.arange(len(self), device=self.points.device)
        return count.repeat_interleave(self.sizes, output_size=len(self.points))

    @property
    def dtype(self) -> torch.dtype:
        """Floating dtype in which clouds come out: that of the points, or float32."""
        return self.points.dtype if self.points.is_floating_point() else torch.float32

    def check(self, atol: float = 1e-4) -> PackedClouds:
        """Check the values and return the clouds themselves. Reads all of them.

        Args:
            atol: By how much the weights of a cloud may miss 1.

        Raises:
            ValueError: If a weight is negative or not finite, the weights of a cloud sum neither
                to 1 nor to 0, or a point that weighs something is not finite; naming the cloud.
        """
        bad = torch.zeros(len(self.points), dtype=torch.bool, device=self.points.device)
        if self.points.is_floating_point():
            bad = ~self.points.isfinite().all(-1)
        if self.weights is not None:
            weights = self.weights
            self._refuse(
                ~weights.isfinite() | (weights < 0), "a weight that is negative or not finite"
            )
            bad &= weights > 0
            total = weights.new_zeros(len(self), dtype=torch.float64)
            total.index_add_(0, self.owners, weights.double())
            missed = (total != 0) & ~((total - 1).abs() <= atol)
            if missed.any():
                i = int(missed.nonzero()[0])
                raise ValueError(f"cloud {i} has weights that sum to {float(total[i]):g}, not to 1")
        self._refuse(bad, "a point that is not finite")
        return self

    def _refuse(self, rows: Tensor, what: str) -> None:
        if rows.any():
            row = int(rows.nonzero()[0])
            i = int(torch.searchsorted(self.offsets, row, right=True)) - 1
            raise ValueError(f"cloud {i} has {what}, point {row - int(self.offsets[i])}")

    def cloud(self, index: int) -> Cloud:
        """Return cloud `index`, 0 <= index < C, without padding."""
        start, stop = int(self.offsets[index]), int(self.offsets[index + 1])
        points = self.points[start:stop].to(self.dtype, copy=True)
        if self.weights is None:
            weights = points.new_full((stop - start,), 1.0 / max(stop - start, 1))
        else:
            weights = self.weights[start:stop].to(self.dtype, copy=True)
        return Cloud(points, weights, self._label(index, start, stop))

    def _label(self, index: int, start: int, stop: int) -> int | Tensor:
        if self.targets is None:
            return int(self.labels[index])
        if self.targets.is_floating_point():
            return self.targets[index].clone()
        return self.targets[start:stop].clone()

    def gather(self, indices: Tensor) -> PointBatch:
        """Return the clouds `indices` as a padded batch, without a loop over them.

        Args:
            indices: (B,) int64 with values in 0..C-1, repetitions allowed.

        Returns:
            A batch padded to the size of its largest cloud, and to one row at least.
        """
        start = self.offsets[indices]
        sizes = self.offsets[indices + 1] - start
        width = max(int(sizes.max()), 1) if len(sizes) else 1
        column = torch.arange(width, device=start.device)
        valid = column < sizes[:, None]  # (B, n)
        labels = self.labels[indices]
        shape = (len(indices), width)
        if len(self.points) == 0:
            points = self.points.new_zeros(*shape, self.dim, dtype=self.dtype)
            empty = self.points.new_zeros(*shape, dtype=self.dtype)
            none = torch.full(shape, NO_LABEL, device=labels.device)
            return PointBatch(points, empty, labels, self._gathered(indices, none))
        # A padded row reads some row of the array and is zeroed thereafter.
        rows = (start[:, None] + column).clamp_(max=len(self.points) - 1).flatten()
        points = self.points.index_select(0, rows).to(self.dtype).reshape(*shape, self.dim)
        if self.weights is None:
            weights = valid.to(self.dtype) / sizes.clamp(min=1).to(self.dtype)[:, None]
        else:
            weights = self.weights.index_select(0, rows).to(self.dtype).reshape(shape)
            weights.masked_fill_(~valid, 0)
        points.masked_fill_((weights == 0)[..., None], 0)
        found = None
        if self.targets is not None and not self.targets.is_floating_point():
            found = self.targets.index_select(0, rows).reshape(shape)
            found = found.masked_fill(weights == 0, NO_LABEL)
        return PointBatch(points, weights, labels, self._gathered(indices, found))

    def _gathered(self, indices: Tensor, of_points: Tensor | None) -> Tensor | None:
        if self.targets is None or not self.targets.is_floating_point():
            return None if self.targets is None else of_points
        return self.targets[indices]

    def select(self, indices: Tensor) -> PackedClouds:
        """Return the clouds `indices`, (B,) int64, packed anew in that order."""
        sizes = self.sizes[indices]
        offsets = torch.cat([sizes.new_zeros(1), sizes.cumsum(0)])
        # Row r of the result comes from the row that is as far from the start of its cloud.
        shift = (self.offsets[indices] - offsets[:-1]).repeat_interleave(sizes)
        rows = torch.arange(int(offsets[-1])) + shift
        weights = None if self.weights is None else self.weights[rows]
        targets = self.targets
        if targets is not None:
            targets = targets[indices] if targets.is_floating_point() else targets[rows]
        return PackedClouds(
            self.points[rows], weights, offsets, self.labels[indices], self.coordinates, targets
        )

    def joined(self, other: PackedClouds) -> PackedClouds:
        """Return these clouds and then those of `other`.

        Raises:
            ValueError: If the others have other columns, or know something else of each cloud.
        """
        for what in ("dim", "coordinates"):
            if getattr(self, what) != getattr(other, what):
                raise ValueError(
                    f"expected clouds of the same {what}, got {getattr(self, what)} and "
                    f"{getattr(other, what)}"
                )
        targets = None
        if self.targets is not None and other.targets is not None:
            kinds = [(t.dtype, t.shape[1:]) for t in (self.targets, other.targets)]
            if kinds[0] != kinds[1]:
                raise ValueError(f"expected targets of one kind, got {kinds[0]} and {kinds[1]}")
            targets = torch.cat([self.targets, other.targets])
        elif self.targets is not other.targets:
            raise ValueError("expected targets of all clouds or of none")
        weights = None
        if self.weights is not None or other.weights is not None:
            weights = torch.cat([part._weights() for part in (self, other)])
        return PackedClouds(
            torch.cat([self.points, other.points]),
            weights,
            torch.cat([self.offsets, self.offsets[-1] + other.offsets[1:]]),
            torch.cat([self.labels, other.labels]),
            self.coordinates,
            targets,
        )

    def _weights(self) -> Tensor:
        if self.weights is not None:
            return self.weights
        return (1.0 / self.sizes.to(self.dtype)).repeat_interleave(self.sizes)


def _labels(labels: Sequence[int | Tensor]) -> tuple[Tensor, None, Tensor | None]:
    """Labels, coordinates and targets of clouds whose labels may be numbers or of the points."""
    if not isinstance(labels[0], Tensor):
        return torch.tensor(labels), None, None
    found = [one for one in labels if isinstance(one, Tensor)]
    targets = torch.stack(found) if found[0].is_floating_point() else torch.cat(found)
    return torch.zeros(len(labels), dtype=torch.int64), None, targets


def _fits(i: int, cloud: Cloud, first: Cloud) -> None:
    points, weights, label = cloud
    if points.ndim != 2 or not points.is_floating_point() or weights.shape != points.shape[:1]:
        raise ValueError(
            f"cloud {i} must have floating points (n, d) and weights (n,), got "
            f"{points.dtype} of shape {tuple(points.shape)} and shape {tuple(weights.shape)}"
        )
    if points.device.type != "cpu" or weights.device.type != "cpu":
        raise ValueError(
            f"cloud {i} is on {points.device}; batch clouds on the CPU and move the batch: "
            "collate(clouds).to(device)"
        )
    if points.shape[1] != first.points.shape[1]:
        raise ValueError(
            f"cloud {i} has dimension {points.shape[1]}, cloud 0 has {first.points.shape[1]}; "
            "batch clouds of one dimension"
        )
    if not weights.is_floating_point():
        raise ValueError(f"the weights of cloud {i} must be floating, got {weights.dtype}")
    if isinstance(label, Tensor):
        like = first.label
        numbers = label.is_floating_point() and label.ndim == 1
        if not isinstance(like, Tensor) or like.dtype != label.dtype:
            raise ValueError(f"the label of cloud {i} must be of the kind of cloud 0's")
        if not (numbers and label.shape == like.shape) and not (
            label.dtype == torch.int64 and label.shape == weights.shape
        ):
            raise ValueError(
                f"the label of cloud {i} must be an int, numbers (k,), or int64 of shape "
                f"{tuple(weights.shape)}, one for each point; got {label.dtype} of shape "
                f"{tuple(label.shape)}"
            )
    elif isinstance(label, bool) or not isinstance(label, int) or isinstance(first.label, Tensor):
        raise ValueError(f"the label of cloud {i} must be an int, got {label!r}")
