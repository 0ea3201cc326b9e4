"""Completion: from the visible part of a cloud to the rest of it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ddeq_data import (
    Crop,
    DDEQsCrop,
    HalfSpaceCrop,
    PointBatch,
    UniformCrop,
    ViewpointCrop,
)
from ddeq_models.models.completer import Completed
from ddeq_models.registry import register_task
from ddeq_models.tasks.base import Card, Task, TaskConfig
from ddeq_models.tasks.distances import (
    chamfer_l1,
    chamfer_l2,
    energy_distance,
    f_score,
    kernel_entropy,
    neighbour,
    sinkhorn,
    wasserstein,
)
from ddeq_models.tasks.tally import Columns, Figures, Records, mean, solver_figures, solver_records


@dataclass(frozen=True)
class CompletionConfig(TaskConfig):
    """What is taken away, and by what the answer is judged.

    Attributes:
        protocol: ``ddeqs`` (balls around points, the paper's), ``half-space``, ``viewpoint`` or
            ``uniform``: see `ddeq_data.Crop`.
        fraction: Of the cloud that is missing; ``ddeqs`` has none.
        radius: Of the balls of ``ddeqs``, in z-scored coordinates.
        balls: Their number.
        loss: What is trained on: the energy distance, a Chamfer distance, or the Sinkhorn
            divergence, which takes its time: see `ddeq_models.tasks.distances`.
        entropy: Weight of the entropy of the completed points that is subtracted from the loss:
            1e-6 in the paper.
        bandwidth: Of the kernel density estimate of that entropy.
        threshold: Distance up to which a point counts as found, in the F-score.
        blur: Of the Sinkhorn divergence.
    """

    kind: ClassVar[str] = "completion"

    protocol: Literal["ddeqs", "half-space", "viewpoint", "uniform"] = "ddeqs"
    fraction: float = 0.5
    radius: float = 0.6
    balls: int = 2
    loss: Literal["energy", "chamfer-l1", "chamfer-l2", "sinkhorn"] = "energy"
    entropy: float = 1e-6
    bandwidth: float = 0.1
    threshold: float = 0.1
    blur: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        self.crop()  # which checks its own attributes
        lengths = self.bandwidth, self.threshold, self.blur
        if not self.entropy >= 0 or not all(length > 0 for length in lengths):
            raise ValueError(
                "entropy must be at least 0, bandwidth, threshold and blur above 0, got "
                f"{self.entropy}, {self.bandwidth}, {self.threshold}, {self.blur}"
            )

    def crop(self) -> Crop:
        """The protocol."""
        match self.protocol:
            case "ddeqs":
                return DDEQsCrop(self.radius, self.balls)
            case "half-space":
                return HalfSpaceCrop(self.fraction)
            case "viewpoint":
                return ViewpointCrop(self.fraction)
            case "uniform":
                return UniformCrop(self.fraction)


class Incomplete(NamedTuple):
    """Clouds cut in two.

    Attributes:
        points: (B, n, d), what is visible.
        weights: (B, n).
        missing: (B, m, d), what is to be found.
        missing_weights: (B, m); all 0 where nothing was taken away.
    """

    points: Tensor
    weights: Tensor
    missing: Tensor
    missing_weights: Tensor


@register_task(CompletionConfig)
class Completion(Task):
    """Missing points are compared with completed ones, as measures and cloud by cloud.

    The figures are means over the clouds that were cut in two (a cloud of a single place cannot
    be): ``loss``; ``energy_distance``, ``chamfer_l1``, ``chamfer_l2`` and ``f_score`` as in
    `ddeq_models.tasks.distances`; ``neighbour`` and ``neighbour_truth``, the mean distance from a
    point to the nearest other one among the completed and among the missing points;
    ``wasserstein`` where POT is installed, on the test clouds; and those of `solver_figures`.
    Lengths are in the unit of the normalised clouds.
    """

    command = "complete"

    @property
    def _task(self) -> CompletionConfig:
        assert isinstance(self.config.task, CompletionConfig)
        return self.config.task

    def prepare(self, batch: PointBatch, generator: torch.Generator) -> Incomplete:
        """See `Task.prepare`."""
        cut = self._task.crop()(batch, generator)
        visible, missing = cut.visible.compact(), cut.missing.compact()
        return Incomplete(visible.points, visible.weights, missing.points, missing.weights)

    def answer(self, model: nn.Module, inputs: Incomplete) -> Completed:
        """See `Task.answer`."""
        completed: Completed = model(inputs.points, inputs.weights)
        return completed

    def loss(self, answer: Completed, inputs: Incomplete) -> Tensor:
        """See `Task.loss`; clouds that were not cut count 0."""
        return self._losses(answer, inputs).mean()

    def _losses(self, answer: Completed, inputs: Incomplete) -> Tensor:
        task = self._task
        distances: dict[str, Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]] = {
            "energy": energy_distance,
            "chamfer-l1": chamfer_l1,
            "chamfer-l2": chamfer_l2,
            "sinkhorn": partial(sinkhorn, blur=task.blur),
        }
        cut = (inputs.missing_weights > 0).any(-1)
        # Where nothing is missing, something finite is computed, and then left out.
        missing, weights = inputs.missing, inputs.missing_weights
        weights = torch.where(cut[:, None], weights, 1 / max(weights.shape[-1], 1))
        losses = distances[task.loss](answer.points, answer.weights, missing, weights)
        if task.entropy:
            entropy = kernel_entropy(answer.points, answer.weights, task.bandwidth)
            losses = losses - task.entropy * entropy
        return torch.where(cut, losses, 0)

    def records(self, answer: Completed, inputs: Incomplete, thorough: bool = False) -> Records:
        """See `Task.records`."""
        x, w = answer.points.detach(), answer.weights
        y, v = inputs.missing, inputs.missing_weights
        with torch.no_grad():
            records = {
                "cut": (v > 0).any(-1),
                "loss": self._losses(answer, inputs),
                "energy_distance": energy_distance(x, w, y, v),
                "chamfer_l1": chamfer_l1(x, w, y, v),
                "chamfer_l2": chamfer_l2(x, w, y, v),
                "f_score": f_score(x, w, y, v, self._task.threshold),
                "neighbour": neighbour(x, w),
                "neighbour_truth": neighbour(y, v),
                "completed": (w > 0).sum(-1),
                **solver_records(answer.solution),
            }
            if thorough:
                records["wasserstein"] = self._wasserstein(x, w, y, v)
        return records

    def _wasserstein(self, x: Tensor, w: Tensor, y: Tensor, v: Tensor) -> Tensor:
        """NaN where POT is not installed, or nothing is missing."""
        cut = (v > 0).any(-1)
        out = x.new_full((len(x),), torch.nan)
        with suppress(ImportError):
            out[cut] = wasserstein(x[cut], w[cut], y[cut], v[cut])
        return out

    def figures(self, columns: Columns) -> Figures:
        """See `Task.figures`."""
        cut = columns.get("cut", np.zeros(0)).astype(bool)
        names = (
            "loss",
            "energy_distance",
            "chamfer_l1",
            "chamfer_l2",
            "f_score",
            "wasserstein",
            "neighbour",
            "neighbour_truth",
        )
        known = {name: columns[name][cut] for name in names if name in columns}
        return {
            "clouds": len(cut),
            "loss": mean(known.get("loss")),
            **{name: mean(column) for name, column in known.items() if name != "loss"},
            **solver_figures(columns),
        }

    def objective(self, figures: Figures) -> tuple[float, ...]:
        """The energy distance, whatever the loss."""
        return (-figures["energy_distance"],)

    def headline(self, figures: Figures) -> str:
        """See `Task.headline`."""
        return f"energy {figures['energy_distance']:.4f}"

    def result(self, columns: Columns) -> dict[str, Any]:
        """How many points were completed, on average."""
        return {"completed_points": mean(columns.get("completed"))}

    def card(self) -> Card:
        """See `Task.card`."""
        if getattr(self.config.model, "frame", None) == "visible":
            unit = "The model sees it in the frame of what is visible, so that any unit will do."
        else:
            unit = "Points are taken in the unit of the normalised clouds of the training."
        return Card(
            "point-cloud-completion",
            "Point cloud completion",
            "It adds the points that are missing from a cloud.",
            {
                "energy_distance": "Energy distance",
                "chamfer_l1": "Chamfer distance, l1",
                "chamfer_l2": "Chamfer distance, l2",
                "f_score": "F-score",
                "wasserstein": "Exact W2",
                "neighbour": "Nearest neighbour, completed points",
                "neighbour_truth": "Nearest neighbour, missing points",
            },
            f"Protocol `{self._task.protocol}`; lengths are in the unit of the normalised clouds, "
            "formulas in `ddeq_models.tasks.distances`.",
            unit,
        )
