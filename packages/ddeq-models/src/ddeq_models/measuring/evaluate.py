"""Measuring a trained model on a split of its data, or of others."""

import time
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from torch import nn

from ddeq_models._internal.device import choose_device
from ddeq_models.config import ARRAYS, SPLITS, Split
from ddeq_models.config.data import check_split
from ddeq_models.data import batches, check_fit, open_split
from ddeq_models.data.arrays import Sets, sets_of
from ddeq_models.errors import UserError
from ddeq_models.measuring.measure import EVALUATION_BATCH, forward_only, measure
from ddeq_models.models.solver import SolverConfig
from ddeq_models.runs.calibration import read_calibration
from ddeq_models.runs.clouds import open_clouds
from ddeq_models.runs.pretrained import open_model
from ddeq_models.tasks.base import build_task
from ddeq_models.tasks.classification import Classification
from ddeq_models.tasks.tally import to_json


def evaluate(
    run: str | Path,
    *,
    data: str | None = None,
    root: str | None = None,
    split: Split = "test",
    sets: Sets | None = None,
    batch_size: int = EVALUATION_BATCH,
    solver: Mapping[str, str] | None = None,
    step: float | None = None,
    rtol: float | None = None,
    max_steps: int | None = None,
    device: str = "auto",
) -> dict[str, Any]:
    """Measure a trained model on one split of a data set.

    Args:
        run: The run folder, a model folder, or the name of a shipped model.
        data: The data set; None is the run's own.
        root: Folder of its files; None is the run's own.
        split: ``train``, ``validation`` or ``test``.
        sets: The three splits, of a run whose clouds came from memory, or others like them; see
            `ddeq_models.train`.
        batch_size: Clouds in a batch; no figure depends on it.
        solver: Other choices than the run's for some of ``velocity`` and ``integrator``; see
            `DDEQConfig`.
        step: The integrator's step; None is the run's.
        rtol: Relative tolerance of the solver; None is the run's.
        max_steps: Its budget of evaluations; None is the run's.
        device: See `choose_device`.

    Returns:
        The figures of the run's `Task`; data, split, task, seconds, classes, and, of a
        classification, confusion (rows: true classes).

    Raises:
        UserError: The run folder, the data or the device cannot be used; or the files of the run's
            own data were changed, and chance drew the split: see `check_unchanged`.
        DataError: The files of the data are missing or damaged.
    """
    check_split(split)
    place = choose_device(device)
    folder = open_model(run)
    config = folder.config()
    model = folder.model(place)
    _solve_otherwise(
        model,
        config.model.kind,
        {**(solver or {}), "step": step, "rtol": rtol, "max_steps": max_steps},
    )
    if batch_size < 1:
        raise UserError(f"batch size must be at least 1, got {batch_size}")
    if sets is None:
        if data in (None, config.data.name):
            dataset = open_clouds(folder, split, root)
        else:
            another = replace(config.data, name=data, root=root, columns=(), features=())
            dataset = open_split(another, split)
    elif data is not None or root is not None:
        raise UserError("the clouds were given twice; leave sets out, or data and root")
    else:
        dataset = sets_of(sets, config.data.target, config.classes)[SPLITS.index(split)]
    check_fit(dataset, config.model.point_dim, config.classes, config.data.target)
    loader, _ = batches(dataset, batch_size)
    start = time.perf_counter()
    task = build_task(config)
    calibration = read_calibration(folder.path, len(config.classes))
    if isinstance(task, Classification) and calibration is not None:
        task.temperature = float(calibration.temperature)
    columns = measure(task, model, loader, place, thorough=True).columns()
    return {
        "data": ARRAYS if sets is not None else data or config.data.name,
        "split": split,
        "task": config.task.kind,
        **forward_only(to_json(task.figures(columns))),
        "seconds": round(time.perf_counter() - start, 3),
        "classes": list(config.classes),
        **task.result(columns),
    }


def _solve_otherwise(
    model: nn.Module, kind: str, settings: Mapping[str, str | float | None]
) -> None:
    """Change the solver's settings that are not None."""
    given = {name: value for name, value in settings.items() if value is not None}
    if not given:
        return
    own = SolverConfig.__annotations__
    known = [setting.name for setting in fields(SolverConfig) if setting.name in own]
    if unknown := [name for name in given if name not in known]:
        raise UserError(
            f"the solver has no {', '.join(map(str, unknown))}; there are {', '.join(known)}"
        )
    if not hasattr(model, "configure"):
        raise UserError(f"the model {kind} solves nothing; leave {' and '.join(given)} out")
    try:
        model.configure(replace(model.config, **given))  # type: ignore[operator, type-var]
    except ValueError as error:
        raise UserError(str(error)) from error
