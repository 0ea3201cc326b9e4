"""The training of a model, from the data to the finished run folder; its loop is in `loop`."""

import platform
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ddeq_data import CloudDataset
from ddeq_models.config import DataConfig, RunConfig, TrainConfig, passes
from ddeq_models.data import (
    SPLITS,
    batches,
    check_fit,
    framed,
    normaliser,
)
from ddeq_models.data.arrays import Sets, open_sets
from ddeq_models.data.presence import warn_of_absent
from ddeq_models.distributed import Ranks, join_ranks
from ddeq_models.errors import Interrupted
from ddeq_models.measuring.calibrate import calibration_of
from ddeq_models.measuring.measure import EVALUATION_BATCH, forward_only, measure
from ddeq_models.models.base import ModelConfig
from ddeq_models.models.direct import direct_of
from ddeq_models.registry import TASKS
from ddeq_models.report.drawing import draw_if_possible
from ddeq_models.runs.calibration import write_calibration
from ddeq_models.runs.clouds import fingerprints
from ddeq_models.runs.folder import CHECKPOINT, RunFolder, check_out
from ddeq_models.runs.identity import identity
from ddeq_models.runs.places import how_to_go_on
from ddeq_models.runs.start import starting_weights
from ddeq_models.tasks.base import Task, TaskConfig, build_task
from ddeq_models.tasks.classification import Classification
from ddeq_models.tasks.tally import SOLVER_FIGURES, to_json
from ddeq_models.training.board import check_board
from ddeq_models.training.checkpoints import Manner
from ddeq_models.training.forecast import introduce
from ddeq_models.training.loop import fit
from ddeq_models.training.rehearsal import rehearse


def train(
    model: ModelConfig,
    data: DataConfig | Sets,
    training: TrainConfig,
    *,
    sets: Sets | None = None,
    task: TaskConfig | None = None,
    preset: str = "custom",
    out: str | Path | None = None,
    resume: bool = False,
    device: str = "auto",
    quiet: bool = False,
    checkpoint_every: float = 30.0,
    tensorboard: bool = False,
    compile: bool = False,
    workers: int = 0,
) -> RunFolder:
    """Train a model, measure it on the test clouds, and leave a run folder with pictures.

    The same arguments give the same run on the same machine and number of threads, also if it is
    stopped, killed and resumed; with `max_minutes` the clock has a say in it. The state of
    PyTorch's own random numbers is afterwards what it was before.

    Args:
        model: The model; `point_dim` and `classes` are taken from the data.
        data: The clouds, their normalisation and augmentation. Or clouds in memory, as three data
            sets (train, validation, test): each a `ddeq_data.CloudDataset` or any data set of
            PyTorch whose items are (points, label) or (points, weights, label). They are
            normalised and varied as the recipe of `ddeq` says of a folder. For a regression the
            label is a number, or several; for a segmentation one for each point, (n,).
        training: The training.
        sets: The clouds in memory, where `data` is a ``DataConfig("arrays", ...)`` that says how
            they are normalised and varied.
        task: What the model is trained for; None: what it is made for.
        preset: Name under which the model goes in the run's files.
        out: The run folder, which must be empty or not exist; None is
            ``runs/<date>-<data>-<preset>``.
        resume: Go on with the run that `out` holds, which must be of the same configuration and
            clouds, wherever these are now; start anew where it holds nothing.
        device: See `choose_device`.
        quiet: Show no progress.
        checkpoint_every: Seconds between two checkpoints; a crash costs at most that much work.
        tensorboard: Write the records for TensorBoard as well, into the run folder.
        compile: Ask `torch.compile` for the passes of the training; it needs a C++ compiler, and
            rounds otherwise than PyTorch does without it.
        workers: Processes that prepare the clouds ahead of time; 0: none but this one. On a
            processor the run is the same to the bit.

    Returns:
        The run folder.

    Raises:
        UserError: The run folder, the data or the device cannot be used; nothing was written.
        DataError: The files of the data are missing or damaged; nothing was written.
        Diverged: A loss is not finite.
        Interrupted: Ctrl-C or SIGTERM; the state is saved, and the error says how to go on.
    """
    manner = Manner(quiet, checkpoint_every, tensorboard, compile, workers)
    if tensorboard:
        check_board()
    with join_ranks(device) as ranks:

        def prepare() -> tuple[list[CloudDataset], RunConfig, Task]:
            if out is not None and ranks.rank == 0 and not (resume and RunFolder(out).holds_run()):
                check_out(Path(out))
            wanted = task or TASKS[model.task][0]()
            clouds, found = open_sets(data, sets, wanted)
            classes = tuple(found[0].classes)
            config = RunConfig(
                preset=preset,
                classes=classes,
                data=framed(clouds, found[0]),
                model=model.for_data(found[0].dim, len(classes), found[0].coordinates),
                train=passes(training, len(found[0])),
                version=version("ddeq-models"),
                task=wanted.for_data(found[0]),
            )
            job = build_task(config)
            job.check(dict(zip(SPLITS, found, strict=True)))
            rehearse(job, found[0])
            if config.train.init:
                starting_weights(config)  # what does not fit shall be said before a folder is made
            return found, config, job

        found, config, job = ranks.together(prepare)
        if ranks.count > 1:  # before anything is written
            ranks.same(identity(config, found))
        path = ranks.together(
            lambda: RunFolder.create(out, config, resume=resume).path if ranks.rank == 0 else None
        )
        folder = RunFolder(ranks.of_first(path), writes=ranks.rank == 0)
        return _complete(job, found, folder, ranks, manner)


def resume_run(
    run: str | Path,
    *,
    root: str | None = None,
    sets: Sets | None = None,
    device: str = "auto",
    quiet: bool = False,
    checkpoint_every: float = 30.0,
    tensorboard: bool = False,
    compile: bool = False,
    workers: int = 0,
) -> RunFolder:
    """Go on with a run that was stopped or killed; return at once if it is complete.

    Args:
        run: The run folder, which says itself what is to be done.
        root: Where the folder of the data is now, if it was moved; None: where it was.
        sets: The clouds once more, of a run whose clouds came from memory.
        device: See `choose_device`.
        quiet: Show no progress.
        checkpoint_every: See `train`.
        tensorboard: See `train`.
        compile: See `train`.
        workers: See `train`.

    Returns:
        The run folder.

    Raises:
        UserError: There is no such run, or its data are not what they were.
        DataError: The files of the data are missing or damaged.
        Diverged: A loss is not finite.
        Interrupted: As in `train`.
    """
    manner = Manner(quiet, checkpoint_every, tensorboard, compile, workers)
    if tensorboard:
        check_board()
    with join_ranks(device) as ranks:
        folder = RunFolder(run, writes=ranks.rank == 0)

        def prepare() -> tuple[list[CloudDataset], Task]:
            config = folder.config()
            if root is not None:
                config = replace(config, data=replace(config.data, root=root))
            _, found = open_sets(config.data, sets, config.task)
            check_fit(found[0], config.model.point_dim, config.classes, config.data.target)
            job = build_task(config)
            rehearse(job, found[0])
            return found, job

        found, job = ranks.together(prepare)
        return _complete(job, found, folder, ranks, manner)


def _complete(
    task: Task, sets: Sequence[CloudDataset], run: RunFolder, ranks: Ranks, manner: Manner
) -> RunFolder:
    """What is still to be done of a run: the training, the test, the pictures."""
    if ranks.any(run.is_complete())[0]:
        return run
    run.identity = identity(task.config, sets)
    ranks.same(run.identity)
    ranks.together(run.claim)
    config, (train_set, validation_set, test_set) = task.config, sets
    named: dict[str, CloudDataset] = dict(zip(SPLITS, sets, strict=True))
    if ranks.rank == 0:
        warn_of_absent(named)
        if not manner.quiet:
            introduce(config.data, named)
    try:
        begun = (run.path / CHECKPOINT).exists() or not config.train.init
        start = None if begun else ranks.together(lambda: starting_weights(config))
        state = fit(task, train_set, validation_set, run, ranks, manner, start=start)
        trained = run.model(ranks.device)  # what is measured is what was saved
        direct = direct_of(trained)
        temperature = ranks.of_first(
            ranks.together(lambda: _calibrated(task, trained, sets, run, ranks))
        )
        if isinstance(task, Classification) and temperature is not None:
            task.temperature = temperature
        loader, _ = batches(test_set, EVALUATION_BATCH)
        columns = measure(task, trained, loader, ranks.device, ranks=ranks, thorough=True).columns()
        if ranks.rank == 0:
            seconds, held = state.seconds, config.data.learn_from == "train"
            draw_if_possible(task, run, trained, test_set, columns, ranks.device)
            run.write_result(
                {
                    "task": config.task.kind,
                    "data": config.data.name,
                    "clouds": fingerprints(config.data, run.identity["data"]),
                    "preset": config.preset,
                    "seed": config.train.seed,
                    "parameters": sum(p.numel() for p in trained.parameters()),
                    "seconds": seconds,
                    "epoch": state.kept_epoch,
                    **(_named(to_json(state.kept), "validation", solver=False) if held else {}),
                    **_named(to_json(task.figures(columns)), "test", solver=True),
                    **({} if temperature is None else {"temperature": temperature}),
                    **({} if direct is None else {"direct_share": direct.share()}),
                    **task.result(columns),
                    **task.aside(named, normaliser(config.data), state.kept, run.metrics()),
                    "device": str(ranks.device),
                    "processes": ranks.count,
                    "threads": torch.get_num_threads(),
                    "versions": _versions(),
                }
            )
            (run.path / CHECKPOINT).unlink(missing_ok=True)
    except KeyboardInterrupt:
        raise Interrupted(f"stopped; {how_to_go_on(run.path, config.data.name)}") from None
    finally:
        run.release()
    return run


def _calibrated(
    task: Task, model: nn.Module, sets: Sequence[CloudDataset], run: RunFolder, ranks: Ranks
) -> float | None:
    """The temperature of a trained model, whose calibration is written; None if there is none."""
    if ranks.rank:
        return None
    found = calibration_of(task, model, sets[0], sets[1], ranks.device)
    if found is None:
        return None
    write_calibration(run.path, found)
    return float(found.temperature)


def _named(figures: dict[str, float | None], split: str, *, solver: bool) -> dict[str, Any]:
    """Figures as ``result.json`` names them; those of the solver, if wanted, without a split."""
    return {
        name if name in SOLVER_FIGURES else f"{split}_{name}": value
        for name, value in forward_only(figures).items()
        if solver or name not in SOLVER_FIGURES
    }


def _versions() -> dict[str, Any]:
    packages = ("ddeq-models", "ddeq-data", "set-attention", "wgf-solver", "torch")
    return {"python": platform.python_version(), **{name: version(name) for name in packages}}
