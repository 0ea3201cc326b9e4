"""The frame of a data set: where its clouds are, and how large."""

from __future__ import annotations

import torch

from ddeq_data.datasets.base import CloudDataset
from ddeq_data.transforms.frame import Frame

__all__ = ["fit_frame"]

_CLOUDS = 4096  # half as many tell a median well enough
_BATCH = 64


def fit_frame(dataset: CloudDataset) -> Frame:
    """Find one centre and one scale for all clouds of a data set.

    The centre is the median, axis by axis, of the clouds' means; the scale the median of their
    root mean squared distances from their own means, per axis. Medians, so that a few clouds far
    away or in another unit move nothing. If no cloud has any extent, the scale is the spread of the
    means, and 1 if there is none either.

    Args:
        dataset: At least one cloud with points; usually the training split. Of more than 4,096
            clouds every second one is looked at, or every third, ...: at most as many.

    Returns:
        The frame, of the coordinates alone: features keep their units.

    Raises:
        ValueError: If no cloud has a point.
    """
    total = len(dataset)
    chosen = torch.arange(total)[:: max(1, -(-total // _CLOUDS))].tolist()
    means, squares = [], []
    for start in range(0, len(chosen), _BATCH):
        batch = dataset.__getitems__(chosen[start : start + _BATCH])
        full = (batch.weights > 0).any(-1)
        points = batch.points[full][..., : dataset.coordinates].double()
        weights = batch.weights[full].double().unsqueeze(-1)
        weights = weights / weights.sum(-2, keepdim=True)  # those of float32 miss 1 by its rounding
        mean = (weights * points).sum(-2)
        means.append(mean)
        squares.append((weights * (points - mean.unsqueeze(-2)).square()).sum(-2).mean(-1))
    mean, square = torch.cat(means), torch.cat(squares)
    if not len(mean):
        raise ValueError("a frame needs at least one cloud with points, all of these are empty")
    centre = mean.median(0).values
    scale = float(square.median().sqrt())
    # Rounding is no extent.
    least = 1e-12 * float(mean.abs().max())
    if not scale > least:
        scale = float((mean - centre).square().mean().sqrt())
    return Frame(tuple(centre.tolist()), scale if scale > least else 1.0)
