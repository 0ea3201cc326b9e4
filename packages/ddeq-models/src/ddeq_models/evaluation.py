"""Measuring a model on a split."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader

from ddeq_data import CloudDataset, PointBatch
from ddeq_models.config import DataConfig, DataName
from ddeq_models.data import Split, batches, normaliser, open_split
from ddeq_models.device import choose_device
from ddeq_models.errors import UserError
from ddeq_models.metrics import Tally, to_json
from ddeq_models.registry import build_task
from ddeq_models.run_folder import RunFolder
from ddeq_models.task import Task

EVALUATION_BATCH = 256  # clouds at once
CHANCE = 0  # seed of what a task draws when it measures: crops of the clouds, perhaps


@torch.no_grad()
def measure(
    task: Task,
    model: nn.Module,
    loader: "DataLoader[PointBatch]",
    device: torch.device,
    *,
    thorough: bool = False,
) -> Tally:
    """Record every cloud of a loader. Chance, if the task has any, is the same each time.

    Args:
        task: What is recorded.
        model: The model, on `device`; it is put into evaluation mode and back.
        loader: Batches that are not normalised yet.
        device: Where to work.
        thorough: Record also what is dear; see `Task.records`.
    """
    tally, normalise = Tally(), normaliser(task.config.data.normalise)
    generator = torch.Generator().manual_seed(CHANCE)
    training = model.training
    model.eval()
    for batch in loader:
        inputs = task.prepare(batch.to(device).map(normalise), generator)
        tally.add(task.records(task.answer(model, inputs), inputs, thorough))
    model.train(training)
    return tally


def evaluate(
    run: str | Path,
    *,
    data: DataName | None = None,
    root: str | None = None,
    split: Split = "test",
    batch_size: int = EVALUATION_BATCH,
    device: str = "auto",
) -> dict[str, Any]:
    """Measure a trained model on one split of a data set.

    Args:
        run: The run folder.
        data: The data set; None is the run's own.
        root: Folder of its files; None is the run's own.
        split: ``train``, ``validation`` or ``test``.
        batch_size: Clouds in a batch; no figure depends on it.
        device: See `choose_device`.

    Returns:
        The figures of the run's `Task`; data, split, task, seconds, classes, and, of a
        classification, confusion (rows: true classes).

    Raises:
        UserError: The run folder, the data or the device cannot be used.
        DataError: The files of the data are missing or damaged.
    """
    place = choose_device(device)
    folder = RunFolder(run)
    config = folder.config()
    model = folder.model(place)
    if batch_size < 1:
        raise UserError(f"batch size must be at least 1, got {batch_size}")
    dataset = open_split(_data_of(config.data, data, root), split)
    _check_fit(dataset, config.model.point_dim, config.classes)
    loader, _ = batches(dataset, batch_size)
    start = time.perf_counter()
    task = build_task(config)
    columns = measure(task, model, loader, place, thorough=True).columns()
    return {
        "data": data or config.data.name,
        "split": split,
        "task": config.task.kind,
        **forward_only(to_json(task.figures(columns))),
        "seconds": round(time.perf_counter() - start, 3),
        "classes": list(config.classes),
        **task.result(columns),
    }


def forward_only(figures: dict[str, float | None]) -> dict[str, float | None]:
    """The figures without those of a backward pass, of which there was none."""
    return {name: value for name, value in figures.items() if not name.startswith("adjoint")}


def _data_of(config: DataConfig, name: DataName | None, root: str | None) -> DataConfig:
    """The run's data set, or another one, with its folder."""
    if name is not None and name != config.name:
        return replace(config, name=name, root=root)
    return replace(config, root=root or config.root)


def _check_fit(dataset: CloudDataset, dim: int, classes: tuple[str, ...]) -> None:
    if dataset.dim != dim:
        raise UserError(
            f"the model was trained on points of dimension {dim}, these have dimension "
            f"{dataset.dim}; evaluate it on the data of its run"
        )
    if tuple(dataset.classes) != classes:
        raise UserError(
            f"the model knows the classes {', '.join(classes)}, these clouds are of "
            f"{', '.join(dataset.classes)}; evaluate it on the data of its run"
        )
