r"""Fitting a temperature and the limits of what is like the training, on validation clouds.

See `ddeq_models.runs.calibration` for what is fitted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from ddeq_data import CloudDataset
from ddeq_models._internal.device import choose_device
from ddeq_models.config import RunConfig
from ddeq_models.data import check_fit, held_out, moved, view
from ddeq_models.data.arrays import Sets, open_sets
from ddeq_models.errors import UserError
from ddeq_models.measuring.measure import EVALUATION_BATCH
from ddeq_models.models.features import answer_and_features, has_features
from ddeq_models.runs.calibration import (
    Calibration,
    as_written,
    outline,
    relative,
    write_calibration,
)
from ddeq_models.runs.clouds import check_unchanged
from ddeq_models.runs.pretrained import open_model
from ddeq_models.tasks.base import Task, build_task
from ddeq_models.tasks.classification import Classification
from ddeq_models.tasks.tally import calibration_error

__all__ = ["calibrate", "calibration_of"]

TRAINING, VALIDATION = 2000, 5000  # clouds that are looked at, at most, evenly chosen
ALARMS = 0.05  # share of clouds like the training that may be called unlike it
_ROUGH = 0.1  # deviations of a shape that are never unusual: a tenth
_PRIOR = 0.5  # standard deviation of the temperature's logarithm, before any cloud was seen
_RANGE = 3.0  # of that logarithm


def calibrate(
    run: str | Path,
    *,
    root: str | None = None,
    sets: Sets | None = None,
    device: str = "auto",
) -> Calibration:
    """Calibrate a model once more, one of an older version perhaps, and write it to its folder.

    A training does so by itself. Needed are the training and validation clouds of the run.

    Args:
        run: The run folder or model folder of a classifier.
        root: Folder of the data; None is the run's own.
        sets: The splits, of a run whose clouds came from memory.
        device: See `choose_device`.

    Returns:
        What was found.

    Raises:
        UserError: The run, its data or the device cannot be used.
        DataError: The files of the data are missing or damaged.
    """
    place, folder = choose_device(device), open_model(run)
    config = folder.config()
    task = build_task(config)
    model = folder.model(place)
    if not isinstance(task, Classification) or not has_features(model):
        raise UserError(f"{folder.path} is no classifier whose answers could be calibrated")
    data = config.data if root is None else replace(config.data, root=root)
    _, (train_set, validation_set, _) = open_sets(data, sets, config.task)
    if sets is None:
        check_unchanged(folder, {data.learn_from: train_set, "validation": validation_set}, root)
    check_fit(train_set, config.model.point_dim, config.classes)
    found = calibration_of(task, model, train_set, validation_set, place)
    if found is None:
        raise UserError(f"{folder.path} has no finite answers to calibrate; train it again")
    try:
        write_calibration(folder.path, found)
    except OSError as error:
        raise UserError(f"cannot write to {folder.path}: {error.strerror}") from error
    return found


@torch.no_grad()
def calibration_of(
    task: Task,
    model: nn.Module,
    train_set: CloudDataset,
    validation_set: CloudDataset,
    device: torch.device,
) -> Calibration | None:
    """Calibrate a model.

    Args:
        task: What it was trained for.
        model: The model, in evaluation mode, on `device`.
        train_set: The clouds it was trained on.
        validation_set: Others. If it is the same set, where there were too few to spare any, or
            was learnt from, the temperature remains 1.
        device: Where it is.

    Returns:
        None for a model that does not classify, or has no features.
    """
    if not isinstance(task, Classification) or not has_features(model):
        return None
    known, held = (
        _look(model, clouds, task.config, device, most)
        for clouds, most in ((train_set, TRAINING), (validation_set, VALIDATION))
    )
    if not all(bool(part.isfinite().all()) for part in (known.features, held.logits)):
        return None
    honest = held_out(task.config.data, train_set, validation_set)
    temperature = fitted_temperature(held.logits, held.labels) if honest else 1.0
    errors = [
        calibration_error(*_confidence(held.logits / t, held.labels)) for t in (1.0, temperature)
    ]
    present = torch.bincount(known.labels).nonzero()[:, 0]
    centres = torch.stack([known.features[known.labels == c].mean(0) for c in present])
    within = known.features - centres[torch.bucketize(known.labels, present)]
    dim = task.config.model.point_dim - len(task.config.data.features)
    place, size = known.outlines[:, 2 : 2 + dim].mean(0), known.outlines[:, 1].mean()
    shapes = relative(known.outlines, place, size)
    parts = (
        torch.tensor(temperature),
        centres,
        whitening(within),
        place,
        size,
        shapes.mean(0),
        whitening(shapes - shapes.mean(0), _ROUGH),
        torch.ones(2),
        torch.tensor([len(known.labels), len(held.labels)]),
        torch.tensor(errors),
    )
    found = Calibration(*(as_written(part) for part in parts))
    limits = chosen_limits(found.unlike(held.features, held.outlines))
    return replace(found, limits=as_written(limits))


@dataclass(frozen=True, eq=False)
class _Look:
    """What a model makes of clouds, in float64 on the processor; their labels."""

    logits: Tensor
    features: Tensor
    outlines: Tensor
    labels: Tensor


def _look(
    model: nn.Module, clouds: CloudDataset, config: RunConfig, device: torch.device, most: int
) -> _Look:
    every = torch.arange(len(clouds))[:: max(1, -(-len(clouds) // most))]
    every = every[torch.argsort(clouds.sizes[every], stable=True)]
    seen, dim = view(config.data), config.model.point_dim - len(config.data.features)
    parts: list[tuple[Tensor, ...]] = []
    order = every.tolist()
    for start in range(0, len(order), EVALUATION_BATCH):
        batch = clouds.__getitems__(order[start : start + EVALUATION_BATCH])
        count, batch = (batch.weights > 0).sum(-1), moved(batch, device, seen)
        answer, features = answer_and_features(model, batch.points, batch.weights)
        outlines = outline(batch.points, batch.weights, count, dim)
        parts.append(
            (answer.logits.cpu().double(), features.cpu().double(), outlines, batch.labels.cpu())
        )
    return _Look(*(torch.cat(column) for column in zip(*parts, strict=True)))


def fitted_temperature(logits: Tensor, labels: Tensor) -> float:
    """The temperature under which labels are most probable, one near 1 where there are few.

    The minimum over ``t = log T`` of ``Σ −log softmax(logits / T)[label] + t² / (2 · 0.5²)``: the
    likelihood of Guo et al. with a prior, without which a few clouds that are all told right would
    make every answer certain. By search on a grid, twice.

    Args:
        logits: (n, classes) float64.
        labels: (n,) int64.
    """

    def cost(t: float) -> float:
        loss = functional.cross_entropy(logits / math.exp(t), labels, reduction="sum")
        return float(loss) + t**2 / (2 * _PRIOR**2)

    middle, reach = 0.0, _RANGE
    while reach > 1e-3:
        grid = torch.linspace(middle - reach, middle + reach, 21, dtype=torch.float64).tolist()
        middle, reach = min(grid, key=cost), reach / 10
    return math.exp(middle)


def whitening(deviations: Tensor, floor: float = 0.0) -> Tensor:
    r"""``W`` with ``W Wᵀ = Σ⁻¹``, of a covariance that few clouds tell.

    The sample covariance S is shrunk towards a multiple of the identity, ``(1 − ρ) S + ρ tr(S)/p
    I``, by the oracle approximating share ρ of Chen, Wiesel, Eldar and Hero ("Shrinkage algorithms
    for MMSE covariance estimation", IEEE Transactions on Signal Processing 2010, equation 23).

    Args:
        deviations: (n, p) from the mean.
        floor: A standard deviation that is added in every direction.
    """
    n, p = deviations.shape
    sample = deviations.T @ deviations / n
    trace, square = sample.trace(), sample.square().sum()
    top = (1 - 2 / p) * square + trace**2
    bottom = (n + 1 - 2 / p) * (square - trace**2 / p)
    share = float((top / bottom).clamp(0, 1)) if float(bottom) > 0 else 1.0
    scale = float(trace) / p
    least = floor**2 if floor or scale > 0 else 1.0
    eye = torch.eye(p, dtype=deviations.dtype)
    covariance = (1 - share) * sample + (share * scale + least) * eye
    if not floor:  # whatever is exactly constant is allowed what rounding makes of it
        covariance = covariance + 1e-6 * scale * eye
    found: Tensor = torch.linalg.inv(torch.linalg.cholesky(covariance)).T
    return found


def chosen_limits(distances: Tensor) -> Tensor:
    """Limits (2,) of two numbers such that one cloud in twenty like these is above one of them.

    Where ``u`` of n clouds are above a limit, another one like them is so with probability
    ``(u + 2) / (n + 1)`` at most, about, whatever their law: it may be the next one by either of
    the numbers (conformal prediction; Vovk, Gammerman and Shafer, "Algorithmic learning in a random
    world", 2005). Both leave equally many above. Of fewer than 59 clouds none is: the limits are
    the largest numbers that occur, and with 20 clouds one in ten is called unlike them.

    Args:
        distances: (n, 2) of validation clouds.
    """
    ordered = distances.sort(0, descending=True).values
    allowed, limits = max(0, int(ALARMS * (len(distances) + 1)) - 2), ordered[0]
    for above in range(1, allowed + 1):
        candidate = ordered[above]
        if int((distances > candidate).any(1).sum()) > allowed:
            break
        limits = candidate
    # Above what rounding to float32 makes of the cloud that is at the limit.
    return limits.clamp(min=1e-6) * (1 + 1e-6)


def _confidence(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    best = logits.softmax(-1).max(-1)
    return best.values, best.indices == labels
