"""The ways between ragged clouds, clouds laid end to end, and a padded batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ddeq_data.measures import Cloud, PackedClouds, PointBatch

__all__ = ["collate", "pack", "unpack"]


def collate(clouds: Sequence[Cloud] | PointBatch) -> PointBatch:
    """Pad ragged clouds into a batch; the `collate_fn` for a `DataLoader`.

    A data set of this package hands a whole `PointBatch` to the loader, gathered at once; such a
    batch is returned as it is. Rows of weight 0 in a cloud are padding, whatever they hold.

    Args:
        clouds: Clouds of one dimension and dtype on the CPU, or a batch.

    Returns:
        A batch padded to the size of its largest cloud, and to one row at least.

    Raises:
        ValueError: If there is no cloud, or clouds do not fit together or break the convention
            of weights; naming the cloud.
        TypeError: If an element is not a `Cloud`.
    """
    if isinstance(clouds, PointBatch):
        return clouds
    packed = PackedClouds.from_clouds(clouds)
    return packed.gather(torch.arange(len(packed))).check()


def pack(batch: PointBatch) -> PackedClouds:
    """Lay the clouds of a batch end to end, without padding, on the device of the batch.

    The form that PyTorch Geometric (`owners`) and Pointcept (`offsets[1:]`) work on. Gradients
    pass. Waits for the device.

    Args:
        batch: The clouds; padding may be anywhere.

    Returns:
        Clouds of which `unpack` makes the batch again, its padding behind the points.
    """
    mask = batch.mask
    offsets = torch.nn.functional.pad(mask.sum(-1).cumsum(0), (1, 0))
    targets = batch.targets
    if targets is not None and batch.has_point_labels:
        targets = targets[mask]
    return PackedClouds(
        batch.points[mask], batch.weights[mask], offsets, batch.labels, targets=targets
    )


def unpack(clouds: PackedClouds) -> PointBatch:
    """Pad clouds that are laid end to end, all of them; the inverse of `pack`.

    Args:
        clouds: At least one, on any device; `PackedClouds.gather` takes some of them.

    Returns:
        A batch padded to the size of its largest cloud, and to one row at least.
    """
    return clouds.gather(torch.arange(len(clouds), device=clouds.labels.device))
