"""The training of a model, from the data to the finished run folder; the loop is `fit`."""

import platform
import shlex
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.utils import clip_grad_norm_

from ddeq_data import CloudDataset
from ddeq_models.board import Board, check_board
from ddeq_models.classification import ClassificationConfig
from ddeq_models.config import DataConfig, RunConfig, TrainConfig
from ddeq_models.data import (
    SPLITS,
    augmentation,
    batches,
    check_fit,
    generator_of,
    normaliser,
    open_split,
)
from ddeq_models.errors import Diverged, Interrupted
from ddeq_models.evaluation import EVALUATION_BATCH, forward_only, measure
from ddeq_models.metrics import SOLVER_FIGURES, Figures, Tally, to_json
from ddeq_models.model import ModelConfig
from ddeq_models.optimisation import learning_rate
from ddeq_models.pace import Pace
from ddeq_models.progress import Progress
from ddeq_models.ranks import Ranks, join_ranks
from ddeq_models.registry import build_model, build_task
from ddeq_models.run_folder import CHECKPOINT, RunFolder, check_out
from ddeq_models.solver import build_solver
from ddeq_models.state import State
from ddeq_models.stop import Stop
from ddeq_models.task import Task, TaskConfig
from wgf_solver import AdjointWarning

RECORD_EVERY = 50  # steps between two records of the training, about: each epoch is cut evenly


@dataclass(frozen=True)
class Manner:
    """What of a training changes no result.

    Attributes:
        quiet: Show no progress.
        checkpoint_every: Seconds between two checkpoints; a crash costs at most that much work.
        tensorboard: Whether the records also go to TensorBoard, into the run folder.
    """

    quiet: bool = False
    checkpoint_every: float = 30.0
    tensorboard: bool = False


def train(
    model: ModelConfig,
    data: DataConfig,
    training: TrainConfig,
    *,
    task: TaskConfig | None = None,
    preset: str = "custom",
    out: str | Path | None = None,
    resume: bool = False,
    device: str = "auto",
    quiet: bool = False,
    checkpoint_every: float = 30.0,
    tensorboard: bool = False,
) -> RunFolder:
    """Train a model, measure it on the test clouds, and leave a run folder with pictures.

    The same arguments give the same run on the same machine and number of threads, also if it is
    stopped, killed and resumed. The state of PyTorch's own random numbers is afterwards what it
    was before.

    Args:
        model: The model; `point_dim` and `classes` are taken from the data.
        data: The clouds, their normalisation and augmentation.
        training: The training.
        task: What the model is trained for; None is classification.
        preset: Name under which the model goes in the run's files.
        out: The run folder, which must be empty or not exist; None is
            ``runs/<date>-<data>-<preset>``.
        resume: Go on with the run that `out` holds, which must be of the same configuration;
            start anew where it holds nothing.
        device: See `choose_device`.
        quiet: Show no progress.
        checkpoint_every: Seconds between two checkpoints; a crash costs at most that much work.
        tensorboard: Write the records for TensorBoard as well, into the run folder.

    Returns:
        The run folder.

    Raises:
        UserError: The run folder, the data or the device cannot be used; nothing was written.
        DataError: The files of the data are missing or damaged; nothing was written.
        Diverged: A loss is not finite.
        Interrupted: Ctrl-C or SIGTERM; the state is saved, and the error says how to go on.
    """
    if tensorboard:
        check_board()
    with join_ranks(device) as ranks:
        if out is not None and ranks.rank == 0 and not (resume and RunFolder(out).holds_run()):
            check_out(Path(out))
        sets = [open_split(data, split) for split in SPLITS]
        classes = tuple(sets[0].classes)
        config = RunConfig(
            preset=preset,
            classes=classes,
            data=data,
            model=model.for_data(sets[0].dim, len(classes)),
            train=training,
            version=version("ddeq-models"),
            task=task or ClassificationConfig(),
        )
        _check_solver(config)
        job = build_task(config)
        path = RunFolder.create(out, config, resume=resume).path if ranks.rank == 0 else None
        folder = RunFolder(ranks.of_first(path), writes=ranks.rank == 0)
        return _complete(job, sets, folder, ranks, Manner(quiet, checkpoint_every, tensorboard))


def resume_run(
    run: str | Path,
    *,
    device: str = "auto",
    quiet: bool = False,
    checkpoint_every: float = 30.0,
    tensorboard: bool = False,
) -> RunFolder:
    """Go on with a run that was stopped or killed; return at once if it is complete.

    Args:
        run: The run folder, which says itself what is to be done.
        device: See `choose_device`.
        quiet: Show no progress.
        checkpoint_every: See `train`.
        tensorboard: See `train`.

    Returns:
        The run folder.

    Raises:
        UserError: There is no such run, or its data are not what they were.
        DataError: The files of the data are missing or damaged.
        Diverged: A loss is not finite.
        Interrupted: As in `train`.
    """
    if tensorboard:
        check_board()
    with join_ranks(device) as ranks:
        folder = RunFolder(run, writes=ranks.rank == 0)
        config = folder.config()
        job = build_task(config)
        sets = [open_split(config.data, split) for split in SPLITS]
        check_fit(sets[0], config.model.point_dim, config.classes)
        return _complete(job, sets, folder, ranks, Manner(quiet, checkpoint_every, tensorboard))


def _complete(
    task: Task, sets: Sequence[CloudDataset], run: RunFolder, ranks: Ranks, manner: Manner
) -> RunFolder:
    """What is still to be done of a run: the training, the test, the pictures."""
    if run.is_complete():
        return run
    config, (train_set, validation_set, test_set) = task.config, sets
    try:
        state = fit(task, train_set, validation_set, run, ranks, manner)
        trained = run.model(ranks.device)  # what is measured is what was saved
        loader, _ = batches(test_set, EVALUATION_BATCH)
        columns = measure(task, trained, loader, ranks.device, ranks=ranks, thorough=True).columns()
        if ranks.rank == 0:
            seconds = state.seconds
            task.draw(run, trained, test_set, columns, ranks.device)
            run.write_result(
                {
                    "task": config.task.kind,
                    "data": config.data.name,
                    "preset": config.preset,
                    "seed": config.train.seed,
                    "parameters": sum(p.numel() for p in trained.parameters()),
                    "seconds": seconds,
                    "epoch": state.kept_epoch,
                    **_named(to_json(state.kept), "validation", solver=False),
                    **_named(to_json(task.figures(columns)), "test", solver=True),
                    **task.result(columns),
                    "device": str(ranks.device),
                    "processes": ranks.count,
                    "threads": torch.get_num_threads(),
                    "versions": _versions(),
                }
            )
            (run.path / CHECKPOINT).unlink(missing_ok=True)
    except KeyboardInterrupt:
        raise Interrupted(_how_to_go_on("stopped", run)) from None
    return run


def fit(
    task: Task,
    train_set: CloudDataset,
    validation_set: CloudDataset,
    run: RunFolder,
    ranks: Ranks,
    manner: Manner,
) -> State:
    """The training loop, from where the run folder's checkpoint is, if it has one.

    Everything random in a step is drawn from (seed, step), the batches of an epoch from (seed,
    epoch); the learning rate is a function of the step, the solver's settings of the epoch.

    Returns:
        The state at the end; the weights that are kept are in the run folder.
    """
    config, plan, device = task.config, task.config.train, ranks.device
    normalise, augment = normaliser(config.data.normalise), augmentation(config.data)
    loader, sampler = batches(
        train_set, plan.batch_size, seed=plan.seed, pin_memory=device.type == "cuda"
    )
    validation_loader, _ = batches(validation_set, EVALUATION_BATCH)
    length = len(loader)
    steps = plan.epochs * length
    records = max(1, round(length / RECORD_EVERY))
    ends = {length * (i + 1) // records for i in range(records)}
    quiet = manner.quiet or ranks.rank > 0

    with (
        warnings.catch_warnings(),
        torch.random.fork_rng([device] if device.type == "cuda" else []),
        Stop() as stop,
    ):
        warnings.simplefilter("ignore", AdjointWarning)  # these failures are counted
        torch.manual_seed(plan.seed)
        model = build_model(config.model).to(device)
        state = State(model, plan)
        saver = Saver(run, ranks, state, stop, manner)
        with Progress(task, plan.epochs, steps, quiet, done=state.step) as progress:
            for epoch in range(state.step // length + 1, plan.epochs + 1):
                if stalled(plan, state, epoch):
                    break
                _configure(config, epoch, model, state.average.model)
                sampler.load_state_dict(
                    {"seed": plan.seed, "epoch": epoch, "position": state.step % length}
                )
                model.train()
                pace, paced = Pace(model), state.step
                for position, batch in enumerate(loader, start=state.step % length + 1):
                    generator = generator_of(plan.seed, state.step)
                    torch.manual_seed(generator.initial_seed() + ranks.rank)
                    rate = learning_rate(plan, state.step, steps)
                    batch = batch.to(device, non_blocking=True).map(normalise)
                    inputs = task.prepare(batch.map(augment, generator), generator)
                    optimise(task, state, inputs, rate, ranks)
                    progress.step(epoch, state.tally)
                    if position in ends:
                        tally = ranks.gather(state.tally)
                        trained = _finite(task, tally, f"training, step {state.step}", run)
                        at = {"epoch": epoch, "step": state.step, "seconds": state.seconds}
                        at["learning_rate"] = rate
                        times, paced = pace.look(state.step - paced), state.step
                        run.append({"split": "train", **at, **times, **to_json(trained)})
                        state.tally = Tally()
                    if position < length:
                        saver.save_if_due()

                tally = measure(task, state.average.model, validation_loader, device, ranks=ranks)
                validated = _finite(task, tally, f"validation, epoch {epoch}", run)
                _keep(task, state, validated, epoch, run)
                at = {**at, "seconds": state.seconds, "kept": state.kept_epoch == epoch}
                run.append({"split": "validation", **at, **to_json(validated)})
                progress.epoch(epoch, trained, validated)
                saver.save_if_due()
            saver.save()
    return state


def optimise(task: Task, state: State, inputs: Any, rate: float, ranks: Ranks) -> None:
    """One step, recorded in the state.

    Args:
        task: What the loss is.
        state: The model and all that changes with it.
        inputs: What the task prepared, of the whole batch.
        rate: Learning rate.
        ranks: The processes that share the batch.
    """
    plan, model, share = task.config.train, state.model, ranks.share(inputs)
    if len(share[0]):  # with fewer clouds than processes some have none
        bf16 = plan.precision == "bf16"
        with torch.autocast(ranks.device.type, torch.bfloat16, enabled=bf16):
            answer = task.answer(model, share)
            loss = task.loss(answer, share)
        if ranks.count > 1:
            loss = loss * (len(share[0]) / len(inputs[0]))
        loss.backward()  # type: ignore[no-untyped-call]
        state.tally.add(task.records(answer, share))
    ranks.add_gradients(model)
    if plan.clip_norm:
        clip_grad_norm_(model.parameters(), plan.clip_norm)
    for group in state.optimiser.param_groups:
        group["lr"] = rate
    state.optimiser.step()
    state.optimiser.zero_grad()
    ranks.same_buffers(model)
    state.average.update(model)
    state.step += 1


class Saver:
    """Keeps the state in the run folder, and says when to stop.

    Args:
        run: The run, whose checkpoint, if there is one, is loaded into the state.
        ranks: The processes; the first one writes.
        state: The state.
        stop: Whether a signal came.
        manner: How often to save.
    """

    def __init__(
        self, run: RunFolder, ranks: Ranks, state: State, stop: Stop, manner: Manner
    ) -> None:
        self.run, self.ranks, self.state, self.stop = run, ranks, state, stop
        self.path, self.every = run.path / CHECKPOINT, manner.checkpoint_every
        size = state.load(self.path, first=ranks.rank == 0) if self.path.is_file() else 0
        if ranks.rank == 0:
            run.clear_leftovers(size)
        if manner.tensorboard and ranks.rank == 0:
            run.listeners.append(Board(run.path, state.step).add)
        self.saved = time.monotonic()

    def save(self) -> None:
        """Write a checkpoint, which replaces the one before."""
        tally = self.ranks.gather(self.state.tally)
        if self.ranks.rank == 0:
            self.state.save(self.path, tally, self.run.sync_metrics())
        self.saved = time.monotonic()

    def save_if_due(self) -> None:
        """After a step: save if it is time to; if a signal came, save and stop.

        Raises:
            Interrupted: A signal came.
        """
        due = self.ranks.rank == 0 and time.monotonic() - self.saved >= self.every
        due, stop = self.ranks.any(due, self.stop.asked)
        if due or stop:
            self.save()
        if stop:
            when = f"stopped after step {self.state.step}, which is saved"
            raise Interrupted(_how_to_go_on(when, self.run), self.stop.code)


def stalled(plan: TrainConfig, state: State, epoch: int) -> bool:
    """Whether no validation of the last `patience` epochs before this one was the best so far."""
    return bool(plan.patience) and epoch - 1 - state.best_epoch >= plan.patience


def _check_solver(config: RunConfig) -> None:
    """An error in the solver's settings or in their phases shall not wait for its epoch."""
    last: Any = config.model_at(config.train.epochs)
    if hasattr(last, "velocity"):
        build_solver(last)


def _configure(config: RunConfig, epoch: int, *models: nn.Module) -> None:
    """Give the models the solver's settings of an epoch."""
    if config.train.solver_phases:
        for model in models:
            model.configure(config.model_at(epoch))  # type: ignore[operator]


def _keep(task: Task, state: State, validated: Figures, epoch: int, run: RunFolder) -> None:
    """Write the weights of the epoch, if they are those to keep."""
    better = not state.best_epoch or task.objective(validated) > task.objective(state.best)
    if better:
        state.best, state.best_epoch = validated, epoch
    if better or task.config.train.keep == "last":
        state.kept, state.kept_epoch = validated, epoch
        run.write_weights(state.average.model.state_dict())


def _finite(task: Task, tally: Tally, when: str, run: RunFolder) -> Figures:
    if not tally.finite():
        raise Diverged(
            f"the loss is not finite ({when}); {run.path} keeps what was complete before. "
            "Try a smaller --learning-rate"
        )
    return task.figures(tally.columns())


def _how_to_go_on(what: str, run: RunFolder) -> str:
    return f"{what}; go on with: ddeq train --resume {shlex.quote(str(run.path))}"


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
