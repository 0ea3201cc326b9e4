"""The training of a model, from the data to the finished run folder; the loop is `fit`."""

import platform
import time
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch.nn.utils import clip_grad_norm_

from ddeq_data import CloudDataset
from ddeq_models.classification import ClassificationConfig
from ddeq_models.config import DataConfig, RunConfig, TrainConfig
from ddeq_models.data import (
    SPLITS,
    augmentation,
    batches,
    generator_of,
    normaliser,
    open_split,
)
from ddeq_models.device import choose_device
from ddeq_models.errors import Diverged, Interrupted
from ddeq_models.evaluation import EVALUATION_BATCH, forward_only, measure
from ddeq_models.metrics import SOLVER_FIGURES, Figures, Tally, to_json
from ddeq_models.model import ModelConfig
from ddeq_models.optimisation import Average, build_optimiser, learning_rate
from ddeq_models.progress import Progress
from ddeq_models.registry import build_model, build_task
from ddeq_models.run_folder import WEIGHTS, RunFolder, check_out
from ddeq_models.task import Task, TaskConfig
from wgf_solver import AdjointWarning

RECORD_EVERY = 50  # steps between two records of the training, about: each epoch is cut evenly


def train(
    model: ModelConfig,
    data: DataConfig,
    training: TrainConfig,
    *,
    task: TaskConfig | None = None,
    preset: str = "custom",
    out: str | Path | None = None,
    device: str = "auto",
    quiet: bool = False,
) -> RunFolder:
    """Train a model, measure it on the test clouds, and leave a run folder with pictures.

    The same arguments give the same run on the same machine and number of threads. The state of
    PyTorch's own random numbers is afterwards what it was before.

    Args:
        model: The model; `point_dim` and `classes` are taken from the data.
        data: The clouds, their normalisation and augmentation.
        training: The training.
        task: What the model is trained for; None is classification.
        preset: Name under which the model goes in the run's files.
        out: The run folder, which must be empty or not exist; None is
            ``runs/<date>-<data>-<preset>``.
        device: See `choose_device`.
        quiet: Show no progress.

    Returns:
        The run folder.

    Raises:
        UserError: The run folder, the data or the device cannot be used; nothing was written.
        DataError: The files of the data are missing or damaged; nothing was written.
        Diverged: A loss is not finite.
        Interrupted: Ctrl-C; the run folder keeps what is complete.
    """
    start = time.perf_counter()
    place = choose_device(device)
    if out is not None:
        check_out(Path(out))
    train_set, validation_set, test_set = (open_split(data, split) for split in SPLITS)
    config = RunConfig(
        preset=preset,
        classes=tuple(train_set.classes),
        data=data,
        model=model.for_data(train_set.dim, len(train_set.classes)),
        train=training,
        version=version("ddeq-models"),
        task=task or ClassificationConfig(),
    )
    job = build_task(config)
    run = RunFolder.create(out, config)
    try:
        validated, epoch = fit(job, train_set, validation_set, run, place, quiet)
        trained = run.model(place)  # what is measured is what was saved
        loader, _ = batches(test_set, EVALUATION_BATCH)
        columns = measure(job, trained, loader, place, thorough=True).columns()
        parameters = sum(p.numel() for p in trained.parameters())
        run.write_result(
            {
                "data": data.name,
                "preset": preset,
                "seed": training.seed,
                "parameters": parameters,
                "seconds": round(time.perf_counter() - start, 3),
                "epoch": epoch,
                **_named(to_json(validated), "validation", solver=False),
                **_named(to_json(job.figures(columns)), "test", solver=True),
                **job.result(columns),
                "device": str(place),
                "threads": torch.get_num_threads(),
                "versions": _versions(),
            }
        )
        job.draw(run, trained, test_set, columns, place)
    except KeyboardInterrupt:
        raise Interrupted(_interrupted(run)) from None
    return run


def fit(
    task: Task,
    train_set: CloudDataset,
    validation_set: CloudDataset,
    run: RunFolder,
    device: torch.device,
    quiet: bool = False,
) -> tuple[Figures, int]:
    """The training loop.

    Everything random in a step is drawn from (seed, step), the batches of an epoch from (seed,
    epoch), and the learning rate is a function of the step.

    Returns:
        The validation figures and the number of the epoch whose weights are in the run folder.
    """
    config, plan = task.config, task.config.train
    normalise, augment = normaliser(config.data.normalise), augmentation(config.data)
    loader, sampler = batches(
        train_set, plan.batch_size, seed=plan.seed, pin_memory=device.type == "cuda"
    )
    validation_loader, _ = batches(validation_set, EVALUATION_BATCH)
    steps, step, kept, kept_epoch = plan.epochs * len(loader), 0, None, 0
    records = max(1, round(len(loader) / RECORD_EVERY))
    ends = {len(loader) * (i + 1) // records for i in range(records)}
    start = time.perf_counter()

    with (
        warnings.catch_warnings(),
        torch.random.fork_rng([device] if device.type == "cuda" else []),
        Progress(task, plan.epochs, steps, quiet) as progress,
    ):
        warnings.simplefilter("ignore", AdjointWarning)  # these failures are counted
        torch.manual_seed(plan.seed)
        model = build_model(config.model).to(device)
        optimiser, average = build_optimiser(model, plan), Average(model, plan.ema)

        for epoch in range(1, plan.epochs + 1):
            sampler.set_epoch(epoch)
            model.train()
            tally = Tally()
            for position, batch in enumerate(loader, start=1):
                generator = generator_of(plan.seed, step)
                torch.manual_seed(generator.initial_seed())
                rate = learning_rate(plan, step, steps)
                for group in optimiser.param_groups:
                    group["lr"] = rate

                batch = batch.to(device, non_blocking=True).map(normalise).map(augment, generator)
                inputs = task.prepare(batch, generator)
                answer = task.answer(model, inputs)
                task.loss(answer, inputs).backward()  # type: ignore[no-untyped-call]
                if plan.clip_norm:
                    clip_grad_norm_(model.parameters(), plan.clip_norm)
                optimiser.step()
                optimiser.zero_grad()
                average.update(model)

                step += 1
                tally.add(task.records(answer, inputs))
                progress.step(epoch, tally)
                if position in ends:
                    trained = _finite(task, tally, f"training, step {step}", run)
                    seconds = round(time.perf_counter() - start, 3)
                    at = {"epoch": epoch, "step": step, "seconds": seconds, "learning_rate": rate}
                    run.append({"split": "train", **at, **to_json(trained)})
                    tally = Tally()

            tally = measure(task, average.model, validation_loader, device)
            validated = _finite(task, tally, f"validation, epoch {epoch}", run)
            run.append({"split": "validation", **at, **to_json(validated)})
            progress.epoch(epoch, trained, validated)
            if plan.keep == "last" or kept is None or _better(task, validated, kept):
                kept, kept_epoch = validated, epoch
                run.write_weights(average.model.state_dict())

    assert kept is not None  # there is at least one epoch
    return kept, kept_epoch


def _finite(task: Task, tally: Tally, when: str, run: RunFolder) -> Figures:
    if not tally.finite():
        raise Diverged(
            f"the loss is not finite ({when}); {run.path} keeps what was complete before. "
            "Try a smaller --learning-rate"
        )
    return task.figures(tally.columns())


def _better(task: Task, new: Figures, old: Figures) -> bool:
    return task.objective(new) > task.objective(old)


def _interrupted(run: RunFolder) -> str:
    if (run.path / WEIGHTS).is_file():
        return f"stopped; the last complete model is in {run.path}: ddeq evaluate {run.path}"
    return f"stopped before the first epoch ended; {run.path} holds no model and can be removed"


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
