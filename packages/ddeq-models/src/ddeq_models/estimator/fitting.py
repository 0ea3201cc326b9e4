"""From what an estimator was told to a trained model: the product's own loop, in no folder."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ddeq_data import CloudDataset, PackedClouds, stratified_share
from ddeq_models._internal.device import choose_device
from ddeq_models.config import ARRAYS, DataConfig, RunConfig, TaskConfig, changed, passes
from ddeq_models.data import framed
from ddeq_models.distributed import Ranks
from ddeq_models.errors import Diverged, Interrupted, UserError
from ddeq_models.measuring.calibrate import calibration_of
from ddeq_models.recipes import recipe_for
from ddeq_models.runs.calibration import Calibration
from ddeq_models.runs.folder import RunFolder
from ddeq_models.runs.start import like_source, starting_weights
from ddeq_models.tasks.base import build_task
from ddeq_models.training.checkpoints import Manner
from ddeq_models.training.loop import fit
from ddeq_models.training.rehearsal import rehearse

__all__ = ["Trained", "configuration", "seed_of", "split", "train_in_memory"]

_FEW = 3  # clouds of a class that can spare one


@dataclass(frozen=True)
class Trained:
    """What a training leaves.

    Attributes:
        config: All that decided it.
        model: The model, in evaluation mode.
        records: What its ``metrics.jsonl`` held.
        calibration: How far its answers can be trusted.
    """

    config: RunConfig
    model: nn.Module
    records: tuple[Mapping[str, Any], ...]
    calibration: Calibration | None = None


def seed_of(random_state: Any) -> int:
    """A seed: the number itself, or one drawn from a generator of NumPy; None: any.

    Raises:
        UserError: It is none of these.
    """
    if random_state is None:
        return int(np.random.default_rng().integers(2**31))
    if isinstance(random_state, int | np.integer) and not isinstance(random_state, bool):
        if 0 <= random_state < 2**63:
            return int(random_state)
    elif isinstance(random_state, np.random.RandomState):
        return int(random_state.randint(2**31 - 1))
    elif isinstance(random_state, np.random.Generator):
        return int(random_state.integers(2**31))
    raise UserError(
        f"random_state must be a number from 0 on, a generator of NumPy or None, got "
        f"{random_state!r}"
    )


def configuration(parameters: Mapping[str, Any], task: str = TaskConfig.default_kind) -> RunConfig:
    """What an estimator's parameters ask for; what the data decide is not yet filled in.

    What counts, the later over the earlier: the recipe of the preset for a folder of the user's
    own, the parameters, the options.

    Args:
        parameters: Of the estimator.
        task: What its model must be made for.

    Raises:
        UserError: A parameter is of no use.
    """
    if parameters["init"] is not None:
        config = like_source(str(parameters["init"]), ARRAYS)
    else:
        preset = parameters["preset"]
        epochs = None if parameters["steps"] else parameters["epochs"]
        # Of another type it is refused below.
        passes = int(epochs) if isinstance(epochs, int | np.integer) else None
        recipe = recipe_for(ARRAYS, preset, epochs=passes)
        config = RunConfig(preset, (), recipe.data, recipe.model, recipe.train, task=recipe.task)
    if config.task.kind != task:
        raise UserError(
            f"the preset {config.preset} is for {config.task.kind}; take one for {task}"
        )
    changes: dict[str, Any] = {
        "train.seed": seed_of(parameters["random_state"]),
        "train.freeze": parameters["freeze"],
    }
    for name in ("epochs", "steps", "max_minutes", "batch_size", "learning_rate"):
        if parameters[name] is not None:
            changes[f"train.{name}"] = parameters[name]
    if parameters["epochs"] is not None and parameters["steps"] is None:
        changes["train.steps"] = 0  # as many and no more
    if parameters["steps"] is not None and parameters["epochs"] is None:
        changes["train.epochs"] = 1
    if "loss" in parameters:
        changes["task.loss"] = parameters["loss"]
    if parameters["normalise"] is not None:
        changes["data.normalise"] = parameters["normalise"]
    options = parameters["options"]
    if options is not None and not isinstance(options, Mapping):
        raise UserError(f'options must be a dict, {{"model.dim": 32}}, got {options!r}')
    changes |= options or {}
    plain = {
        name: value.item() if isinstance(value, np.generic) else value
        for name, value in changes.items()
    }
    config = changed(config, plain)
    if config.data.name != ARRAYS or config.data.root is not None:
        raise UserError("the clouds are those that are given; leave data.name and data.root out")
    if config.data.learn_from != "train":
        raise UserError(
            "an estimator learns from all clouds that it is given but for validation_fraction; "
            f"leave data.learn_from={config.data.learn_from!r} out, or take validation_fraction=0"
        )
    build_task(config)
    return config


def split(numbers: Tensor, share: float, seed: int) -> tuple[Tensor, Tensor]:
    """Which clouds are trained on, and which are validated on.

    Of a class of fewer than three clouds none is held out; where none is held out at all, the
    clouds to train on are validated on.

    Args:
        numbers: The class of each cloud.
        share: Of the clouds, of each class.
        seed: Another one holds out others.

    Raises:
        UserError: The share is not in 0..0.5.
    """
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 0.5:
        raise UserError(f"validation_fraction must be between 0 and 0.5, got {share!r}")
    every = torch.arange(len(numbers))
    roomy = every[torch.bincount(numbers)[numbers] >= _FEW]
    held = roomy[stratified_share(numbers[roomy], float(share), seed)] if len(roomy) else roomy
    if not len(held):
        return every, every
    kept = torch.ones(len(numbers), dtype=torch.bool)
    kept[held] = False
    return every[kept], held


def train_in_memory(
    config: RunConfig,
    clouds: PackedClouds,
    odds: NDArray[np.float64] | None,
    *,
    classes: tuple[str, ...],
    share: float,
    device: str,
    verbose: bool,
    before: Trained | None,
) -> Trained:
    """Train a model on clouds, in a folder that is gone afterwards.

    Args:
        config: From `configuration`.
        clouds: With the class of each as its label.
        odds: How often each is drawn, above 0; None: all alike.
        classes: The names of the classes.
        share: Of the clouds that is held out.
        device: See `choose_device`.
        verbose: Show the progress.
        before: What to go on from, with its frame and its weights.

    Raises:
        UserError: Something does not fit; nothing was done.
        Diverged: A loss is not finite.
        KeyboardInterrupt: Ctrl-C.
    """
    place = choose_device(device)
    trained_on, held = split(clouds.labels, share, config.train.seed)
    train_set = CloudDataset(clouds.select(trained_on), classes)
    validation_set = CloudDataset(clouds.select(held), classes)
    config = replace(
        config,
        classes=classes,
        data=_data(config.data, train_set, before),
        model=config.model.for_data(train_set.dim, len(classes), train_set.coordinates),
        train=passes(config.train, len(train_set)),
        version=version("ddeq-models"),
        task=_task(config.task, train_set, before),
    )
    if before is not None and (config.model, config.preset) != (
        before.config.model,
        before.config.preset,
    ):
        raise UserError(
            "warm_start goes on from the weights that are there, and this is another model; fit "
            "with warm_start=False, or leave preset and model options as they were"
        )
    task = build_task(config)
    task.check({"train": train_set, "validation": validation_set})
    rehearse(task, train_set)
    start = None if before is None else before.model.state_dict()
    if before is None and config.train.init:
        start = starting_weights(config)
    with TemporaryDirectory(prefix="ddeq-") as folder:
        run = RunFolder.create(Path(folder) / "run", config)
        try:
            fit(
                task,
                train_set,
                validation_set,
                run,
                Ranks(place),
                Manner(quiet=not verbose, checkpoint_every=math.inf),
                odds=None if odds is None else torch.from_numpy(odds)[trained_on],
                start=start,
            )
        except Diverged:
            raise Diverged(
                "the loss is not finite; try a smaller learning_rate, or see whether a cloud is "
                "very far from the others"
            ) from None
        except Interrupted as error:  # there is no folder to go on in
            if error.exit_code == Interrupted.exit_code:
                raise KeyboardInterrupt from None
            sys.exit(error.exit_code)
        model = run.model(place)
        calibration = calibration_of(task, model, train_set, validation_set, place)
        return Trained(config, model, tuple(run.metrics()), calibration)


def _task(task: TaskConfig, train_set: CloudDataset, before: Trained | None) -> TaskConfig:
    """The task in the units of these clouds, or in those of the training before."""
    if before is None:
        return task.for_data(train_set)
    decided = [name for name in ("centre", "unit") if hasattr(task, name)]
    return replace(task, **{name: getattr(before.config.task, name) for name in decided})


def _data(data: DataConfig, train_set: CloudDataset, before: Trained | None) -> DataConfig:
    """How the clouds are seen: in their own frame, or in that of the training before."""
    features = tuple(str(i) for i in range(train_set.coordinates, train_set.dim))
    data = replace(data, features=features)
    if before is None:
        return framed(data, train_set)
    known = before.config.data
    if known.normalise != data.normalise:
        raise UserError(
            f"warm_start goes on with clouds normalised by {known.normalise}, not "
            f"{data.normalise}; fit with warm_start=False"
        )
    return replace(data, centre=known.centre, unit=known.unit)
