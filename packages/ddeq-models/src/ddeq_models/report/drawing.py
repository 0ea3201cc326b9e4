"""The pictures of a finished training, by its task; they must not cost its result."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from ddeq_data import CloudDataset
from ddeq_models.models.classifier import DDEQ
from ddeq_models.models.paper import PaperClassifier
from ddeq_models.report.answers import answer_pictures
from ddeq_models.report.pictures import (
    draw_completions,
    draw_confusion_matrix,
    draw_flows,
    draw_training_curves,
)
from ddeq_models.report.pictures.projection import up_of
from ddeq_models.report.recording import recorded_flows
from ddeq_models.report.samples import classes_in, completed_clouds, one_of_each
from ddeq_models.runs.folder import RunFolder
from ddeq_models.tasks.base import Task
from ddeq_models.tasks.classification import Classification
from ddeq_models.tasks.completion import Completion
from ddeq_models.tasks.regression import Regression
from ddeq_models.tasks.tally import Columns

__all__ = ["DRAWINGS", "draw_if_possible"]

FLOWS = 4
COMPLETIONS = 6

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Finished:
    """A training that is over, and what is drawn of it; see `draw_if_possible`."""

    task: Task
    run: RunFolder
    model: nn.Module
    test_set: CloudDataset
    columns: Columns
    device: torch.device


def draw_if_possible(
    task: Task,
    run: RunFolder,
    model: nn.Module,
    test_set: CloudDataset,
    columns: Columns,
    device: torch.device,
) -> None:
    """Draw the pictures of a run; if that fails, say so and go on.

    Args:
        task: What the model was trained for.
        run: Whose folder they go to.
        model: The trained model, in evaluation mode.
        test_set: The test clouds, not normalised.
        columns: What was recorded of them.
        device: Where the model is.
    """
    try:
        drawing = DRAWINGS.get(run.config().task.kind, draw_any_run)
        drawing(Finished(task, run, model, test_set, columns, device))
    # Whatever it is: hours of training hang on it, and the pictures can be drawn again.
    except Exception as error:
        _LOG.warning(
            "the pictures of %s could not be drawn (%s: %s); its weights and figures are complete",
            run.path,
            type(error).__name__,
            error,
        )


def draw_any_run(done: Finished) -> None:
    """Draw the loss of a training, and what its task itself draws."""
    tolerance = getattr(done.run.config().model, "rtol", None)
    curves = draw_training_curves(
        done.run.metrics(), tolerance, loss="", figure_name="loss", title="Loss"
    )
    done.run.write_picture("training_curves.png", curves)
    done.task.draw(done.run, done.model, done.test_set, done.columns, done.device)


def draw_classification(done: Finished) -> None:
    """Draw curves, confusion matrix and, of a DDEQ, the flow of some clouds."""
    task, run, model = done.task, done.run, done.model
    assert isinstance(task, Classification)
    config, confusion = run.config(), task.confusion(done.columns)
    right, total = int(confusion.trace()), int(confusion.sum())
    title = f"{config.data.name}, test: {right:,} of {total:,} right ({right / max(total, 1):.2%})"
    tolerance = getattr(config.model, "rtol", None)
    run.write_picture("training_curves.png", draw_training_curves(run.metrics(), tolerance))
    if isinstance(model, DDEQ | PaperClassifier):
        flows = recorded_flows(config, model, done.test_set, FLOWS, done.device)
        note = _of_classes(len(flows), done.test_set)
        run.write_picture("flow.png", draw_flows(flows, up_of(config.data.release), note))
    run.write_picture(
        "confusion_matrix.png", draw_confusion_matrix(confusion, config.classes, title)
    )


def draw_completion(done: Finished) -> None:
    """Draw curves and some completed clouds."""
    task, run, test_set = done.task, done.run, done.test_set
    assert isinstance(task, Completion)
    config = run.config()
    tolerance = getattr(config.model, "rtol", None)
    curves = draw_training_curves(
        run.metrics(), tolerance, loss="", figure_name="energy_distance", title="Energy distance"
    )
    run.write_picture("training_curves.png", curves)
    completed = completed_clouds(
        task, done.model, test_set, one_of_each(test_set, COMPLETIONS), done.device
    )
    picture = draw_completions(
        completed, up_of(config.data.release), _of_classes(len(completed), test_set)
    )
    run.write_picture("completions.png", picture)


def draw_answers(done: Finished) -> None:
    """Draw curves, and predictions beside the truth: of numbers, or of labels of points."""
    figure, title = ("r2", "R2") if isinstance(done.task, Regression) else ("miou", "mIoU")
    tolerance = getattr(done.run.config().model, "rtol", None)
    curves = draw_training_curves(
        done.run.metrics(), tolerance, loss="", figure_name=figure, title=title
    )
    done.run.write_picture("training_curves.png", curves)
    pictures = answer_pictures(done.task, done.model, done.test_set, done.device, done.columns)
    for name, png in pictures.items():
        done.run.write_picture(f"{name}.png", png)


def _of_classes(shown: int, test_set: CloudDataset) -> str:
    there = classes_in(test_set)
    return f"{shown} of {there} classes" if shown < there else ""


DRAWINGS: dict[str, Callable[[Finished], None]] = {
    "classification": draw_classification,
    "completion": draw_completion,
    "regression": draw_answers,
    "segmentation": draw_answers,
}
