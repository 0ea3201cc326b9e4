"""Labels for a user's own clouds."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ddeq_data import collate
from ddeq_models._internal.device import choose_device
from ddeq_models.data import view
from ddeq_models.errors import UserError
from ddeq_models.models.base import Output
from ddeq_models.models.features import answer_and_features
from ddeq_models.runs.calibration import in_words, outline, read_calibration
from ddeq_models.runs.pretrained import open_model
from ddeq_models.tasks.base import build_task
from ddeq_models.using.answers import estimates, point_labels
from ddeq_models.using.clouds import Clouds, alike, listed, names_of, read_clouds


@dataclass(frozen=True)
class Prediction:
    """What a model says of one cloud.

    Attributes:
        file: The file, as it was given; of an array ``cloud 0``, by its place.
        label: Name of the most probable class.
        probabilities: Probability of each class by name.
        converged: Whether the solver reached its tolerance on this cloud; True of a model that
            solves nothing.
        message: What the solver says of this cloud, in a sentence.
        unlike: Whether the cloud is unlike all that was seen in training, see
            `ddeq_models.runs.calibration`; None where nothing is known of that: `calibrate` finds
            out.
        why: What of it is, in words; empty where it is not.
    """

    file: str
    label: str
    probabilities: dict[str, float]
    converged: bool = True
    message: str = ""
    unlike: bool | None = None
    why: str = ""


# What is said by the other tasks that predict; a plugin's answers as a classifier does.
_OTHERS: dict[str, Callable[..., Sequence[Any]]] = {
    "regression": estimates,
    "segmentation": point_labels,
}


@torch.no_grad()
def predict(
    run: str | Path,
    files: Clouds,
    *,
    columns: Sequence[str] = (),
    features: Sequence[str] = (),
    batch_size: int = 64,
    device: str = "auto",
) -> list[Any]:
    """Say of clouds of points what a trained model says: classes, numbers, or labels of points.

    A cloud is the name of a file, an array or tensor of points (n, d), or a pair (points, weights)
    of these; one of them or a sequence, which may mix them. An array has the columns that the model
    was trained on, features behind coordinates. An array (B, n, d) is B clouds. A file
    holds points (n, d) and, if it is an npz, may hold weights (n,). Weights need not sum to 1;
    without them every point weighs the same. The clouds are normalised as those of the run
    were. A file whose points have one coordinate too many, in which all of them agree, is taken for
    a flat one. (In `digits` and in weighted data the weight of a point is the value of its pixel: a
    file does best to hold these weights too.)

    Probabilities are at the temperature that was fitted on the validation clouds, where the folder
    knows one.

    Args:
        run: The run folder, a model folder, or the name of a shipped model.
        files: Files (npy, npz, txt, csv, xyz, pts, off, ply or pcd) or arrays.
        columns: Which columns of files are coordinates, by name or by number; see
            `ddeq_data.read_cloud`. Empty: as in the run.
        features: Which columns are features; empty: as in the run.
        batch_size: Clouds in a batch; no prediction depends on it.
        device: See `choose_device`.

    Returns:
        For each cloud, in their order, a `Prediction`; of a regression an `Estimate`, of a
        segmentation `PointLabels`.

    Raises:
        UserError: The run folder or the device cannot be used, or any cloud is bad: then
            nothing is predicted, and the message names every bad one, one a line.
    """
    place = choose_device(device)
    folder = open_model(run)
    config = folder.config()
    if build_task(config).command != "predict":
        raise UserError(
            f"{folder.path} is a run of {config.task.kind}, which labels nothing; "
            "give a run of classification, regression or segmentation"
        )
    model = folder.model(place)
    every = listed(files)
    names, read = names_of(every), read_clouds(every, config, columns, features)
    if (others := _OTHERS.get(config.task.kind)) is not None:
        return list(others(model, config, read, names, batch_size, place))
    known = [one.cloud for one in read]
    seen, calibration = view(config.data), read_calibration(folder.path, len(config.classes))
    dim = config.model.point_dim - len(config.data.features)
    predictions: dict[int, Prediction] = {}
    for chosen in alike([len(cloud.points) for cloud in known], batch_size):
        batch = collate([known[i] for i in chosen]).map(seen).to(place)
        output: Output
        unlike: list[bool | None] = [None] * len(chosen)
        why = [""] * len(chosen)
        if calibration is None:
            output = model(batch.points, batch.weights)
            rows = output.logits.softmax(-1).tolist()
        else:
            output, found = answer_and_features(model, batch.points, batch.weights)
            rows = calibration.probabilities(output.logits).tolist()
            count = torch.tensor([len(known[i].points) for i in chosen])
            factors = calibration.unlike(found, outline(batch.points, batch.weights, count, dim))
            unlike, why = (factors > 1).any(1).tolist(), [in_words(row) for row in factors]
        solution = output.solution
        for i, row in zip(chosen, rows, strict=True):
            if not all(map(math.isfinite, row)):
                raise UserError(
                    f"{folder.path} gives {names[i]} no finite probabilities: its weights are not "
                    "fit for such points; train it again, or give it other points"
                )
        for place_in_batch, (i, row) in enumerate(zip(chosen, rows, strict=True)):
            predictions[i] = Prediction(
                file=names[i],
                label=config.classes[max(range(len(row)), key=row.__getitem__)],
                probabilities=dict(zip(config.classes, row, strict=True)),
                converged=solution is None or bool(solution.converged[place_in_batch]),
                message="" if solution is None else solution.message(place_in_batch),
                unlike=unlike[place_in_batch],
                why=why[place_in_batch],
            )
    return [predictions[i] for i in range(len(known))]
