"""The pictures of a run: PNG files from figures, without a window and without global state."""

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from ddeq_data import CloudDataset, collate
from ddeq_models.data import view
from ddeq_models.ddeq import DDEQ
from ddeq_models.pictures.completions import draw_completions
from ddeq_models.pictures.confusion_matrix import draw_confusion_matrix
from ddeq_models.pictures.flow import Flow, draw_flows
from ddeq_models.pictures.training_curves import draw_training_curves
from ddeq_models.run_folder import RunFolder
from ddeq_models.showcase import CompletedCloud, completed_clouds, one_of_each

if TYPE_CHECKING:
    from ddeq_models.completion import Completion as CompletionTask

__all__ = [
    "CompletedCloud",
    "Flow",
    "draw_completion_run",
    "draw_completions",
    "draw_confusion_matrix",
    "draw_flows",
    "draw_run",
    "draw_training_curves",
    "record_flows",
]

FLOWS = 4
COMPLETIONS = 6


def draw_run(
    run: RunFolder,
    model: nn.Module,
    test_set: CloudDataset,
    confusion: np.ndarray[Any, np.dtype[np.int64]],
    device: torch.device,
) -> None:
    """Draw the pictures of a finished classification into its folder; no flow without a solver."""
    config = run.config()
    right, total = int(confusion.trace()), int(confusion.sum())
    title = f"{config.data.name}, test: {right:,} of {total:,} right ({right / max(total, 1):.2%})"
    tolerance = getattr(config.model, "rtol", None)
    run.write_picture("training_curves.png", draw_training_curves(run.metrics(), tolerance))
    if isinstance(model, DDEQ):
        run.write_picture("flow.png", draw_flows(record_flows(run, model, test_set, device)))
    run.write_picture(
        "confusion_matrix.png", draw_confusion_matrix(confusion, config.classes, title)
    )


def draw_completion_run(
    run: RunFolder,
    task: "CompletionTask",
    model: nn.Module,
    test_set: CloudDataset,
    device: torch.device,
) -> None:
    """Draw the pictures of a finished completion into its folder."""
    config = run.config()
    tolerance = getattr(config.model, "rtol", None)
    curves = draw_training_curves(
        run.metrics(), tolerance, loss="", figure_name="energy_distance", title="Energy distance"
    )
    run.write_picture("training_curves.png", curves)
    completed = completed_clouds(task, model, test_set, one_of_each(test_set, COMPLETIONS), device)
    run.write_picture("completions.png", draw_completions(completed))


@torch.no_grad()
def record_flows(
    run: RunFolder, model: DDEQ, dataset: CloudDataset, device: torch.device
) -> list[Flow]:
    """The flow of the first cloud of each of some classes, spread over all classes."""
    config = run.config()
    clouds = [dataset[i] for i in one_of_each(dataset, FLOWS)]
    batch = collate(clouds).to(device).map(view(config.data))
    output = model(batch.points, batch.weights, trajectory=True)
    solution, probabilities = output.solution, output.logits.softmax(-1).cpu()
    trajectory = solution.trajectory.float().cpu().numpy()  # (K, B, n, h)
    flows = []
    for i, cloud in enumerate(clouds):
        best = int(probabilities[i].argmax())
        flows.append(
            Flow(
                points=cloud.points[:, : dataset.coordinates].numpy(),
                weights=cloud.weights.numpy(),
                trajectory=trajectory[: int(solution.steps[i]), i],
                truth=config.classes[cloud.label],
                predicted=config.classes[best],
                probability=float(probabilities[i, best]),
            )
        )
    return flows
