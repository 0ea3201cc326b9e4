"""Whatever a user holds clouds in, as clouds laid end to end."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ddeq_data import CloudDataset, PackedClouds, PointBatch
from ddeq_data.measures import as_precise_as_needed
from ddeq_models.data.arrays import Pair, pack_pairs
from ddeq_models.data.labels import as_numbers
from ddeq_models.errors import UserError

__all__ = ["Given", "read_clouds"]


@dataclass(frozen=True)
class Given:
    """What was given.

    Attributes:
        clouds: The clouds; their labels mean nothing.
        labels: The labels that came with them, or None.
    """

    clouds: PackedClouds
    labels: Any = None


def read_clouds(clouds: Any, weights: Any = None) -> Given:
    """Clouds in any of the forms that `DDEQClassifier.fit` names.

    Args:
        clouds: The clouds.
        weights: Of the points: (N, n) beside an array (N, n, d), or one array for each cloud of a
            list. None: all weigh the same, or as much as the clouds themselves say.

    Raises:
        UserError: They are no clouds.
        TypeError: They are not made of numbers.
    """
    if isinstance(clouds, CloudDataset | PackedClouds | PointBatch) or _is_geometric(clouds):
        if weights is not None:
            raise UserError(f"a {type(clouds).__name__} holds its weights; leave weights out")
        return _of_containers(clouds)
    if isinstance(clouds, Tensor) or hasattr(clouds, "__array__"):
        array = clouds if isinstance(clouds, Tensor) else np.asarray(clouds)
        if array.ndim == 1 and array.dtype == object and len(array) and np.ndim(array[0]) > 0:
            return _of_list(list(array), weights)
        return _of_array(as_numbers(clouds), weights)
    if hasattr(clouds, "toarray"):
        return _of_array(as_numbers(clouds), weights)
    if isinstance(clouds, str | bytes) or not isinstance(clouds, Iterable):
        raise UserError(f"expected clouds, got {type(clouds).__name__}: a list of arrays (n, d)")
    return _of_list(list(clouds), weights)


def _is_geometric(clouds: Any) -> bool:
    """Whether it is a batch of PyTorch Geometric, or looks like one."""
    return isinstance(getattr(clouds, "pos", None), Tensor) and hasattr(clouds, "batch")


def _of_containers(clouds: Any) -> Given:
    if isinstance(clouds, CloudDataset):
        pairs = [(cloud.points, cloud.weights) for cloud in map(clouds.__getitem__, _count(clouds))]
        packed = replace(_packed(pairs), coordinates=clouds.coordinates)
        if clouds.target_kind == "numbers":
            return Given(packed, clouds.targets)
        return Given(packed, np.array(clouds.classes)[clouds.labels.numpy()])
    if isinstance(clouds, PackedClouds):
        every = [clouds.cloud(i) for i in _count(clouds)]
        packed = replace(
            _packed([(one.points, one.weights) for one in every]), coordinates=clouds.coordinates
        )
        return Given(packed, clouds.labels.numpy())
    if isinstance(clouds, PointBatch):
        points, weights = clouds.points.detach().cpu(), clouds.weights.detach().cpu()
        return Given(_packed(list(zip(points, weights, strict=True))), clouds.labels.cpu().numpy())
    place = clouds.pos.detach().cpu()
    owners = clouds.batch
    owners = torch.zeros(len(place), dtype=torch.int64) if owners is None else owners.cpu()
    count = getattr(clouds, "num_graphs", None) or int(owners.max()) + 1
    sizes = torch.bincount(owners, minlength=count).tolist()
    parts = torch.split(as_numbers(place[torch.argsort(owners, stable=True)]), sizes)
    return Given(_packed([(part, None) for part in parts]), getattr(clouds, "y", None))


def _count(clouds: Any) -> range:
    return range(len(clouds))


def _of_array(array: Tensor, weights: Any) -> Given:
    shape = tuple(array.shape)
    if array.ndim < 2:
        raise UserError(
            f"Expected 2D array, got {array.ndim}D array instead: clouds are a list of arrays "
            "(n, d), an array (N, n, d), or (N, d) for clouds of one point. Reshape your data"
        )
    if array.ndim > 3:
        raise UserError(f"expected an array (N, n, d) of clouds, got the shape {shape}")
    if not shape[0]:
        raise UserError(f"0 sample(s) (shape={shape}) while a minimum of 1 is required.")
    if not shape[-1]:
        raise UserError(f"0 feature(s) (shape={shape}) while a minimum of 1 is required.")
    if array.ndim == 3:
        return Given(_packed(_with_weights(list(array), weights)))
    if weights is not None:
        raise UserError("an array (N, d) is N clouds of one point, which need no weights")
    if not bool(torch.isfinite(array).all()):
        raise UserError("the clouds hold NaN or inf; leave them out")
    places = torch.arange(len(array) + 1)
    labels = torch.zeros(len(array), dtype=torch.int64)
    return Given(PackedClouds(as_precise_as_needed(array), None, places, labels))


def _of_list(items: list[Any], weights: Any) -> Given:
    if not items:
        raise UserError("0 sample(s) while a minimum of 1 is required: there are no clouds")
    if _is_pair(items[0]):
        if weights is not None:
            raise UserError("the weights were given twice, with the clouds and beside them")
        if not all(map(_is_pair, items)):
            raise UserError("either all clouds are pairs (points, weights), or none is")
        return Given(_packed([(as_numbers(one[0]), as_numbers(one[1])) for one in items]))
    read = [as_numbers(one) for one in items]
    if all(one.ndim < 2 for one in read):
        if len({one.shape for one in read}) > 1:
            raise UserError("expected clouds of shape (n, d), got rows of several lengths")
        return _of_array(torch.stack(read), weights)
    return Given(_packed(_with_weights(read, weights)))


def _is_pair(item: Any) -> bool:
    """Whether it is (points, weights) or a `ddeq_data.Cloud`, and not a tuple of points."""
    return isinstance(item, tuple) and len(item) in (2, 3) and np.ndim(item[0]) == 2


def _with_weights(points: Sequence[Tensor], weights: Any) -> list[Pair]:
    if weights is None:
        return [(one, None) for one in points]
    if len(weights) != len(points):
        raise UserError(f"there are {len(points)} clouds and weights of {len(weights)}")
    return [(one, as_numbers(some)) for one, some in zip(points, weights, strict=True)]


def _packed(pairs: Sequence[Pair]) -> PackedClouds:
    if not pairs:
        raise UserError("0 sample(s) while a minimum of 1 is required: there are no clouds")
    return pack_pairs(pairs, torch.zeros(len(pairs), dtype=torch.int64))
