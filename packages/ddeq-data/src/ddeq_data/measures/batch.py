"""One cloud, and a padded batch of clouds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ddeq_data._internal.text import counted
from ddeq_data.measures.targets import check_targets
from ddeq_data.measures.transform import Transform, with_labels

__all__ = ["Cloud", "PointBatch"]

_INLINE = 2**20  # bytes


class Cloud(NamedTuple):
    """One weighted point cloud with its label, without padding.

    Attributes:
        points: (n, d) floating.
        weights: (n,) floating, summing to 1; shape (0,) for an empty cloud.
        label: Index into the `classes` of the data set; or, where the data set has other targets,
            the numbers of the cloud (k,) floating, or a label for each point (n,) int64.
    """

    points: Tensor
    weights: Tensor
    label: int | Tensor


@dataclass(frozen=True, eq=False)
class PointBatch:
    """A batch of measures: padded points, weights that sum to 1 per cloud, labels.

    A row of weight 0 is padding and holds the point 0. A cloud without points has weights that
    are all 0. Shapes, dtypes and devices are checked at construction; the values are promised by
    `collate` and by the data sets and can be checked with `check`, which reads them and therefore
    waits for the device.

    Attributes:
        points: (B, n, d) floating.
        weights: (B, n), of the dtype of `points`.
        labels: (B,) int64.
        targets: What is to be found beside the label: (B, k) floating, k numbers of each cloud;
            or (B, n) int64, a label for each point, -1 in padding. None: nothing.

    Raises:
        ValueError: If a shape, dtype or device does not fit, naming what was expected and found.
    """

    points: Tensor
    weights: Tensor
    labels: Tensor
    targets: Tensor | None = None

    def __post_init__(self) -> None:
        points, weights, labels = self.points, self.weights, self.labels
        if points.ndim != 3 or not points.is_floating_point():
            raise ValueError(
                "points must be floating of shape (B, n, d), "
                f"got {points.dtype} of shape {tuple(points.shape)}"
            )
        if weights.shape != points.shape[:2] or weights.dtype != points.dtype:
            raise ValueError(
                f"weights must be {points.dtype} of shape {tuple(points.shape[:2])} like the "
                f"points, got {weights.dtype} of shape {tuple(weights.shape)}"
            )
        if labels.shape != points.shape[:1] or labels.dtype != torch.int64:
            raise ValueError(
                f"labels must be torch.int64 of shape {tuple(points.shape[:1])}, one for each "
                f"cloud, got {labels.dtype} of shape {tuple(labels.shape)}"
            )
        if not points.device == weights.device == labels.device:
            raise ValueError(
                "points, weights and labels must be on one device, "
                f"got {points.device}, {weights.device} and {labels.device}"
            )
        if self.targets is not None:
            check_targets(self.targets, len(labels), points.shape[:2])
            if self.targets.device != points.device:
                raise ValueError(
                    f"targets must be on the device of the points, {points.device}, got "
                    f"{self.targets.device}"
                )

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        clouds, rows, dim = self.points.shape
        return (
            f"PointBatch({counted(clouds, 'cloud')}, padded to {counted(rows, 'point')} of "
            f"dimension {dim}, {self.points.dtype}, {self.points.device})"
        )

    @property
    def has_point_labels(self) -> bool:
        """Whether the targets are labels of the points."""
        return self.targets is not None and not self.targets.is_floating_point()

    @property
    def mask(self) -> Tensor:
        """(B, n) bool: True where a row is a point, False where it is padding."""
        return self.weights > 0

    @property
    def sizes(self) -> Tensor:
        """(B,) int64: the number of points of each cloud."""
        return self.mask.sum(-1)

    def to(
        self,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        non_blocking: bool = False,
    ) -> PointBatch:
        """Return the batch on `device`, points and weights in `dtype`; labels remain int64.

        So do targets of the dtype they have.
        """
        targets = self.targets
        return PointBatch(
            self.points.to(device=device, dtype=dtype, non_blocking=non_blocking),
            self.weights.to(device=device, dtype=dtype, non_blocking=non_blocking),
            self.labels.to(device=device, non_blocking=non_blocking),
            None if targets is None else targets.to(device=device, non_blocking=non_blocking),
        )

    def pin_memory(self) -> PointBatch:
        """Return the batch in page-locked memory, as `DataLoader(pin_memory=True)` asks for."""
        return PointBatch(
            self.points.pin_memory(),
            self.weights.pin_memory(),
            self.labels.pin_memory(),
            None if self.targets is None else self.targets.pin_memory(),
        )

    def map(self, transform: Transform, generator: torch.Generator | None = None) -> PointBatch:
        """Return the batch with every cloud transformed; labels of points follow their points.

        Args:
            transform: Any transform of `ddeq_data.transforms`.
            generator: Source of chance, needed by random transforms.
        """
        if not self.has_point_labels:
            points, weights = transform(self.points, self.weights, generator)
            return PointBatch(points, weights, self.labels, self.targets)
        assert self.targets is not None
        points, weights, targets = with_labels(
            transform, self.points, self.weights, self.targets, generator
        )
        return PointBatch(points, weights, self.labels, targets)

    def __reduce__(self) -> tuple[Any, ...]:
        # How a worker of a DataLoader sends a batch. Tensors would go through shared memory, each
        # of them with a handshake that takes longer than a small batch itself: so all goes as one,
        # and inline if it is small.
        tensors = (self.labels, self.points, self.weights)
        if self.targets is not None or any(
            t.device.type != "cpu" or t.requires_grad for t in tensors
        ):
            return type(self), (self.points, self.weights, self.labels, self.targets)
        parts = [t.contiguous().flatten().view(torch.uint8) for t in tensors]
        content = torch.cat(parts)
        sent = content.numpy() if len(content) <= _INLINE else content
        return _rebuilt, (sent, tuple(self.points.shape), self.points.dtype)

    def compact(self) -> PointBatch:
        """Return the batch with its padding behind the points, and no more of it than needed.

        The points of a cloud keep their order; one row remains at least. Waits for the device.
        """
        mask = self.mask
        width = max(int(self.sizes.max()), 1) if mask.numel() else mask.shape[1]
        order = torch.argsort((~mask).to(torch.uint8), dim=-1, stable=True)[:, :width]
        points = self.points.take_along_dim(order[..., None], 1)
        weights = self.weights.take_along_dim(order, 1)
        targets = self.targets
        if targets is not None and self.has_point_labels:
            targets = targets.take_along_dim(order, 1)
        points = torch.where((weights > 0)[..., None], points, 0.0)
        return PointBatch(points, weights, self.labels, targets)

    def check(self, atol: float = 1e-4) -> PointBatch:
        """Check the values and return the batch itself. Waits for the device.

        Args:
            atol: By how much the weights of a cloud may miss 1.

        Raises:
            ValueError: If a weight is negative or not finite, the weights of a cloud sum neither
                to 1 nor to 0, a point is not finite, or padding is not 0; naming the cloud.
        """
        total, mask = self.weights.sum(-1), self.mask
        laws = {
            "has a weight that is negative or not finite": (
                ~torch.isfinite(self.weights) | (self.weights < 0)
            ).any(-1),
            "has weights that do not sum to 1": mask.any(-1) & ~((total - 1).abs() <= atol),
            "has a point that is not finite": (mask & ~torch.isfinite(self.points).all(-1)).any(-1),
            "has padding (rows of weight 0) that is not 0": (
                ~mask & ~(self.points == 0).all(-1)
            ).any(-1),
        }
        for broken, which in laws.items():
            if which.any():
                raise ValueError(f"cloud {int(which.nonzero()[0])} of the batch {broken}")
        return self


def _rebuilt(
    content: Tensor | NDArray[np.uint8], shape: tuple[int, int, int], dtype: torch.dtype
) -> PointBatch:
    content = content if isinstance(content, Tensor) else torch.from_numpy(content)
    clouds, rows, dim = shape
    labels, floats = content.tensor_split([8 * clouds])  # the labels ahead, where they are aligned
    points, weights = floats.view(dtype).tensor_split([clouds * rows * dim])
    return PointBatch(points.view(shape), weights.view(shape[:2]), labels.view(torch.int64))
