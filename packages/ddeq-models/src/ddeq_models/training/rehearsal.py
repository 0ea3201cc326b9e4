"""One small batch, from the clouds to the loss, before a run folder is made."""

import warnings
from typing import Any

import torch

from ddeq_data import CloudDataset
from ddeq_models.data import augmentation, check_data, generator_of, normaliser
from ddeq_models.errors import UserError
from ddeq_models.models.base import build_model
from ddeq_models.models.frozen import freeze
from ddeq_models.models.solver import build_solver
from ddeq_models.tasks.base import Task

CLOUDS = 2  # as many show what does not fit; more only take longer


def rehearse(task: Task, train_set: CloudDataset) -> None:
    """See that a configuration goes with the clouds: what does not would stop the first step.

    That would be after the run folder is made, which then stands in the way of the next attempt.
    Nothing is kept of the rehearsal, and PyTorch's own random numbers are afterwards what they
    were.

    Args:
        task: The task, whose configuration knows the data.
        train_set: Clouds to train on, at least one.

    Raises:
        UserError: It does not.
    """
    config = task.config
    check_data(config.data, train_set)
    last: Any = config.model_at(config.train.epochs)
    if last.solves:
        build_solver(last)  # an error in its settings shall not wait for its epoch
    count = min(CLOUDS, len(train_set))
    try:
        with torch.random.fork_rng([]), torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of weights that are not trained
            torch.manual_seed(config.train.seed)
            generator = generator_of(config.train.seed, 0)
            batch = train_set.__getitems__(list(range(count))).map(normaliser(config.data))
            inputs = task.prepare(batch.map(augmentation(config.data), generator), generator)
            model = build_model(config.model).eval()
            freeze(model, config.train.freeze)
            task.loss(task.answer(model, inputs), inputs)
    except UserError:
        raise
    except (ValueError, RuntimeError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        raise UserError(
            f"this configuration does not go with these clouds, and nothing was written: {reason}; "
            "change it with --set SECTION.KEY=VALUE"
        ) from error
