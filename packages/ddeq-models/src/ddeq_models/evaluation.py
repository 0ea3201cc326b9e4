"""Measuring a model on a split."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader

from ddeq_data import CloudDataset, PointBatch, Transform
from ddeq_models.config import DataConfig, DataName
from ddeq_models.data import Split, batches, normaliser, open_split
from ddeq_models.ddeq import DDEQ
from ddeq_models.device import choose_device
from ddeq_models.errors import UserError
from ddeq_models.metrics import Tally
from ddeq_models.run_folder import RunFolder


@torch.no_grad()
def measure(
    model: DDEQ,
    loader: "DataLoader[PointBatch]",
    normalise: Transform,
    device: torch.device,
    classes: int,
) -> Tally:
    """Record every cloud of a loader.

    Args:
        model: The model, on `device`; it is put into evaluation mode and back.
        loader: Batches that are not normalised yet.
        normalise: The run's normalisation.
        device: Where to work.
        classes: Number of classes.
    """
    tally = Tally(classes)
    training = model.training
    model.eval()
    for batch in loader:
        batch = batch.to(device).map(normalise)
        logits, solution = model(batch.points, batch.weights)
        tally.add(logits, batch.labels, solution)
    model.train(training)
    return tally


def evaluate(
    run: str | Path,
    *,
    data: DataName | None = None,
    root: str | None = None,
    split: Split = "test",
    batch_size: int = 256,
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
        The figures of `Metrics` and data, split, seconds, classes, confusion (rows: true
        classes).

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
    tally = measure(model, loader, normaliser(config.data.normalise), place, len(config.classes))
    return {
        "data": data or config.data.name,
        "split": split,
        **{k: v for k, v in tally.metrics().to_dict().items() if not k.startswith("adjoint")},
        "seconds": round(time.perf_counter() - start, 3),
        "classes": list(config.classes),
        "confusion": tally.confusion().tolist(),
    }


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
