"""What a crop is, and what it makes of a batch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ddeq_data.measures import PointBatch
from ddeq_data.measures.masses import exact
from ddeq_data.measures.padding import clean, coordinates_of
from ddeq_data.measures.transform import NO_LABEL

__all__ = ["Crop", "CroppedBatch"]


@dataclass(frozen=True, eq=False)
class CroppedBatch:
    """Clouds cut in two: what is seen, and what is to be found.

    Row i of `visible` and row i of `missing` belong to row i of the batch that was cut: each of
    its points is in exactly one of them, and is padding (weight 0, point 0) in the other. The
    weights of either part sum to 1; `share` of the mass is missing, so that the whole cloud is
    (1 - share) visible + share missing. Both keep the labels. `PointBatch.compact` leaves out the
    padding.

    Attributes:
        visible: The part that is seen; it has points wherever the cloud has any.
        missing: The part that was taken away. Without points (weights that are all 0) where the
            protocol cannot divide a cloud, above all where this is empty or a single place.
        share: (B,) the mass of the cloud that is missing, in 0..1 (1 excluded).
        seeds: (B,) int64, by which `Crop.repeat` makes this again.
    """

    visible: PointBatch
    missing: PointBatch
    share: Tensor
    seeds: Tensor

    def __len__(self) -> int:
        return len(self.seeds)

    def to(
        self,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        non_blocking: bool = False,
    ) -> CroppedBatch:
        """Return it on `device`, points, weights and shares in `dtype`; seeds remain int64."""
        return CroppedBatch(
            self.visible.to(device, dtype, non_blocking=non_blocking),
            self.missing.to(device, dtype, non_blocking=non_blocking),
            self.share.to(device=device, dtype=dtype, non_blocking=non_blocking),
            self.seeds.to(device=device, non_blocking=non_blocking),
        )


@dataclass(frozen=True)
class Crop(ABC):
    """Base of the protocols: `crop(batch, generator)`, and again `crop.repeat(batch, seeds)`.

    Attributes:
        features: How many columns, the last ones, are no coordinates: a colour has no part in what
            is near. They stay with their points.
    """

    features: int = field(default=0, kw_only=True)

    def __call__(self, batch: PointBatch, generator: torch.Generator) -> CroppedBatch:
        """Cut each cloud in two, by a seed of its own.

        Args:
            batch: The clouds, on any device.
            generator: Source of the seeds, on any device: B numbers are drawn from it.
        """
        seeds = torch.empty(len(batch), dtype=torch.int64, device=generator.device)
        seeds.random_(-(2**63), None, generator=generator)
        return self.repeat(batch, seeds)

    def repeat(self, batch: PointBatch, seeds: Tensor) -> CroppedBatch:
        """Cut each cloud by the seed that is given.

        Args:
            batch: The clouds.
            seeds: (B,) int64, one for each cloud, such as the `seeds` of a `CroppedBatch`.

        Raises:
            ValueError: If the seeds do not fit the batch, or `features` is negative or all of its
                columns.
        """
        if seeds.shape != batch.labels.shape or seeds.dtype != torch.int64:
            raise ValueError(
                f"seeds must be torch.int64 of shape {tuple(batch.labels.shape)}, one for each "
                f"cloud, got {seeds.dtype} of shape {tuple(seeds.shape)}"
            )
        seeds = seeds.to(batch.points.device)
        places = batch.points.detach()[..., : coordinates_of(batch.points, self.features)]
        inside = clean(places, batch.weights)
        # Exact, so that the rounding of a mean, which depends on padding and on the order of
        # points, decides nothing.
        taken = batch.mask
        if taken.numel():
            taken = taken & self.missing(exact(inside), exact(batch.weights), seeds)
        total = batch.weights.sum(-1)
        lost = torch.where(taken, batch.weights, 0.0).sum(-1)
        return CroppedBatch(
            _part(batch, ~taken),
            _part(batch, taken),
            lost / torch.where(total > 0, total, 1.0),
            seeds,
        )

    @abstractmethod
    def missing(self, points: Tensor, weights: Tensor, seeds: Tensor) -> Tensor:
        """Say which points are taken away, by the draws that belong to `seeds`.

        Args:
            points: (B, n, d), 0 in padding, the coordinates alone.
            weights: (B, n), 0 in padding.
            seeds: (B,) int64.

        Returns:
            (B, n) bool, of no meaning in padding; never all the points of a cloud.
        """


def _part(batch: PointBatch, chosen: Tensor) -> PointBatch:
    weights = torch.where(chosen, batch.weights, 0.0)
    total = weights.sum(-1, keepdim=True)
    weights = weights / torch.where(total > 0, total, 1.0)
    targets = batch.targets
    if targets is not None and batch.has_point_labels:
        targets = torch.where(weights > 0, targets, NO_LABEL)
    return PointBatch(clean(batch.points, weights), weights, batch.labels, targets)
