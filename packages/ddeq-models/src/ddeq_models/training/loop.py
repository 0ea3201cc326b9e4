"""The training loop."""

import sys
import warnings
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from ddeq_data import CloudDataset
from ddeq_models.config import RunConfig, TrainConfig
from ddeq_models.data import batches, generator_of, view
from ddeq_models.distributed import Ranks
from ddeq_models.errors import Diverged
from ddeq_models.measuring.measure import EVALUATION_BATCH, measure
from ddeq_models.models.base import build_model
from ddeq_models.models.direct import direct_of
from ddeq_models.models.frozen import freeze
from ddeq_models.runs.folder import RunFolder
from ddeq_models.tasks.base import Task
from ddeq_models.tasks.tally import Figures, Tally, to_json
from ddeq_models.training.checkpoints import Manner, Saver, Stop
from ddeq_models.training.feeding import Feed
from ddeq_models.training.forecast import announce, fit_to_data, seconds_a_step, shortened
from ddeq_models.training.opinion import take_opinion
from ddeq_models.training.optimiser import learning_rate
from ddeq_models.training.progress import Pace, Progress
from ddeq_models.training.state import State
from ddeq_models.training.statistics import take_statistics
from ddeq_models.training.step import optimise
from wgf_solver import AdjointWarning

RECORD_EVERY = 50  # steps between two records of the training, about: each epoch is cut evenly
VALIDATIONS = 25  # of a training, about: of few clouds an epoch takes little more than measuring it


def fit(
    task: Task,
    train_set: CloudDataset,
    validation_set: CloudDataset,
    run: RunFolder,
    ranks: Ranks,
    manner: Manner,
    *,
    odds: Tensor | None = None,
    start: Mapping[str, Tensor] | None = None,
) -> State:
    """The training loop, from where the run folder's checkpoint is, if it has one.

    Everything random in a step is drawn from (seed, step), the batches of an epoch from (seed,
    epoch); the learning rate is a function of the step, the solver's settings of the epoch.

    Args:
        task: What the model is trained for.
        train_set: The clouds to train on.
        validation_set: The clouds that are measured in its course.
        run: Where weights, records and checkpoints go.
        ranks: The processes.
        manner: What changes no result.
        odds: How often each training cloud is drawn; see `ddeq_data.SizeBuckets`. None: each once
            an epoch.
        start: The weights to begin with, by their names in the model; those that are left out, the
            head's perhaps, begin by chance. None: all by chance, and what the model takes from the
            clouds by its method ``fit``.

    Returns:
        The state at the end; the weights that are kept are in the run folder.
    """
    config, plan, device = task.config, task.config.train, ranks.device
    feed = Feed(task, train_set, ranks, odds=odds, workers=manner.workers)
    validation_loader, _ = batches(validation_set, EVALUATION_BATCH)
    length = len(feed)
    records = max(1, round(length / RECORD_EVERY))
    ends = {length * (i + 1) // records for i in range(records)}
    quiet = manner.quiet or ranks.rank > 0
    seen = view(config.data)

    with (
        warnings.catch_warnings(),
        torch.random.fork_rng([device] if device.type == "cuda" else []),
        Stop() as stop,
    ):
        warnings.simplefilter("ignore", AdjointWarning)  # these failures are counted
        torch.manual_seed(plan.seed)
        model = build_model(config.model).to(device)
        if start is not None:
            model.load_state_dict({**model.state_dict(), **start})
            if (direct := direct_of(model)) is not None:
                direct.forget()  # what it knows is of other clouds
        elif not plan.init:  # or it goes on with weights that were fitted to other clouds
            decided = fit_to_data(task, model, train_set, seen, device)
            if decided and not quiet:
                print(decided, file=sys.stderr, flush=True)
        frozen = freeze(model, plan.freeze)
        state = State(model, plan)
        saver = Saver(run, ranks, state, stop, manner)
        run.write_root(config.data.root)  # now that it holds the clouds of the checkpoint
        if manner.compile:
            state.called = torch.compile(model)  # type: ignore[assignment]

        if not state.epochs:  # it begins
            state.epochs = plan.epochs
            if plan.max_minutes or not manner.quiet:
                trial = seconds_a_step(task, model, feed.epoch(1), ranks)
                state.epochs = ranks.of_first(shortened(plan, length, trial))
                if not quiet:
                    announce(plan, state.epochs, length, trial)
        plan = replace(plan, epochs=state.epochs)
        steps, every = plan.epochs * length, max(1, plan.epochs // VALIDATIONS)
        if plan.patience:  # which an epoch without a validation must not exhaust
            every = min(every, plan.patience)
        if config.data.learn_from != "train":
            every = plan.epochs  # what is no validation is measured once
        with Progress(task, plan.epochs, steps, quiet, done=state.step) as progress:
            for epoch in range(state.step // length + 1, plan.epochs + 1):
                if stalled(plan, state, epoch):
                    break
                _configure(config, epoch, model, state.average.model)
                model.train()
                for module in frozen:
                    module.eval()
                pace, paced = Pace(model), state.step
                done = state.step % length
                for position, prepared in enumerate(feed.epoch(epoch, done), start=done + 1):
                    seed = generator_of(plan.seed, state.step).initial_seed()
                    torch.manual_seed(seed + ranks.rank)
                    rate = learning_rate(plan, state.step, steps)
                    optimise(task, state, prepared, rate, ranks)
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

                over = epoch == plan.epochs or ranks.any(late(plan, state))[0]
                if over or epoch % every == 0:
                    take_statistics(task, state.average.model, model, train_set, seen, device)
                    tally = measure(
                        task, state.average.model, validation_loader, device, ranks=ranks
                    )
                    validated = _finite(task, tally, f"validation, epoch {epoch}", run)
                    _keep(task, state, validated, epoch, run)
                    at = {**at, "seconds": state.seconds, "kept": state.kept_epoch == epoch}
                    run.append({"split": "validation", **at, **to_json(validated)})
                    progress.epoch(epoch, trained, validated)
                if over:
                    state.epochs = epoch  # also for who goes on from here
                saver.save_if_due()
                if over:
                    break
            saver.save()
        share = take_opinion(task, run, train_set, validation_set, ranks, odds)
        if share is not None:  # in what is kept, which is no longer what was validated
            tally = measure(task, run.model(device), validation_loader, device, ranks=ranks)
            state.kept = _finite(task, tally, "validation", run)
            if not quiet:
                print(
                    f"moments and quantiles alone have a share of {share:.0%} in the answer",
                    file=sys.stderr,
                    flush=True,
                )
    return state


def stalled(plan: TrainConfig, state: State, epoch: int) -> bool:
    """Whether no validation of the last `patience` epochs before this one was the best so far."""
    return bool(plan.patience) and epoch - 1 - state.best_epoch >= plan.patience


def late(plan: TrainConfig, state: State) -> bool:
    """Whether the time that the training may take is over."""
    return 0 < 60 * plan.max_minutes <= state.seconds


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
