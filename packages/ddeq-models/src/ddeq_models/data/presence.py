"""Which classes, or labels of points, the splits of a data set have clouds of."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import torch

from ddeq_data import CloudDataset
from ddeq_models._internal.text import shortened

__all__ = ["absent", "warn_of_absent"]

_LOG = logging.getLogger(__name__)
_SHOWN = 5  # names of classes that a line tells
_MEANS = {
    "train": "nothing is learnt of them",
    "test": "the figures of the test tell nothing of them",
}


def absent(dataset: CloudDataset) -> list[str]:
    """The names of the classes, or of the labels, that occur in no cloud; none of numbers."""
    if dataset.target_kind == "numbers":
        return []
    found = dataset.labels if dataset.targets is None else dataset.targets
    counts = torch.bincount(found, minlength=len(dataset.classes)).tolist()
    return [name for name, count in zip(dataset.classes, counts, strict=True) if not count]


def warn_of_absent(sets: Mapping[str, CloudDataset]) -> None:
    """Say, a line a split, what of the training the test does not have, and the other way round.

    Args:
        sets: The clouds by what they are for: ``train`` and ``test``.
    """
    without = {split: absent(sets[split]) for split in ("train", "test")}
    for (split, missing), other in zip(without.items(), ("test", "train"), strict=True):
        names = [shortened(name) for name in missing if name not in without[other]]
        if names:
            more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
            _LOG.warning(
                "the %s clouds have none of %s%s, and the %s clouds do: %s",
                split, ", ".join(names[:_SHOWN]), more, other, _MEANS[split],
            )  # fmt: skip
