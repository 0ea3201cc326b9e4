"""Pictures of a finished training, which must not cost its result."""

from __future__ import annotations

import logging

import torch
from torch import nn

from ddeq_data import CloudDataset
from ddeq_models.metrics import Columns
from ddeq_models.run_folder import RunFolder
from ddeq_models.task import Task

__all__ = ["draw_if_possible"]

_LOG = logging.getLogger(__name__)


def draw_if_possible(
    task: Task,
    run: RunFolder,
    model: nn.Module,
    test_set: CloudDataset,
    columns: Columns,
    device: torch.device,
) -> None:
    """Draw the pictures of a run as `Task.draw` does; if that fails, say so and go on."""
    try:
        task.draw(run, model, test_set, columns, device)
    # Whatever it is: hours of training hang on it, and the pictures can be drawn again.
    except Exception as error:
        _LOG.warning(
            "the pictures of %s could not be drawn (%s: %s); its weights and figures are complete",
            run.path,
            type(error).__name__,
            error,
        )
