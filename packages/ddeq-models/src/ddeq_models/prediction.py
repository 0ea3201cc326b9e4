"""Labels for a user's own files."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from ddeq_data import Cloud, DataError, collate, read_cloud
from ddeq_models.data import view
from ddeq_models.device import choose_device
from ddeq_models.errors import UserError
from ddeq_models.model import Output
from ddeq_models.model_folder import open_model


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
    run: str | Path, files: Sequence[str | Path], *, batch_size: int = 64, device: str = "auto"
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
    if config.task.kind != "classification":
        raise UserError(
            f"{folder.path} is a run of {config.task.kind}, which labels nothing; "
            "give a run of classification"
        )
    model = folder.model(place)
    clouds = read_clouds(files, config.model.point_dim)
    seen = view(config.data)
    predictions: list[Prediction] = []
    for start in range(0, len(files), batch_size):
        batch = collate(clouds[start : start + batch_size]).to(place).map(seen)
        output: Output = model(batch.points, batch.weights)
        solution, rows = output.solution, output.logits.softmax(-1).tolist()
        for i, row in enumerate(rows):
            predictions.append(
                Prediction(
                    file=str(files[start + i]),
                    label=config.classes[max(range(len(row)), key=row.__getitem__)],
                    probabilities=dict(zip(config.classes, row, strict=True)),
                    converged=solution is None or bool(solution.converged[i]),
                    message="" if solution is None else solution.message(i),
                )
            )
    return predictions


def read_clouds(files: Sequence[str | Path], dim: int) -> list[Cloud]:
    """All files as clouds, or one error that names every bad file."""
    clouds: list[Cloud] = []
    problems: list[str] = []
    for file in files:
        try:
            points, weights = read_cloud(file)
            if points.shape[1] == dim + 1 and (points[:, dim] == points[0, dim]).all():
                points = points[:, :dim]  # ply and its like always have a z
            elif points.shape[1] != dim:
                read_cloud(file, dim=dim)  # which says what is wrong
        except DataError as error:
            problems.append(str(error))
        else:
            if weights is None:
                weights = points.new_full((len(points),), 1 / len(points))
            clouds.append(Cloud(points, weights, label=0))  # the label is not used
    if len(problems) == 1:
        raise UserError(problems[0])
    if problems:
        lines = "\n  ".join(problems)
        raise UserError(
            f"{len(problems)} of {len(files)} files cannot be used, and nothing was done:\n"
            f"  {lines}"
        )
    return clouds
