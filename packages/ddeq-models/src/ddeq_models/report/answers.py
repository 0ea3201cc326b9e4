"""Pictures of what a regression or a segmentation says of test clouds."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from ddeq_data import CloudDataset, collate
from ddeq_models.data import batches, moved, view
from ddeq_models.measuring.measure import EVALUATION_BATCH, measure
from ddeq_models.report.pictures.estimates import draw_estimates
from ddeq_models.report.pictures.panels import Panel, draw_panels
from ddeq_models.report.pictures.projection import up_of
from ddeq_models.tasks.base import Task
from ddeq_models.tasks.regression import Regression, errors
from ddeq_models.tasks.segmentation import Segmentation
from ddeq_models.tasks.tally import Columns

__all__ = ["ESTIMATES", "PARTS", "answer_pictures"]

ESTIMATES, PARTS = "estimates", "parts"
"""Names of the pictures."""

CLOUDS = 6  # whose parts are shown


def answer_pictures(
    task: Task,
    model: nn.Module,
    test_set: CloudDataset,
    device: torch.device,
    columns: Columns | None = None,
) -> dict[str, bytes]:
    """PNG files by name.

    Args:
        task: A regression or a segmentation; of another task there are none.
        model: The trained model, in evaluation mode.
        test_set: The test clouds, not normalised.
        device: Where the model is.
        columns: What was recorded of them; None: it is measured.
    """
    if isinstance(task, Regression):
        if columns is None:
            loader, _ = batches(test_set, EVALUATION_BATCH)
            columns = measure(task, model, loader, device).columns()
        truth, said = task.numbers(columns)
        names = task.config.classes
        told = [
            f"{name}: R2 {errors(truth[:, i], said[:, i])['r2']:.3f}"
            for i, name in enumerate(names)
        ]
        title = f"{task.config.data.name}, {len(truth):,} test clouds"
        return {ESTIMATES: draw_estimates(truth, said, names, told, title)}
    if isinstance(task, Segmentation):
        return {PARTS: _parts(task, model, test_set, device)}
    return {}


@torch.no_grad()
def _parts(
    task: Segmentation, model: nn.Module, test_set: CloudDataset, device: torch.device
) -> bytes:
    """Some clouds, spread over the split: the true labels above, those of the model below."""
    config, count = task.config, min(CLOUDS, len(test_set))
    chosen = [i * len(test_set) // count for i in range(count)]
    batch = moved(collate([test_set[i] for i in chosen]), device, view(config.data))
    inputs = task.prepare(batch, torch.Generator())
    best = task.answer(model, inputs).logits.argmax(-1).cpu().numpy()
    labels, there = inputs.labels.cpu().numpy(), (inputs.weights > 0).cpu().numpy()
    points = inputs.points[..., : test_set.coordinates].cpu().numpy()
    above, below = [], []
    for i, index in enumerate(chosen):
        own, true, said = points[i][there[i]], labels[i][there[i]], best[i][there[i]]
        right = float(np.mean(true == said)) if len(true) else float("nan")
        above.append(Panel(own, true, f"cloud {index}, true"))
        below.append(Panel(own, said, f"predicted, {right:.0%} right"))
    title = f"{config.data.name}, test: labels of points, true and predicted"
    return draw_panels([*above, *below], count, title, config.classes, up_of(config.data.release))
