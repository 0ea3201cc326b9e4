"""Completion: from the visible part of a cloud to the rest of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

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
from ddeq_models.tasks.parts import Compared, Incomplete, missing_parts, whole_clouds
from ddeq_models.tasks.tally import Columns, Figures, Records, mean, solver_figures

# What figures are called, and their names.
_DISTANCES = {
    "energy_distance": "Energy distance",
    "chamfer_l1": "Chamfer distance, l1",
    "chamfer_l2": "Chamfer distance, l2",
    "f_score": "F-score",
    "wasserstein": "Exact W2",
}
_NEIGHBOURS = {
    "neighbour": "Nearest neighbour, completed points",
    "neighbour_truth": "Nearest neighbour, missing points",
}


@dataclass(frozen=True)
class CompletionConfig(TaskConfig):
    """What is taken away, and by what the answer is judged.

    Attributes:
        protocol: ``ddeqs`` (balls around points, the paper's), ``half-space``, ``viewpoint`` or
            ``uniform``: see `ddeq_data.Crop`.
        fraction: Of the cloud that is missing; ``ddeqs`` has none.
        radius: Of the balls of ``ddeqs``, in z-scored coordinates.
        balls: Their number.
        together: Whether their centres are drawn at once; see `ddeq_data.DDEQsCrop`.
        loss: What is trained on: the energy distance, a Chamfer distance, or the Sinkhorn
            divergence, which takes its time: see `ddeq_models.tasks.distances`.
        whole: Whether the loss compares whole clouds, as in the paper: what is visible with what
            was completed, and with what is missing; and not the missing part alone.
        entropy: Weight of the entropy of the completed points that is subtracted from the loss:
            1e-6 in the paper.
        bandwidth: Of the kernel density estimate of that entropy.
        itself: Whether a point is its own neighbour there; see `kernel_entropy`.
        threshold: Distance up to which a point counts as found, in the F-score.
        blur: Of the Sinkhorn divergence.
    """

    kind: ClassVar[str] = "completion"

    protocol: Literal["ddeqs", "half-space", "viewpoint", "uniform"] = "ddeqs"
    fraction: float = 0.5
    radius: float = 0.6
    balls: int = 2
    together: bool = False
    loss: Literal["energy", "chamfer-l1", "chamfer-l2", "sinkhorn"] = "energy"
    whole: bool = False
    entropy: float = 1e-6
    bandwidth: float = 0.1
    itself: bool = True
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
                return DDEQsCrop(self.radius, self.balls, self.together)
            case "half-space":
                return HalfSpaceCrop(self.fraction)
            case "viewpoint":
                return ViewpointCrop(self.fraction)
            case "uniform":
                return UniformCrop(self.fraction)


@register_task(CompletionConfig)
class Completion(Task):
    """Missing points are compared with completed ones, as measures and cloud by cloud.

    The figures are means over the clouds that were cut in two (a cloud of a single place cannot
    be): ``loss``; ``energy_distance``, ``chamfer_l1``, ``chamfer_l2`` and ``f_score`` as in
    `ddeq_models.tasks.distances`; ``neighbour`` and ``neighbour_truth``, the mean distance from a
    point to the nearest other one among the completed and among the missing points; and those of
    `solver_figures`. On the test clouds also ``wasserstein``, where POT is installed, and the same
    distances between whole clouds, as the paper has them: ``whole_energy_distance`` and so on; see
    `ddeq_models.tasks.parts.whole_clouds`. Lengths are in the unit of the normalised clouds.
    """

    command = "complete"
    smooths = False

    @property
    def _task(self) -> CompletionConfig:
        assert isinstance(self.config.task, CompletionConfig)
        return self.config.task

    def prepare(self, batch: PointBatch, generator: torch.Generator) -> Incomplete:
        """See `Task.prepare`."""
        # A colour has no part in what is missing.
        crop = replace(self._task.crop(), features=len(self.config.data.features))
        cut = crop(batch, generator)
        visible, missing = cut.visible.compact(), cut.missing.compact()
        return Incomplete(
            visible.points, visible.weights, missing.points, missing.weights, cut.share
        )

    def losses(self, answer: Completed, inputs: Incomplete) -> Tensor:
        """See `Task.losses`; those of clouds that were not cut are 0."""
        task = self._task
        distances: dict[str, Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]] = {
            "energy": energy_distance,
            "chamfer-l1": chamfer_l1,
            "chamfer-l2": chamfer_l2,
            "sinkhorn": partial(sinkhorn, blur=task.blur),
        }
        cut = (inputs.missing_weights > 0).any(-1)
        # Where nothing is missing, something finite is computed, and then left out.
        missing = inputs.missing_weights
        missing = torch.where(cut[:, None], missing, 1 / max(missing.shape[-1], 1))
        compared = whole_clouds if task.whole else missing_parts
        losses = distances[task.loss](*compared(answer, inputs._replace(missing_weights=missing)))
        if task.entropy:
            entropy = kernel_entropy(answer.points, answer.weights, task.bandwidth, task.itself)
            losses = losses - task.entropy * entropy
        return torch.where(cut, losses, 0)

    def records(self, answer: Completed, inputs: Incomplete, thorough: bool = False) -> Records:
        """See `Task.records`."""
        answer = answer._replace(points=answer.points.detach())
        part = missing_parts(answer, inputs)
        with torch.no_grad():
            records = {
                "cut": (part.v > 0).any(-1),
                **super().records(answer, inputs),
                **self._distances(part, thorough),
                "neighbour": neighbour(part.x, part.w),
                "neighbour_truth": neighbour(part.y, part.v),
                "completed": (part.w > 0).sum(-1),
            }
            if thorough:
                of_whole = self._distances(whole_clouds(answer, inputs), thorough)
                records |= {f"whole_{name}": figure for name, figure in of_whole.items()}
        return records

    def _distances(self, clouds: Compared, thorough: bool) -> dict[str, Tensor]:
        found = {
            "energy_distance": energy_distance(*clouds),
            "chamfer_l1": chamfer_l1(*clouds),
            "chamfer_l2": chamfer_l2(*clouds),
            "f_score": f_score(*clouds, self._task.threshold),
        }
        return found | {"wasserstein": self._wasserstein(*clouds)} if thorough else found

    def _wasserstein(self, x: Tensor, w: Tensor, y: Tensor, v: Tensor) -> Tensor:
        """NaN where POT is not installed, or a cloud has no points."""
        full = (v > 0).any(-1)
        out = x.new_full((len(x),), torch.nan)
        with suppress(ImportError):
            out[full] = wasserstein(x[full], w[full], y[full], v[full])
        return out

    def figures(self, columns: Columns) -> Figures:
        """See `Task.figures`."""
        cut = columns.get("cut", np.zeros(0)).astype(bool)
        names = ("loss", *_DISTANCES, *map("whole_{}".format, _DISTANCES), *_NEIGHBOURS)
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

    def told(self, figures: Mapping[str, Any]) -> str:
        """See `Task.told`; figures of whole clouds on a line of their own."""
        whole = {name: x for name, x in figures.items() if name.startswith("whole_")}
        part = super().told({name: x for name, x in figures.items() if name not in whole})
        if not whole:
            return part
        of_whole = super().told({name.removeprefix("whole_"): x for name, x in whole.items()})
        return f"{part}\nwhole clouds: {of_whole}"

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
            _DISTANCES
            | {f"whole_{name}": f"{title}, whole cloud" for name, title in _DISTANCES.items()}
            | _NEIGHBOURS,
            f"Protocol `{self._task.protocol}`; lengths are in the unit of the normalised clouds, "
            "formulas in `ddeq_models.tasks.distances`.",
            unit,
        )
