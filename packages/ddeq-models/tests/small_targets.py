"""Clouds with numbers or with labels of points, and models that are trained in a moment."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from ddeq_data import CloudDataset, SyntheticBlobs, SyntheticMoons
from ddeq_models import DDEQRegressorConfig, DDEQSegmenterConfig, TrainConfig

TINY: dict[str, Any] = {
    "dim": 8, "heads": 2, "hidden": 8, "bilinear_dim": 4, "self_blocks": 0, "particles": 2,
    "encoder": "moments", "pooled": 8, "scales": 1, "rtol": 1e-2, "max_steps": 15,
    "summary_dropout": 0.0, "hiding": 0.0,
}  # fmt: skip
REGRESSOR, SEGMENTER = DDEQRegressorConfig(**TINY), DDEQSegmenterConfig(**TINY)
PLAN = TrainConfig(epochs=2, batch_size=8, learning_rate=1e-2)
# The same for ``ddeq train``.
SET = [f"--set=model.{name}={value}" for name, value in TINY.items()]


def blobs(count: int = 12) -> list[CloudDataset]:
    """Training, validation and test clouds with two numbers each."""
    return [SyntheticBlobs(split, count=count, sizes=(5, 9)) for split in PARTS]


def moons(count: int = 12) -> list[CloudDataset]:
    """Training, validation and test clouds with a label for each point."""
    return [SyntheticMoons(split, count=count, sizes=(6, 10)) for split in PARTS]


PARTS = ("train", "validation", "test")


def plain(dataset: CloudDataset, weighted: bool = False) -> list[tuple[Any, ...]]:
    """The same clouds as a data set of anybody's: a list of arrays."""
    items: list[tuple[Any, ...]] = []
    for points, weights, label in map(dataset.__getitem__, range(len(dataset))):
        assert isinstance(label, torch.Tensor)
        arrays = (points.numpy(), weights.numpy(), label.numpy())
        items.append(arrays if weighted else (arrays[0], arrays[2]))
    return items


def in_another_unit(dataset: CloudDataset, factor: float, shift: float) -> CloudDataset:
    """The same clouds, their numbers in another unit."""
    packed = dataset._clouds
    assert packed.targets is not None
    return CloudDataset(replace(packed, targets=factor * packed.targets + shift), dataset.classes)


def told(dataset: CloudDataset) -> "np.ndarray[Any, Any]":
    """The numbers of all clouds (C, k)."""
    assert dataset.targets is not None
    return dataset.targets.numpy()
