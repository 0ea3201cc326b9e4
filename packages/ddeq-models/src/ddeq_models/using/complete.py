"""Completing clouds of points with a trained completer."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ddeq_data import Cloud, PointBatch, collate
from ddeq_data.measures import as_precise_as_needed
from ddeq_models._internal.device import choose_device
from ddeq_models._internal.files import write_output
from ddeq_models.config import RunConfig
from ddeq_models.data import thinning
from ddeq_models.errors import UserError
from ddeq_models.models.completer import Completed, added_points
from ddeq_models.runs.pretrained import open_model
from ddeq_models.tasks.base import build_task
from ddeq_models.using.clouds import Clouds, alike, listed, names_of, read_clouds

_SMALL, _LARGE = 1e-9, 1e9  # coordinates whose squares float32 holds as well as any


@dataclass(frozen=True)
class CompletedFile:
    """What was added to one cloud.

    Attributes:
        file: The file, as it was given; of an array ``cloud 0``, by its place.
        out: The npz that was written: see `complete`.
        picture: The PNG beside it.
        visible: How many points the cloud has.
        completed: How many were added.
        converged: Whether the solver reached its tolerance.
        message: What the solver says, in a sentence.
    """

    file: str
    out: Path
    picture: Path
    visible: int
    completed: int
    converged: bool
    message: str


@torch.no_grad()
def complete(
    run: str | Path,
    files: Clouds,
    out: str | Path,
    *,
    count: int | None = None,
    columns: Sequence[str] = (),
    features: Sequence[str] = (),
    batch_size: int = 64,
    device: str = "auto",
) -> list[CompletedFile]:
    """Complete clouds of points, in the unit they are in.

    Clouds are files or arrays as of `predict`. A run with ``data.points`` has seen as many points
    of a cloud and no more: of a larger one the model is shown so many, those that are farthest from
    each other, as wherever such a run measures. All points stay in what is written, and the ratio
    is one to all of them.

    With ``frame="given"`` (see `CompleterConfig`) that must be the unit of the normalised clouds of
    the training; with ``frame="visible"`` any will do.

    For each ``out/<name>.npz`` (of arrays ``out/cloud 0.npz``) holds ``points (n + m, d)`` float64,
    the n points of the cloud first, bit for bit; ``weights (n + m,)``, which sum to 1; and
    ``visible (n + m,)``, True for the points of the cloud. It is a file that
    `ddeq_data.read_cloud` reads. ``out/<name>.png`` shows it.

    Args:
        run: The run folder or model folder of a completer, or the name of a shipped one.
        files: Files (npy, npz, txt, csv, xyz, pts, off, ply or pcd) or arrays.
        out: Folder to write to; made if it does not exist.
        count: Points to add to each cloud; None: in the ratio of the run.
        columns: Which columns of files are coordinates; see `predict`.
        features: Which columns are features; see `predict`.
        batch_size: Clouds at once; no completion depends on it.
        device: See `choose_device`.

    Returns:
        One entry a cloud, in their order.

    Raises:
        UserError: The run or the device cannot be used, the folder cannot be written to, two clouds
            would be written to one file, or any is bad; then nothing was written.
    """
    from ddeq_models.report.pictures import draw_completions  # matplotlib, only where needed
    from ddeq_models.report.pictures.projection import up_of
    from ddeq_models.report.samples import CompletedCloud

    place, folder, target = choose_device(device), open_model(run), Path(out)
    config = folder.config()
    if build_task(config).command != "complete":
        raise UserError(
            f"{folder.path} is a run of {config.task.kind}, which completes nothing; "
            "give a run of completion: ddeq train --task completion"
        )
    if count is not None and count < 1:
        raise UserError(f"count must be at least 1, got {count}")
    every = listed(files)
    labels = names_of(every)
    names = [
        Path(one).stem if isinstance(one, str | Path) else n
        for one, n in zip(every, labels, strict=True)
    ]
    if twice := [name for name, times in Counter(names).items() if times > 1]:
        raise UserError(
            f"several files would be written to {target / twice[0]}.npz; complete them one by one, "
            "each into an --out of its own"
        )
    given = {Path(one).resolve() for one in every if isinstance(one, str | Path)}
    for name in names:
        if (target / f"{name}.npz").resolve() in given:
            raise UserError(
                f"{target / name}.npz is one of the files to complete and would be replaced; "
                "give another --out"
            )
    model = folder.model(place)
    known = [one.cloud for one in read_clouds(every, config, columns, features)]
    try:
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make the folder {target}: {error.strerror}") from error

    done: dict[int, CompletedFile] = {}
    for chosen, asked in _batches(
        [len(cloud.points) for cloud in known], batch_size, config, count
    ):
        moved = [_near_origin(known[i], config) for i in chosen]
        batch = _thinned(collate([cloud for cloud, _, _ in moved]), config).to(place)
        answer: Completed = model(batch.points, batch.weights, asked)
        solution = answer.solution
        for row, (i, (_, origin, unit)) in enumerate(zip(chosen, moved, strict=True)):
            cloud, name = known[i], names[i]
            added = unit * answer.points[row][answer.weights[row] > 0].cpu().double() + origin
            if not bool(added.isfinite().all()):
                raise UserError(
                    f"{folder.path} gives no finite points for {labels[i]}: its weights are not "
                    "fit for such points; train it again, or give it other points"
                )
            share = len(added) / (len(cloud.points) + len(added))
            arrays = {
                "points": torch.cat([cloud.points, added]).numpy(),
                "weights": np.concatenate(
                    [(1 - share) * cloud.weights.numpy(), np.full(len(added), share / len(added))]
                ),
                "visible": np.arange(len(cloud.points) + len(added)) < len(cloud.points),
            }
            places = slice(cloud.points.shape[1] - len(tuple(features) or config.data.features))
            near = CompletedCloud(
                (cloud.points - origin)[:, places].numpy(), (added - origin)[:, places].numpy()
            )
            picture = draw_completions([near], up_of(config.data.release))
            npz, png = target / f"{name}.npz", target / f"{name}.png"
            write_output(npz, _npz(arrays))
            write_output(png, picture)
            done[i] = CompletedFile(
                file=labels[i],
                out=npz,
                picture=png,
                visible=len(cloud.points),
                completed=len(added),
                converged=solution is None or bool(solution.converged[row]),
                message="" if solution is None else solution.message(row),
            )
    return [done[i] for i in range(len(known))]


def _batches(
    sizes: Sequence[int], batch_size: int, config: RunConfig, count: int | None
) -> Iterator[tuple[list[int], int | None]]:
    """The numbers of the clouds of each batch, and how many points are added to each of them.

    None: in the model's own ratio to what it sees. Where it sees some points of a cloud only, the
    ratio is to all of them, or what is added would be sparser than what is there.
    """
    ratio = getattr(config.model, "ratio", None)
    for chosen in alike(sizes, batch_size):
        if count is not None or ratio is None or sizes[chosen[-1]] <= config.data.points:
            yield chosen, count
        elif not config.data.points:
            yield chosen, None
        else:
            for wanted, some in groupby(chosen, key=lambda i: added_points(ratio, sizes[i])):
                yield list(some), wanted


def _thinned(batch: PointBatch, config: RunConfig) -> PointBatch:
    """The clouds as `view` shows them, but for the normalisation."""
    if not config.data.points:
        return batch
    return batch.map(thinning(config.data))


def _near_origin(cloud: Cloud, config: RunConfig) -> tuple[Cloud, Tensor, float]:
    """A cloud as the model sees it, in float32, and how its points came from those of the file.

    Where float32 cannot hold a cloud where it is, it is moved to its mean; where its squares would
    overflow or vanish, it is divided by a power of two. Of ``frame="given"`` place and size matter:
    there it is rounded.

    Returns:
        The cloud; what was taken off its points, ``(d,)``; and what they were divided by.
    """
    origin, unit = torch.zeros(cloud.points.shape[1], dtype=torch.float64), 1.0
    narrow = as_precise_as_needed(cloud.points).double()
    if getattr(config.model, "frame", "given") == "visible":
        if not torch.equal(narrow, narrow.float().double()):
            origin = (cloud.weights[:, None] * cloud.points).sum(0)
            narrow = cloud.points - origin
        largest = float(narrow.abs().max())
        if largest > 0 and not _SMALL <= largest <= _LARGE:
            unit = 2.0 ** math.frexp(largest)[1]
    return Cloud((narrow / unit).float(), cloud.weights.float(), cloud.label), origin, unit


def _npz(arrays: dict[str, Any]) -> bytes:
    """The content of an npz file."""
    buffer = BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()
