"""The way from a list of ragged clouds to a padded batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ddeq_data.batch import Cloud, PointBatch
from ddeq_data.packed import PackedClouds

__all__ = ["collate"]


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
