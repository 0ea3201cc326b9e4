"""Completing files of points with a trained completer."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ddeq_data import Cloud, collate
from ddeq_data.measures import as_precise_as_needed
from ddeq_models._internal.device import choose_device
from ddeq_models._internal.files import write_output
from ddeq_models.config import RunConfig
from ddeq_models.errors import UserError
from ddeq_models.models.completer import Completed
from ddeq_models.runs.pretrained import open_model
from ddeq_models.tasks.base import build_task
from ddeq_models.using.predict import alike, read_clouds

_SMALL, _LARGE = 1e-9, 1e9  # coordinates whose squares float32 holds as well as any


@dataclass(frozen=True)
class CompletedFile:
    """What was added to one file.

    Attributes:
        file: The file.
        out: The npz that was written: see `complete`.
        picture: The PNG beside it.
        visible: How many points the file has.
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
    files: Sequence[str | Path],
    out: str | Path,
    *,
    count: int | None = None,
    columns: Sequence[str] = (),
    features: Sequence[str] = (),
    batch_size: int = 64,
    device: str = "auto",
) -> list[CompletedFile]:
    """Complete files of points, in the unit they are in.

    With ``frame="given"`` (see `CompleterConfig`) that must be the unit of the normalised clouds of
    the training; with ``frame="visible"`` any will do.

    For each file ``out/<name>.npz`` holds ``points (n + m, d)`` float64, the n points of the file
    first, bit for bit;
    ``weights (n + m,)``, which sum to 1; and ``visible (n + m,)``, True for the points of the file.
    It is a file that `ddeq_data.read_cloud` reads. ``out/<name>.png`` shows it.

    Args:
        run: The run folder or model folder of a completer, or the name of a shipped one.
        files: npy, npz, txt, csv, xyz, pts, off, ply or pcd.
        out: Folder to write to; made if it does not exist.
        count: Points to add to each file; None: in the ratio of the run.
        columns: Which columns of the files are coordinates; see `predict`.
        features: Which columns are features; see `predict`.
        batch_size: Files at once; no completion depends on it.
        device: See `choose_device`.

    Returns:
        One entry a file, in their order.

    Raises:
        UserError: The run or the device cannot be used, the folder cannot be written to, two files
            would be written to one, or any file is bad; then nothing was written.
    """
    from ddeq_models.report.pictures import draw_completions  # matplotlib, only where needed
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
    names = [Path(file).stem for file in files]
    if twice := [name for name, times in Counter(names).items() if times > 1]:
        raise UserError(
            f"several files would be written to {target / twice[0]}.npz; complete them one by one, "
            "each into an --out of its own"
        )
    given = {Path(file).resolve() for file in files}
    for name in names:
        if (target / f"{name}.npz").resolve() in given:
            raise UserError(
                f"{target / name}.npz is one of the files to complete and would be replaced; "
                "give another --out"
            )
    model = folder.model(place)
    clouds = read_clouds(files, config, columns, features)
    try:
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make the folder {target}: {error.strerror}") from error

    done: dict[int, CompletedFile] = {}
    for chosen in alike([len(cloud.points) for cloud in clouds], batch_size):
        moved = [_near_origin(clouds[i], config) for i in chosen]
        batch = collate([cloud for cloud, _, _ in moved]).to(place)
        answer: Completed = model(batch.points, batch.weights, count)
        solution = answer.solution
        for row, (i, (_, origin, unit)) in enumerate(zip(chosen, moved, strict=True)):
            cloud, name = clouds[i], names[i]
            added = unit * answer.points[row][answer.weights[row] > 0].cpu().double() + origin
            if not bool(added.isfinite().all()):
                raise UserError(
                    f"{folder.path} gives no finite points for {files[i]}: its weights are not fit "
                    "for such points; train it again, or give it other points"
                )
            share = len(added) / (len(cloud.points) + len(added))
            arrays = {
                "points": torch.cat([cloud.points, added]).numpy(),
                "weights": np.concatenate(
                    [(1 - share) * cloud.weights.numpy(), np.full(len(added), share / len(added))]
                ),
                "visible": np.arange(len(cloud.points) + len(added)) < len(cloud.points),
            }
            near = (cloud.points - origin).numpy(), (added - origin).numpy()
            picture = draw_completions([CompletedCloud(*near)])
            npz, png = target / f"{name}.npz", target / f"{name}.png"
            write_output(npz, _npz(arrays))
            write_output(png, picture)
            done[i] = CompletedFile(
                file=str(files[i]),
                out=npz,
                picture=png,
                visible=len(cloud.points),
                completed=len(added),
                converged=solution is None or bool(solution.converged[row]),
                message="" if solution is None else solution.message(row),
            )
    return [done[i] for i in range(len(files))]


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
