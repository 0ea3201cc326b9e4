"""Labels for a user's own files."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ddeq_data import Cloud, DataError, collate, read_cloud
from ddeq_data.readers import read_cloud_file
from ddeq_models._internal.device import choose_device
from ddeq_models.config import RunConfig, check_columns
from ddeq_models.data import view
from ddeq_models.errors import SeveralProblems, UserError
from ddeq_models.models.base import Output
from ddeq_models.runs.pretrained import open_model
from ddeq_models.tasks.base import build_task

_FEW = 4096  # rows of a batch that are no burden, padding or not


@dataclass(frozen=True)
class Prediction:
    """What a model says of one file.

    Attributes:
        file: The file, as it was given.
        label: Name of the most probable class.
        probabilities: Probability of each class by name.
        converged: Whether the solver reached its tolerance on this cloud; True of a model that
            solves nothing.
        message: What the solver says of this cloud, in a sentence.
    """

    file: str
    label: str
    probabilities: dict[str, float]
    converged: bool = True
    message: str = ""


@torch.no_grad()
def predict(
    run: str | Path,
    files: Sequence[str | Path],
    *,
    columns: Sequence[str] = (),
    features: Sequence[str] = (),
    batch_size: int = 64,
    device: str = "auto",
) -> list[Prediction]:
    """Label files of points with a trained model.

    A file holds points (n, d) and, if it is an npz, may hold weights (n,), which need not sum
    to 1; without them every point weighs the same. The clouds are normalised as those of the run
    were. A file whose points have one coordinate too many, in which all of them agree, is taken for
    a flat one. (In `digits` and in weighted data the weight of a point is the value of its pixel: a
    file does best to hold these weights too.)

    Args:
        run: The run folder, a model folder, or the name of a shipped model.
        files: npy, npz, txt, csv, xyz, pts, off, ply or pcd.
        columns: Which columns of the files are coordinates, by name or by number; see
            `ddeq_data.read_cloud`. Empty: as in the run.
        features: Which columns are features; empty: as in the run.
        batch_size: Clouds in a batch; no prediction depends on it.
        device: See `choose_device`.

    Returns:
        One prediction a file, in their order.

    Raises:
        UserError: The run folder or the device cannot be used, or any file is bad: then no file
            is predicted, and the message names every bad one, one a line.
    """
    place = choose_device(device)
    folder = open_model(run)
    config = folder.config()
    if build_task(config).command != "predict":
        raise UserError(
            f"{folder.path} is a run of {config.task.kind}, which labels nothing; "
            "give a run of classification"
        )
    model = folder.model(place)
    clouds = read_clouds(files, config, columns, features)
    seen = view(config.data)
    predictions: dict[int, Prediction] = {}
    for chosen in alike([len(cloud.points) for cloud in clouds], batch_size):
        batch = collate([clouds[i] for i in chosen]).map(seen).to(place)
        output: Output = model(batch.points, batch.weights)
        solution, rows = output.solution, output.logits.softmax(-1).tolist()
        for i, row in zip(chosen, rows, strict=True):
            if not all(map(math.isfinite, row)):
                raise UserError(
                    f"{folder.path} gives {files[i]} no finite probabilities: its weights are not "
                    "fit for such points; train it again, or give it other points"
                )
        for place_in_batch, (i, row) in enumerate(zip(chosen, rows, strict=True)):
            predictions[i] = Prediction(
                file=str(files[i]),
                label=config.classes[max(range(len(row)), key=row.__getitem__)],
                probabilities=dict(zip(config.classes, row, strict=True)),
                converged=solution is None or bool(solution.converged[place_in_batch]),
                message="" if solution is None else solution.message(place_in_batch),
            )
    return [predictions[i] for i in range(len(files))]


def alike(sizes: Sequence[int], batch_size: int) -> list[list[int]]:
    """Clouds in batches of similar size: one that is large would make all others as large.

    Args:
        sizes: Points of each cloud.
        batch_size: Clouds in a batch, at most.

    Returns:
        The numbers of the clouds of each batch, by rising size.
    """
    batches: list[list[int]] = []
    total = 0
    for i in sorted(range(len(sizes)), key=sizes.__getitem__):
        rows = sizes[i] * (len(batches[-1]) + 1) if batches else 0
        total += sizes[i]
        if not batches or len(batches[-1]) == batch_size or rows > max(2 * total, _FEW):
            batches.append([])
            total = sizes[i]
        batches[-1].append(i)
    return batches


def read_clouds(
    files: Sequence[str | Path],
    config: RunConfig,
    columns: Sequence[str] = (),
    features: Sequence[str] = (),
) -> list[Cloud]:
    """All files as clouds, as precise as they are, or one error that names every bad file.

    Args:
        files: The files.
        config: The run whose model is to see them.
        columns: See `predict`.
        features: See `predict`.

    Raises:
        UserError: A file is bad, or a column is named twice.
    """
    columns = tuple(columns) or config.data.columns
    features = tuple(features) or config.data.features
    check_columns(columns, features)
    clouds: list[Cloud] = []
    problems: list[str] = []
    for file in files:
        try:
            points, weights = _read(file, config.model.point_dim, columns or None, features)
        except DataError as error:
            problems.append(str(error))
        else:
            if weights is None:
                weights = points.new_full((len(points),), 1 / len(points))
            clouds.append(Cloud(points, weights, label=0))  # the label is not used
    if len(problems) == 1:
        raise UserError(problems[0])
    if problems:
        raise SeveralProblems(
            f"{len(problems)} of {len(files)} files cannot be used, and nothing was done:", problems
        )
    return clouds


def _read(
    file: str | Path, dim: int, columns: tuple[str, ...] | None, features: tuple[str, ...]
) -> tuple[Tensor, Tensor | None]:
    try:
        return read_cloud(file, dim=dim, columns=columns, features=features)
    except DataError as error:
        try:
            found = read_cloud_file(file, columns=columns, features=features)
        except DataError:
            raise error from None
        last, points = found.coordinates - 1, found.points
        if points.shape[1] != dim + 1 or not bool((points[:, last] == points[0, last]).all()):
            raise
        # ply and its like always have a z
        return torch.cat([points[:, :last], points[:, last + 1 :]], 1), found.weights
