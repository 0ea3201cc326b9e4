"""Test clouds that stand for all: what pictures and reports show of a model."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ddeq_data import CloudDataset, collate
from ddeq_models.data import moved, view
from ddeq_models.tasks.completion import Completion as CompletionTask
from ddeq_models.tasks.distances import energy_distance

Array = np.ndarray[Any, np.dtype[np.floating[Any]]]


@dataclass(frozen=True)
class CompletedCloud:
    """One cloud.

    Attributes:
        visible: (n, d) what the model was given.
        completed: (m, d) what it added.
        missing: (k, d) what was taken away; None of a file, where nobody knows.
        name: Its class.
        distance: Energy distance between what was completed and what is missing.
        solved: Whether the solver reached its tolerance, or there is none.
    """

    visible: Array
    completed: Array
    missing: Array | None = None
    name: str = ""
    distance: float = float("nan")
    solved: bool = True


def classes_in(dataset: CloudDataset) -> int:
    """How many classes there are clouds of."""
    return len(set(dataset.labels.tolist()))


def one_of_each(dataset: CloudDataset, most: int) -> list[int]:
    """The first cloud of each of some classes, spread over all classes."""
    labels = dataset.labels.tolist()
    present = sorted(set(labels))
    count = min(most, len(present))
    return [labels.index(present[i * len(present) // count]) for i in range(count)]


@torch.no_grad()
def completed_clouds(
    task: CompletionTask,
    model: nn.Module,
    dataset: CloudDataset,
    indices: list[int],
    device: torch.device,
) -> list[CompletedCloud]:
    """What a model makes of some clouds, of each of which a part is taken away.

    The cuts are the same in every call with these clouds. Only coordinates are shown.
    """
    config = task.config
    batch = moved(collate([dataset[i] for i in indices]), device, view(config.data))
    inputs = task.prepare(batch, torch.Generator().manual_seed(0))
    answer = task.answer(model, inputs)
    distances = energy_distance(
        answer.points, answer.weights, inputs.missing, inputs.missing_weights
    ).tolist()
    failed = [False] * len(indices)
    if answer.solution is not None:
        failed = answer.solution.failed.tolist()

    def points(rows: Tensor, weights: Tensor, i: int) -> Array:
        shown: Array = rows[i][weights[i] > 0][:, : dataset.coordinates].cpu().numpy()
        return shown

    return [
        CompletedCloud(
            points(inputs.points, inputs.weights, i),
            points(answer.points, answer.weights, i),
            points(inputs.missing, inputs.missing_weights, i),
            config.classes[int(dataset.labels[index])],
            distances[i],
            not failed[i],
        )
        for i, index in enumerate(indices)
    ]
