"""The features of a user's own clouds: what a trained model reads its answer from."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ddeq_data import Cloud, CloudDataset, PointBatch, collate
from ddeq_models._internal.device import choose_device
from ddeq_models._internal.files import write_output
from ddeq_models.data import moved, view
from ddeq_models.errors import UserError
from ddeq_models.models.features import answer_and_features, check_features
from ddeq_models.runs.pretrained import open_model
from ddeq_models.using.clouds import Clouds, alike, listed, names_of, read_clouds

__all__ = ["SUFFIXES", "Embedding", "check_embedding", "embed", "write_embedding"]

SUFFIXES = (".npy", ".npz", ".csv")


@dataclass(frozen=True, eq=False)
class Embedding:
    """Features of clouds.

    Attributes:
        features: (N, F) float32.
        names: What each cloud is called: its file, or ``cloud 0`` by its place.
        converged: (N,) whether the solver reached its tolerance; True of a model that solves
            nothing.
        labels: The name of the class of each cloud of a data set; else ().
    """

    features: NDArray[np.float32]
    names: tuple[str, ...]
    converged: NDArray[np.bool_]
    labels: tuple[str, ...] = ()


@torch.no_grad()
def embed(
    run: str | Path,
    clouds: Clouds | CloudDataset,
    *,
    columns: Sequence[str] = (),
    features: Sequence[str] = (),
    batch_size: int = 64,
    device: str = "auto",
) -> Embedding:
    """The features that a trained model makes of clouds, before its head decides.

    Of a DDEQ they are those of the equilibrium, pooled over the particles.

    Args:
        run: The run folder, a model folder, or the name of a shipped model.
        clouds: Files or arrays, see `ddeq_models.predict`; or a data set, whose labels are told.
        columns: Which columns of files are coordinates; see `ddeq_models.predict`.
        features: Which columns are features; empty: as in the run.
        batch_size: Clouds in a batch; no feature depends on it.
        device: See `choose_device`.

    Raises:
        UserError: The run or the device cannot be used, its model has no features, or any cloud is
            bad: then nothing is done, and the message names every bad one.
    """
    place, folder = choose_device(device), open_model(run)
    config, model = folder.config(), folder.model(place)
    check_features(model, config.model.kind)
    labels: tuple[str, ...] = ()
    gathered: Callable[[list[int]], PointBatch]
    if isinstance(clouds, CloudDataset):
        if columns or features:
            raise UserError(
                "columns and features are of files, and a data set has its own; leave both out"
            )
        if clouds.dim != config.model.point_dim:
            raise UserError(
                f"the model was trained on points of dimension {config.model.point_dim}, these "
                f"have dimension {clouds.dim}"
            )
        names = tuple(f"cloud {i}" for i in range(len(clouds)))
        if clouds.target_kind == "class":
            labels = tuple(clouds.classes[i] for i in clouds.labels.tolist())
        sizes, gathered = clouds.sizes.tolist(), clouds.__getitems__
    else:
        every = listed(clouds)
        names, read = tuple(names_of(every)), read_clouds(every, config, columns, features)
        known = [one.cloud for one in read]
        sizes, gathered = [len(cloud.points) for cloud in known], partial(_collated, known)
    if not sizes:
        raise UserError("there are no clouds; give one at least")
    seen, parts = view(config.data), []
    solved = np.ones(len(sizes), dtype=bool)
    order = alike(sizes, batch_size)
    for chosen in order:
        batch = moved(gathered(chosen), place, seen)
        answer, found = answer_and_features(model, batch.points, batch.weights)
        parts.append(found.float().cpu().numpy())
        if (solution := getattr(answer, "solution", None)) is not None:
            solved[chosen] = solution.converged.cpu().numpy()
    rows = np.concatenate(parts)
    rows[np.concatenate([np.array(chosen) for chosen in order])] = rows.copy()
    if bad := np.flatnonzero(~np.isfinite(rows).all(1)).tolist():
        raise UserError(
            f"{folder.path} gives {names[bad[0]]} no finite features: its weights are not fit for "
            "such points; train it again, or give it other points"
        )
    return Embedding(rows, names, solved, labels)


def _collated(clouds: Sequence[Cloud], chosen: Sequence[int]) -> PointBatch:
    return collate([clouds[i] for i in chosen])


def check_embedding(out: str | Path) -> Path:
    """See that features can be written to a file, before any are made.

    Raises:
        UserError: Its ending is none of ``.npy``, ``.npz`` and ``.csv``, or there is no such
            folder.
    """
    path = Path(out)
    if path.suffix not in SUFFIXES:
        raise UserError(f"{out}: expected a name that ends in {', '.join(SUFFIXES)}")
    if not path.parent.is_dir():
        raise UserError(f"{path.parent}: no such folder for the features; make it first")
    return path


def write_embedding(embedding: Embedding, out: str | Path) -> Path:
    """Write features to a file.

    Args:
        embedding: The features.
        out: ``.npy``: the features (N, F) alone. ``.npz``: also ``names``, ``converged`` and, of a
            data set, ``labels``. ``.csv``: the same, a line a cloud.

    Raises:
        UserError: See `check_embedding`.
        OSError: It cannot be written.
    """
    path, labelled = check_embedding(out), bool(embedding.labels)
    if path.suffix == ".csv":
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        width = embedding.features.shape[1]
        head = ["name", *(["label"] if labelled else []), "converged"]
        table.writerow([*head, *(f"feature_{i}" for i in range(width))])
        for i, row in enumerate(embedding.features):
            told = [embedding.names[i], *([embedding.labels[i]] if labelled else [])]
            # As many digits as a float32 has.
            table.writerow([*told, int(embedding.converged[i]), *(f"{x:.9g}" for x in row)])
        content = text.getvalue().encode("utf-8", "backslashreplace")
    else:
        buffer = io.BytesIO()
        if path.suffix == ".npy":
            np.save(buffer, embedding.features)
        else:
            arrays: dict[str, Any] = {
                "features": embedding.features,
                "names": np.array(embedding.names),
                "converged": embedding.converged,
            }
            if labelled:
                arrays["labels"] = np.array(embedding.labels)
            np.savez(buffer, **arrays)
        content = buffer.getvalue()
    write_output(path, content)
    return path
