"""Splits of labelled data that are the same for ever and everywhere."""

from __future__ import annotations

import torch
from torch import Tensor

from ddeq_data.counters import mix

__all__ = ["check_split", "stratified_holdout", "stratified_share"]

_ROUNDING = 1e-9  # 100 times 0.29 is a little below 29
_FEW = 3  # clouds of a class that can spare one

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
    return _chosen(labels, _shares(torch.bincount(labels), count), seed)


def stratified_share(labels: Tensor, share: float, seed: int) -> Tensor:
    """Choose a share of the items, from each class in proportion, and none too rarely.

    As `stratified_holdout` of that share rounded down, but a class of at least 3 items gives one at
    least: a small set too can be validated on all that it tells apart.

    Args:
        labels: (C,) int64, at least 0.
        share: Share of the items to choose, in 0..1; 0 chooses none.
        seed: Another seed chooses others.

    Returns:
        (K,) int64, indices in rising order.

    Raises:
        ValueError: If `share` is not in 0..1.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"share must be in 0..1, got {share}")
    members = torch.bincount(labels)
    counts = _shares(members, int(len(labels) * share + _ROUNDING))
    if share > 0:
        counts = torch.where(members >= _FEW, counts.clamp(min=1), counts)
    return _chosen(labels, counts, seed)


def _shares(members: Tensor, count: int) -> Tensor:
    # How many of each class, `count` in all, by largest remainders.
    total = max(int(members.sum()), 1)
    share = members * count // total
    remainder = members * count % total
    largest = torch.argsort(remainder, descending=True, stable=True)
    share[largest[: count - int(share.sum())]] += 1
    return share


def _chosen(labels: Tensor, counts: Tensor, seed: int) -> Tensor:
    # The items of least key, so many of each class.
    members = torch.bincount(labels)
    key = mix(torch.tensor(seed), torch.arange(len(labels)))
    order = torch.argsort(key)
    order = order[torch.argsort(labels[order], stable=True)]  # by class, and by key within
    first = members.cumsum(0) - members
    rank = torch.arange(len(labels)) - first[labels[order]]
    return order[rank < counts[labels[order]]].sort().values
