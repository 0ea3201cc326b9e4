"""Segmentation: a label for each point of a cloud."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ddeq_data import CloudDataset, PointBatch
from ddeq_data.datasets import TargetKind
from ddeq_models._internal.text import names_in_markdown
from ddeq_models.errors import UserError
from ddeq_models.models.base import Output
from ddeq_models.registry import register_task
from ddeq_models.tasks.base import Card, Task, TaskConfig, with_penalty
from ddeq_models.tasks.tally import Columns, Figures, Records, mean, solver_figures


@dataclass(frozen=True)
class SegmentationConfig(TaskConfig):
    """Segmentation has no options of its own: the smoothing of labels belongs to the training."""

    kind: ClassVar[str] = "segmentation"
    target_kind: ClassVar[TargetKind] = "points"


class Parted(NamedTuple):
    """Clouds and the labels of their points.

    Attributes:
        points: (B, n, d).
        weights: (B, n).
        labels: (B, n) int64, -1 in padding.
    """

    points: Tensor
    weights: Tensor
    labels: Tensor


@register_task(SegmentationConfig)
class Segmentation(Task):
    r"""Cross-entropy of the points in training; intersections over unions after it.

    The loss of a cloud is that of its points, each by its weight, so that it is one of measures.
    Figures count points: with those of label k, true and predicted, ``IoU_k = |both| / |either|``.

    ``miou`` is the mean of IoU_k over the labels that occur, counted over all clouds together (as
    is usual for scenes, S3DIS); ``cloud_miou`` the mean over the clouds of its mean over the labels
    that occur in the cloud (as is usual for parts of things, ShapeNet); ``accuracy`` the share of
    the points whose most probable label is theirs. Beside these ``clouds``, ``loss`` (mean
    cross-entropy, in nats, without smoothing), and those of `solver_figures`.
    """

    command = "predict"

    def prepare(self, batch: PointBatch, generator: torch.Generator) -> Parted:
        """See `Task.prepare`."""
        assert batch.targets is not None
        return Parted(batch.points, batch.weights, batch.targets)

    def known(self, batch: PointBatch) -> Tensor:
        """See `Task.known`: the share of each label in the cloud."""
        assert batch.targets is not None
        count = len(self.config.classes)
        shares = functional.one_hot(batch.targets.clamp(min=0), count).to(batch.weights.dtype)
        return (batch.weights.unsqueeze(-1) * shares).sum(-2)

    def loss(self, answer: Output, inputs: Parted) -> Tensor:
        """See `Task.loss`; with smoothed labels."""
        smoothing = self.config.train.label_smoothing
        return with_penalty(self._smoothed(answer, inputs, smoothing).mean(), answer)

    def losses(self, answer: Output, inputs: Parted) -> Tensor:
        """See `Task.losses`; without smoothing."""
        return self._smoothed(answer, inputs, 0.0)

    def _smoothed(self, answer: Output, inputs: Parted, smoothing: float) -> Tensor:
        each = functional.cross_entropy(
            answer.logits.movedim(-1, 1),
            inputs.labels,
            ignore_index=-1,
            reduction="none",
            label_smoothing=smoothing,
        )
        weights = torch.where(inputs.labels >= 0, inputs.weights, 0)
        return (weights * each).sum(-1)

    def records(self, answer: Output, inputs: Parted, thorough: bool = False) -> Records:
        """See `Task.records`."""
        labels = inputs.labels
        said = torch.where(labels >= 0, answer.logits.argmax(-1), -1)
        records = dict(super().records(answer, inputs))
        for k in range(len(self.config.classes)):
            true, taken = labels == k, said == k
            records[f"both_{k}"] = (true & taken).sum(-1)
            records[f"either_{k}"] = (true | taken).sum(-1)
            records[f"true_{k}"] = true.sum(-1)
        return records

    def _counts(self, columns: Columns, of: str) -> np.ndarray[Any, np.dtype[np.float64]]:
        none = np.zeros(0)
        labels = range(len(self.config.classes))
        return np.stack([columns.get(f"{of}_{k}", none) for k in labels], 1)

    def figures(self, columns: Columns) -> Figures:
        """See `Task.figures`."""
        both, either, true = (self._counts(columns, of) for of in ("both", "either", "true"))
        known = np.where(either > 0, both / np.maximum(either, 1), np.nan)
        there = either.any(1)
        of_clouds = np.nanmean(known[there], 1) if there.any() else np.zeros(0)
        of_labels = self._ious(columns)
        total = float(true.sum())
        return {
            "clouds": len(both),
            "loss": mean(columns.get("loss")),
            "miou": mean(of_labels[np.isfinite(of_labels)]),
            "cloud_miou": mean(of_clouds),
            "accuracy": float(both.sum()) / total if total else float("nan"),
            **solver_figures(columns),
        }

    def _ious(self, columns: Columns) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Of each label over all clouds; NaN of one that does not occur."""
        both, either = (self._counts(columns, of).sum(0) for of in ("both", "either"))
        return np.where(either > 0, both / np.maximum(either, 1), np.nan)

    def objective(self, figures: Figures) -> tuple[float, ...]:
        """The mean intersection over union; among equals, the loss."""
        return figures["miou"], -figures["loss"]

    def headline(self, figures: Figures) -> str:
        """See `Task.headline`."""
        return f"mIoU {figures['miou']:.1%}"

    def result(self, columns: Columns) -> dict[str, Any]:
        """The intersection over union of each label."""
        ious = self._ious(columns)
        names = self.config.classes
        return {
            "ious": {
                name: float(iou) if np.isfinite(iou) else None
                for name, iou in zip(names, ious, strict=True)
            }
        }

    def check(self, sets: Mapping[str, CloudDataset]) -> None:
        """See `Task.check`; segmentation needs two labels to tell apart."""
        super().check(sets)
        targets = sets["train"].targets
        assert targets is not None
        present = torch.bincount(targets, minlength=len(self.config.classes)) > 0
        if int(present.sum()) < 2:
            only = self.config.classes[int(present.to(torch.int8).argmax())]
            raise UserError(
                f"all points to train on have one label, {only}: segmentation needs two at least"
            )

    def summary(self, result: Mapping[str, Any], clouds: str) -> str:
        """See `Task.summary`."""
        known = {name: result.get(f"test_{name}") for name in ("miou", "accuracy")}
        told = {name: "unknown" if x is None else f"{x:.2%}" for name, x in known.items()}
        return f"test mIoU {told['miou']}, {told['accuracy']} of the points, on {clouds} clouds"

    def told(self, figures: Mapping[str, Any]) -> str:
        """See `Task.told`."""
        said = (
            f"mIoU {figures['miou']:.2%}, mean over clouds {figures['cloud_miou']:.2%}, accuracy "
            f"of points {figures['accuracy']:.2%}, cross-entropy {figures['loss']:.4f}"
        )
        each = figures.get("ious") or {}
        listed = ", ".join(
            f"{name} {'unknown' if iou is None else f'{iou:.1%}'}" for name, iou in each.items()
        )
        return f"{said}\n  IoU: {listed}" if listed else said

    def card(self) -> Card:
        """See `Task.card`."""
        names = self.config.classes
        return Card(
            "point-cloud-segmentation",
            "Point cloud segmentation",
            f"It gives each point of a cloud one of {len(names)} labels: "
            f"{names_in_markdown(names)}.",
            {
                "miou": "Mean intersection over union",
                "cloud_miou": "The same, a mean over clouds",
                "accuracy": "Accuracy of points",
            },
        )
