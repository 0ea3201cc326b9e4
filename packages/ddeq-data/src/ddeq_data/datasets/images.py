"""Grey images as point clouds."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ddeq_data.measures import PackedClouds

__all__ = ["pack_images"]

# Images treated at once: bounds the memory for the int64 positions that numpy returns.
_CHUNK = 4096


def pack_images(images: NDArray[np.uint8], labels: Tensor, *, weighted: bool) -> PackedClouds:
    """Turn each image into the cloud of its pixels above 0.

    A point is (column, height - 1 - row), so that the image stands upright; the points of a cloud
    come row by row from the top. An image without such a pixel becomes a cloud without points.

    Args:
        images: (C, height, width) uint8, height and width at most 256.
        labels: (C,) int64.
        weighted: Weigh a point by the value of its pixel, not all points of a cloud alike.

    Returns:
        Clouds whose points are stored as uint8.
    """
    count, height, width = images.shape
    rows, columns = np.divmod(np.arange(height * width), width)
    where = np.stack([columns, height - 1 - rows], -1).astype(np.uint8)
    flat = images.reshape(count, height * width)
    offsets = np.zeros(count + 1, dtype=np.int64)
    np.cumsum(np.count_nonzero(flat, axis=1), out=offsets[1:])
    points = np.empty((int(offsets[-1]), 2), dtype=np.uint8)
    weights = np.empty(int(offsets[-1]), dtype=np.float32) if weighted else None
    for first in range(0, count, _CHUNK):
        part = flat[first : first + _CHUNK]
        inside = slice(int(offsets[first]), int(offsets[min(first + _CHUNK, count)]))
        image, pixel = np.nonzero(part)
        points[inside] = where[pixel]
        if weights is not None:
            weights[inside] = part[image, pixel] / part.sum(1, dtype=np.float64)[image]
    return PackedClouds(
        torch.from_numpy(points),
        None if weights is None else torch.from_numpy(weights),
        torch.from_numpy(offsets),
        labels,
    )
