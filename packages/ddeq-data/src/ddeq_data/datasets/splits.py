"""Splits of labelled data that are the same for ever and everywhere."""

from __future__ import annotations

import torch
from torch import Tensor

from ddeq_data.counters import mix

__all__ = ["check_split", "stratified_holdout"]

_SPLITS = ("train", "validation", "test", "train+validation")


def check_split(split: str) -> None:
    """Raise a `ValueError` unless `split` is one of the four names."""
    if split not in _SPLITS:
        raise ValueError(f"split must be one of {', '.join(_SPLITS)}; got {split!r}")


def stratified_holdout(labels: Tensor, count: int, seed: int) -> Tensor:
    """Choose `count` items, from each class in proportion to its size.

    The share of each class is rounded by largest remainders (a tie goes to the smaller label).
    Within a class those items are chosen whose mixed (seed, index) is least, so the choice is
    fixed by arithmetic and not by the version of a random number generator.

    Args:
        labels: (C,) int64, at least 0.
        count: Number of items to choose, in 0..C.
        seed: Another seed chooses others.

    Returns:
        (count,) int64, indices in rising order.

    Raises:
        ValueError: If `count` is not in 0..C.
    """
    total = len(labels)
    if not 0 <= count <= total:
        raise ValueError(f"count must be in 0..{total}, the number of items, got {count}")
    if count == 0:
        return torch.empty(0, dtype=torch.int64)
    members = torch.bincount(labels)
    share = members * count // total
    remainder = members * count % total
    largest = torch.argsort(remainder, descending=True, stable=True)
    share[largest[: count - int(share.sum())]] += 1

    key = mix(torch.tensor(seed), torch.arange(total))
    order = torch.argsort(key)
    order = order[torch.argsort(labels[order], stable=True)]  # by class, and by key within
    first = members.cumsum(0) - members
    rank = torch.arange(total) - first[labels[order]]
    return order[rank < share[labels[order]]].sort().values
