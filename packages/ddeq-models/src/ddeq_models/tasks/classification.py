"""Classification: a class for each cloud."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ddeq_data import CloudDataset, PointBatch, Transform, cut_mix
from ddeq_models._internal.text import names_in_markdown
from ddeq_models.errors import UserError
from ddeq_models.models.base import Output
from ddeq_models.registry import register_task
from ddeq_models.tasks.advice import advice
from ddeq_models.tasks.base import Card, Task, TaskConfig, with_penalty
from ddeq_models.tasks.peer import cheap_peer
from ddeq_models.tasks.tally import (
    Columns,
    Figures,
    Records,
    calibration_error,
    confusion_matrix,
    mean,
    solver_figures,
)


@dataclass(frozen=True)
class ClassificationConfig(TaskConfig):
    """Classification has no options of its own: the smoothing of labels belongs to the training."""

    kind: ClassVar[str] = "classification"


class Labelled(NamedTuple):
    """Clouds and their classes.

    Attributes:
        points: (B, n, d).
        weights: (B, n).
        labels: (B,) int64.
    """

    points: Tensor
    weights: Tensor
    labels: Tensor


class Mixed(NamedTuple):
    """Clouds of two classes each.

    Attributes:
        points: (B, n, d).
        weights: (B, n).
        labels: (B,) int64, the class of the larger part.
        others: (B,) int64, that of the smaller.
        shares: (B,), how much of the cloud the larger part is.
    """

    points: Tensor
    weights: Tensor
    labels: Tensor
    others: Tensor
    shares: Tensor


@register_task(ClassificationConfig)
class Classification(Task):
    """Cross-entropy in training; accuracy, over all clouds and within each class, after it.

    The figures are ``clouds``, ``loss`` (mean cross-entropy, in nats, without smoothing),
    ``accuracy`` (share of the clouds whose most probable class is theirs), ``mean_class_accuracy``
    (that share within each class that occurs, averaged over the classes) and those of
    `solver_figures`; of an evaluation also ``calibration_error``, see `calibration_error`, of the
    probabilities as the model gives them, and where it was calibrated ``calibrated_error``, that of
    the probabilities at `temperature`.

    Attributes:
        temperature: What logits are divided by; 0: the model is not calibrated.
    """

    command = "predict"
    temperature: float = 0.0

    def prepare(self, batch: PointBatch, generator: torch.Generator) -> Labelled:
        """See `Task.prepare`."""
        return Labelled(batch.points, batch.weights, batch.labels)

    def mixed(self, inputs: Labelled, generator: torch.Generator) -> Mixed:
        """See `Task.mixed`."""
        data = self.config.data
        points, weights, own = cut_mix(
            inputs.points,
            inputs.weights,
            generator,
            odds=data.cut_mix,
            features=len(data.features),
        )
        labels, others = inputs.labels, inputs.labels.roll(-1)
        larger = own >= 0.5
        return Mixed(
            points,
            weights,
            torch.where(larger, labels, others),
            torch.where(larger, others, labels),
            torch.maximum(own, 1 - own),
        )

    def losses(self, answer: Output, inputs: Labelled | Mixed) -> Tensor:
        """See `Task.losses`; without smoothing, and of the class of the larger part."""
        return functional.cross_entropy(answer.logits, inputs.labels, reduction="none")

    def loss(self, answer: Output, inputs: Labelled | Mixed) -> Tensor:
        """See `Task.loss`; with smoothed labels, and of both classes in their shares."""
        smoothing = self.config.train.label_smoothing
        loss = partial(
            functional.cross_entropy, answer.logits, label_smoothing=smoothing, reduction="none"
        )
        each = loss(inputs.labels)
        if isinstance(inputs, Mixed):
            each = inputs.shares * each + (1 - inputs.shares) * loss(inputs.others)
        return with_penalty(each.mean(), answer)

    def records(self, answer: Output, inputs: Labelled | Mixed, thorough: bool = False) -> Records:
        """See `Task.records`."""
        logits, labels = answer.logits, inputs.labels
        known = {"confidence": 1.0, "calibrated_confidence": self.temperature} if thorough else {}
        return {
            **{n: (logits / t).softmax(-1).amax(-1) for n, t in known.items() if t},
            "label": labels,
            "predicted": logits.argmax(-1),
            **super().records(answer, inputs),
        }

    def figures(self, columns: Columns) -> Figures:
        """See `Task.figures`."""
        counts = self.confusion(columns)
        of_class = counts.sum(1)
        return {
            "clouds": int(counts.sum()),
            "loss": mean(columns.get("loss")),
            "accuracy": float(counts.trace() / counts.sum()) if counts.any() else float("nan"),
            "mean_class_accuracy": mean(counts.diagonal()[of_class > 0] / of_class[of_class > 0]),
            **self._calibration(columns),
            **solver_figures(columns),
        }

    def _calibration(self, columns: Columns) -> dict[str, float]:
        return {
            figure: calibration_error(columns[name], columns["label"] == columns["predicted"])
            for figure, name in (
                ("calibration_error", "confidence"),
                ("calibrated_error", "calibrated_confidence"),
            )
            if name in columns
        }

    def confusion(self, columns: Columns) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Counts (classes, classes): a row for each true class, a column for each predicted."""
        none = np.zeros(0)
        labels, predicted = columns.get("label", none), columns.get("predicted", none)
        return confusion_matrix(labels, predicted, len(self.config.classes))

    def objective(self, figures: Figures) -> tuple[float, ...]:
        """The accuracy; among equals, the loss."""
        return figures["accuracy"], -figures["loss"]

    def headline(self, figures: Figures) -> str:
        """See `Task.headline`."""
        return f"acc {figures['accuracy']:.1%}"

    def result(self, columns: Columns) -> dict[str, Any]:
        """The confusion matrix."""
        return {"confusion": self.confusion(columns).tolist()}

    def check(self, sets: Mapping[str, CloudDataset]) -> None:
        """See `Task.check`; classification needs two classes to tell apart."""
        super().check(sets)
        train_set = sets["train"]
        present = torch.bincount(train_set.labels, minlength=len(train_set.classes)) > 0
        if int(present.sum()) < 2:
            only = [name for name, there in zip(train_set.classes, present, strict=True) if there]
            raise UserError(
                f"all clouds to train on are of one class, {only[0]}: classification needs two at "
                "least, in a folder each"
            )

    def aside(
        self,
        sets: Mapping[str, CloudDataset],
        normalise: Transform,
        validated: Figures,
        records: Sequence[Mapping[str, Any]],
    ) -> dict[str, Any]:
        """What a cheap classifier reaches, and why this one does no better than chance, if so."""
        counts = torch.bincount(sets["validation"].labels, minlength=len(self.config.classes))
        peer = cheap_peer(sets["train"], sets["test"], normalise)
        note = advice(validated["accuracy"], counts.tolist(), records)
        return {"peer": peer.to_dict(), **({} if note is None else {"note": note})}

    def summary(self, result: Mapping[str, Any], clouds: str) -> str:
        """See `Task.summary`."""
        accuracy = result.get("test_accuracy")
        known = "unknown" if accuracy is None else f"{accuracy:.2%}"
        return f"test accuracy {known} on {clouds} clouds"

    def told(self, figures: Mapping[str, Any]) -> str:
        """See `Task.told`."""
        return (
            f"accuracy {figures['accuracy']:.2%}, mean over classes "
            f"{figures['mean_class_accuracy']:.2%}, cross-entropy {figures['loss']:.4f}"
            + _errors(figures)
        )

    def card(self) -> Card:
        """See `Task.card`."""
        classes = self.config.classes
        return Card(
            "point-cloud-classification",
            "Point cloud classification",
            f"It gives each cloud one of {len(classes)} classes: {names_in_markdown(classes)}.",
            {"accuracy": "Accuracy", "mean_class_accuracy": "Mean class accuracy"},
        )


def _errors(figures: Mapping[str, Any]) -> str:
    before, after = figures.get("calibration_error"), figures.get("calibrated_error")
    if before is None:
        return ""
    said = f"; calibration error {before:.2%}"
    return said if after is None else f"{said}, {after:.2%} at the model's temperature"
