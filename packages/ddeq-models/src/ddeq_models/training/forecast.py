"""What is done before the first step: the model looks at the clouds, and the time is estimated."""

import copy
import math
import statistics
import sys
import time
from collections.abc import Iterable, Mapping
from itertools import islice, pairwise

import torch
from torch import Tensor, nn

from ddeq_data import CloudDataset, Transform
from ddeq_models.config import DataConfig, TrainConfig
from ddeq_models.data import moved
from ddeq_models.distributed import Ranks
from ddeq_models.tasks.base import Task
from ddeq_models.training.feeding import Prepared
from ddeq_models.training.state import State
from ddeq_models.training.step import optimise

CLOUDS = 2048  # as many tell a model's units and quantiles
POINTS = 2**22  # of all of them, padding included
LONG = 600  # seconds, of a training that may be more than somebody wants who only looks
TRIAL = 4  # steps that are timed; the first one, which allocates, does not count


def fit_to_data(
    task: Task,
    model: nn.Module,
    train_set: CloudDataset,
    seen: Transform,
    device: torch.device,
) -> str:
    """Show a model some training clouds, if it wants to see any before the training.

    Args:
        task: Says what the model is told of the clouds.
        model: One with a method ``fit(points, weights, labels)`` takes from them what it likes,
            and may return what that decided, in words.
        train_set: The clouds; of many, some, evenly chosen.
        seen: What is done to every cloud that is measured.
        device: Where the model is.

    Returns:
        What was decided; empty if nothing was.
    """
    if not hasattr(model, "fit") or not len(train_set):
        return ""
    batch = moved(train_set.__getitems__(some_of(train_set).tolist()), device, seen)
    fitted = model.fit(batch.points, batch.weights, task.known(batch))  # type: ignore[operator]
    return fitted if isinstance(fitted, str) else ""


def some_of(train_set: CloudDataset) -> Tensor:
    """The numbers of training clouds that fit in one batch: all, or of many some, evenly chosen."""
    most = max(1, min(CLOUDS, POINTS // max(1, int(train_set.sizes.max()))))
    return torch.arange(len(train_set))[:: max(1, -(-len(train_set) // most))]


def seconds_a_step(task: Task, model: nn.Module, steps: Iterable[Prepared], ranks: Ranks) -> float:
    """Time a few steps of a copy of the model.

    Args:
        task: What the loss is.
        model: The model, which is left as it is.
        steps: What this process works on, step by step.
        ranks: The processes.

    Returns:
        Seconds of a step, the preparation of its batch included.
    """
    trial = State(copy.deepcopy(model), task.config.train)
    trial.model.train()
    times = [time.perf_counter()]
    for prepared in islice(steps, TRIAL):
        optimise(task, trial, prepared, task.config.train.learning_rate, ranks)
        if ranks.device.type == "cuda":
            torch.cuda.synchronize(ranks.device)
        times.append(time.perf_counter())
    spans = [end - start for start, end in pairwise(times)]
    return statistics.median(spans[1:] or spans)


def shortened(plan: TrainConfig, length: int, seconds: float) -> int:
    """The epochs that the time allows: those of the plan, or fewer, one at least.

    A tenth of the time is left for validations.

    Args:
        plan: The training.
        length: Steps of an epoch.
        seconds: Of a step.
    """
    if not plan.max_minutes:
        return plan.epochs
    return max(1, min(plan.epochs, math.floor(54 * plan.max_minutes / (seconds * length))))


def introduce(data: DataConfig, sets: Mapping[str, CloudDataset]) -> None:
    """Say on standard error what the clouds are, and in which frame they are seen."""
    among = {} if data.learn_from == "train" else {"validation": " (learnt from as well)"}
    counts = ", ".join(
        f"{len(clouds):,} {name}{among.get(name, '')}" for name, clouds in sets.items()
    )
    first = next(iter(sets.values()))
    frame = {
        "z-score": "each with mean 0 and variance 1 along each axis",
        "unit-sphere": "each in the unit ball",
        "none": "as they are",
    }.get(data.normalise)
    if frame is None:
        centre = ", ".join(f"{x:.4g}" for x in data.centre[:6])
        more = ", ..." if len(data.centre) > 6 else ""
        frame = f"all about ({centre}{more}) in units of {data.unit:.4g}"
    what = {"class": "classes", "numbers": "numbers each", "points": "labels of points"}
    told = f"{len(first.classes)} {what[first.target_kind]}"
    print(f"clouds: {counts}; {told}; {frame}", file=sys.stderr, flush=True)


def announce(plan: TrainConfig, epochs: int, length: int, seconds: float) -> None:
    """Say on standard error how long the training will take, before it does."""
    steps = epochs * length
    whole = f"{steps:,} steps in {epochs:,} epochs" if epochs > 1 else f"{steps:,} steps, one epoch"
    cut = "" if epochs == plan.epochs else f", not {plan.epochs:,}: --max-minutes"
    time_told = duration(steps * seconds)
    if steps * seconds > LONG and not plan.max_minutes:
        time_told += "; --max-minutes N makes it shorter"
    print(f"{whole}{cut}; about {time_told}", file=sys.stderr, flush=True)


def duration(seconds: float) -> str:
    """A time in words: 40 s, 3 min, 2.5 h."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
