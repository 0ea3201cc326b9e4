"""Clouds that are in memory and in no file: arrays, tensors, data sets of PyTorch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from ddeq_data import CloudDataset, PackedClouds
from ddeq_data.datasets import TargetKind
from ddeq_data.measures import as_precise_as_needed
from ddeq_models.config import ARRAYS, SPLITS, DataConfig, Split, TaskConfig
from ddeq_models.data.labels import as_numbers, class_of, labels_of_points, numbers_of
from ddeq_models.data.pipeline import check_target, open_split
from ddeq_models.errors import UserError
from ddeq_models.recipes import default_preset, recipe_for

__all__ = ["Pair", "Sets", "open_sets", "pack_pairs", "sets_of"]

Sets: TypeAlias = Sequence[Any]
"""Train, validation and test: `CloudDataset`, or any data set of (points[, weights], label)."""

Pair: TypeAlias = tuple[Tensor, Tensor | None]
"""The points (n, d) of a cloud and their weights (n,); None: all weigh the same."""


def pack_pairs(
    pairs: Sequence[Pair],
    labels: Tensor,
    *,
    numbers: Tensor | None = None,
    of_points: Sequence[Tensor] | None = None,
) -> PackedClouds:
    """Lay clouds end to end, each as precise as it needs to be; points of weight 0 are left out.

    Args:
        pairs: At least one cloud.
        labels: (C,) int64.
        numbers: (C, k) floating, the numbers of each cloud, if it has any.
        of_points: (n,) int64 of each cloud, the labels of its points, if they have any.

    Raises:
        UserError: A cloud has no point, another dimension than the first, a number that is not
            finite, or weights that are none; naming it.
    """
    dim = pairs[0][0].shape[-1]
    clouds, kept_labels = [], []
    for i, (points, weights) in enumerate(pairs):
        if points.ndim != 2 or points.shape[1] != dim:
            raise UserError(
                f"cloud {i} must have points of shape (n, {dim}), got {tuple(points.shape)}; all "
                "clouds have as many columns as the first"
            )
        if of_points is not None:
            kept_labels.append(of_points[i] if weights is None else of_points[i][weights > 0])
        points, weights = _weighed(i, points, weights)
        if not len(points):
            raise UserError(f"cloud {i} has no points of a weight above 0; leave it out")
        if not bool(torch.isfinite(points).all()):
            raise UserError(f"cloud {i} holds NaN or inf; leave such points out, or give them 0")
        clouds.append((as_precise_as_needed(points), weights))
    dtype = max((points.dtype for points, _ in clouds), key=lambda kind: kind.itemsize)
    sizes = torch.tensor([0] + [len(points) for points, _ in clouds])
    every = None
    if any(weights is not None for _, weights in clouds):
        parts = [
            points.new_full((len(points),), 1 / len(points), dtype=dtype) if w is None else w
            for points, w in clouds
        ]
        every = torch.cat([part.to(dtype) for part in parts])
    points = torch.cat([points.to(dtype) for points, _ in clouds])
    targets = torch.cat(kept_labels) if kept_labels else numbers
    return PackedClouds(points, every, sizes.cumsum(0), labels, targets=targets)


def _weighed(i: int, points: Tensor, weights: Tensor | None) -> Pair:
    """The points that weigh something, and their weights with the sum 1."""
    if weights is None:
        return points, None
    if weights.shape != points.shape[:1]:
        raise UserError(
            f"cloud {i} has {len(points)} points and weights of shape {tuple(weights.shape)}; give "
            "one for each point"
        )
    if not bool((torch.isfinite(weights) & (weights >= 0)).all()):
        raise UserError(f"cloud {i} has a weight that is negative, NaN or inf")
    kept = weights > 0
    weights = weights[kept].to(torch.float64)
    return points[kept], weights / weights.sum()


def sets_of(
    sets: Sets, kind: TargetKind = "class", classes: Sequence[str] = ()
) -> list[CloudDataset]:
    """Train, validation and test as they are trained on, of one kind.

    Items of a data set are (points, label) or (points, weights, label); a label is a number from 0
    on, whose class is then named by the data set's ``classes`` or by the number, or it is a word.
    Where ``numbers`` of each cloud are wanted it is a number or several, (k,); where labels of the
    ``points``, whole numbers or words (n,), one for each point. ``classes`` names these likewise.

    Args:
        sets: The three sets.
        kind: What is to be known of each cloud.
        classes: Of a model, in whose order they are where no set names its own: some may have no
            cloud here.

    Raises:
        UserError: There are not three, one is no such data set or empty, or they are of several
            dimensions or classes.
    """
    if isinstance(sets, str) or not isinstance(sets, Sequence) or len(sets) != len(SPLITS):
        raise UserError(
            "clouds in memory are given as three data sets, (train, validation, test), got "
            f"{type(sets).__name__} of {len(sets) if isinstance(sets, Sequence) else 'no length'}"
        )
    read = [
        one if isinstance(one, CloudDataset) else _items(one, split, kind)
        for one, split in zip(sets, SPLITS, strict=True)
    ]
    names = _names(read, sets, kind, classes)
    made = [
        one if isinstance(one, CloudDataset) else _labelled(one, names, split, kind)
        for one, split in zip(read, SPLITS, strict=True)
    ]
    first = made[0]
    for one, split in zip(made, SPLITS, strict=True):
        if (one.dim, one.coordinates) != (first.dim, first.coordinates):
            raise UserError(
                f"the points of {split} have {one.dim} columns, those of train {first.dim}"
            )
        check_target(one, kind, split)
        if one.classes != first.classes:
            raise UserError(f"the classes of {split} are not those of train, in their order")
    return made


def _items(dataset: Any, split: Split, kind: TargetKind) -> list[tuple[Pair, Any]]:
    """The clouds and labels of a data set of PyTorch."""
    if not hasattr(dataset, "__len__") or not hasattr(dataset, "__getitem__"):
        raise UserError(
            f"the {split} clouds must be a CloudDataset or a data set of (points, label), got "
            f"{type(dataset).__name__}"
        )
    found: list[tuple[Pair, Any]] = []
    for i in range(len(dataset)):
        item = dataset[i]
        if not isinstance(item, tuple | list) or len(item) not in (2, 3):
            raise UserError(
                f"item {i} of {split} must be (points, label) or (points, weights, label), got "
                f"{type(item).__name__}"
            )
        weights = as_numbers(item[1]) if len(item) == 3 else None
        points = as_numbers(item[0])
        if kind == "class":
            label = class_of(item[-1], f"item {i} of {split}")
        elif kind == "numbers":
            label = numbers_of(item[-1], f"item {i} of {split}")
        else:
            label = labels_of_points(item[-1], len(points), f"item {i} of {split}")
        found.append(((points, weights), label))
    if not found:
        raise UserError(f"there are no {split} clouds; give some")
    return found


def _names(read: Iterable[Any], sets: Sets, kind: TargetKind, classes: Sequence[str]) -> list[str]:
    """The names of all classes, numbers or labels of points."""
    for one in sets:
        if hasattr(one, "classes"):
            return [str(name) for name in one.classes]
    if kind == "numbers":
        count = max(len(numbers) for one in read for _, numbers in one)
        return ["target"] if count == 1 else [f"target {i}" for i in range(count)]
    if classes:
        return list(classes)
    if kind == "points":
        read = [
            [(None, label) for _, of in one for label in np.unique(of).tolist()] for one in read
        ]
    labels = {label for one in read for _, label in one}
    if all(isinstance(label, str) for label in labels):
        return sorted(labels)
    if any(isinstance(label, str) for label in labels):
        raise UserError("labels must be words or numbers, these are both")
    return [str(i) for i in range(int(max(labels)) + 1)]


def _labelled(
    items: Sequence[tuple[Pair, Any]], names: Sequence[str], split: Split, kind: TargetKind
) -> CloudDataset:
    pairs = [pair for pair, _ in items]
    none = torch.zeros(len(items), dtype=torch.int64)
    if kind == "numbers":
        for i, (_, found) in enumerate(items):
            if len(found) != len(names):
                raise UserError(
                    f"item {i} of {split} has {len(found)} numbers, and there are {len(names)}: "
                    f"{', '.join(names)}"
                )
        each = torch.stack([found for _, found in items])
        return CloudDataset(pack_pairs(pairs, none, numbers=each), names)
    if kind == "points":
        place = {name: i for i, name in enumerate(names)}
        found = []
        for i, (_, labels) in enumerate(items):
            known = [place.get(one, -1) if isinstance(one, str) else one for one in labels.tolist()]
            if known and not 0 <= min(known) <= max(known) < len(names):
                raise UserError(f"item {i} of {split} has a point whose label is no class")
            found.append(torch.tensor(known, dtype=torch.int64))
        return CloudDataset(pack_pairs(pairs, none, of_points=found), names)
    numbers = {name: i for i, name in enumerate(names)}
    labels = []
    for i, (_, label) in enumerate(items):
        number = numbers.get(label, -1) if isinstance(label, str) else int(label)
        if not 0 <= number < len(names):
            raise UserError(f"item {i} of {split} has the label {label!r}, which is no class")
        labels.append(number)
    return CloudDataset(pack_pairs(pairs, torch.tensor(labels)), names)


def open_sets(
    data: DataConfig | Sets, sets: Sets | None, task: TaskConfig
) -> tuple[DataConfig, list[CloudDataset]]:
    """The three splits of a run, from its files or from memory.

    Args:
        data: The clouds; or the three sets themselves, which are then normalised and varied as a
            folder of the user's own would be.
        sets: The three sets, where `data` is of the data set ``arrays``.
        task: What they are for.

    Raises:
        UserError: What was given does not go together, or is of no use.
        DataError: The files are missing or damaged.
    """
    if not isinstance(data, DataConfig):
        if sets is not None:
            raise UserError("the clouds were given twice; leave sets out")
        like = "ddeq" if task.target_kind == "class" else default_preset(task.kind)
        sets, data = data, recipe_for(ARRAYS, like).data
    data = replace(data, target=task.target_kind)
    if sets is None:
        found = [open_split(data, split) for split in SPLITS]
        for one in found:
            check_target(one, data.target, task.kind)
        return data, _learnt(data, found)
    if data.name != ARRAYS:
        raise UserError(
            f"the clouds are those of the data set {data.name}; leave sets out, or take "
            'DataConfig("arrays", ...)'
        )
    made = sets_of(sets, data.target)
    first = made[0]
    features = tuple(str(i) for i in range(first.coordinates, first.dim))
    if data.features != features:
        data = replace(data, features=features)
    return data, _learnt(data, made)


def _learnt(data: DataConfig, sets: list[CloudDataset]) -> list[CloudDataset]:
    """The sets, the first of which is what is learnt from."""
    train_set, validation_set, test_set = sets
    if data.learn_from == "train":
        return sets
    return [train_set.joined(validation_set), validation_set, test_set]
