"""Beginning from trained weights: what of them is taken, and what begins anew.

The weights of a run, a model folder or a shipped model are those of another training, of other
classes perhaps. All that does not depend on the classes is taken, the head with its biases only
where the classes are the same ones in the same order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

import torch
from torch import Tensor

from ddeq_models.config import ModelConfig, RunConfig
from ddeq_models.errors import UserError
from ddeq_models.models.base import build_model
from ddeq_models.models.solver import SolverConfig
from ddeq_models.recipes import default_data, default_preset, recipe_for
from ddeq_models.registry import PRESETS
from ddeq_models.runs.pretrained import open_model

__all__ = ["like_source", "starting_weights"]

# What the data decide, and what is of the solver alone: no weight depends on them.
_FREE = {"classes", "outputs", "dropout", "hiding", "summary_dropout"} | (
    {field.name for field in fields(SolverConfig)} - {field.name for field in fields(ModelConfig)}
)


def like_source(source: str, data: str | None) -> RunConfig:
    """The configuration of a training on a data set that begins from trained weights.

    Model, task and the kind of normalisation are those of the source; the frame, augmentation and
    training are those of the data set's recipe.

    Args:
        source: A run folder, a model folder, or the name of a shipped model.
        data: The data set; None: that of the task which needs no files.

    Raises:
        UserError: There is no such source, or no such data set.
    """
    known = open_model(source).config()
    preset = known.preset if known.preset in PRESETS else default_preset(known.task.kind)
    if PRESETS[preset].task != known.task.kind:
        preset = default_preset(known.task.kind)
    recipe = recipe_for(data or default_data(known.task.kind), preset)
    normalise = known.data.normalise
    return RunConfig(
        known.preset,
        (),
        replace(recipe.data, normalise=normalise, points=known.data.points),
        known.model,
        replace(recipe.train, init=source, solver_phases=()),
        task=known.task,
    )


def starting_weights(config: RunConfig) -> dict[str, Tensor]:
    """The weights that a run begins from, by their names in its model; none of those left out.

    Args:
        config: The run, whose ``train.init`` names the source.

    Raises:
        UserError: There is no such source, or its weights are not for this model.
    """
    source = config.train.init
    folder = open_model(source)
    known = folder.config()
    _check_alike(known.model, config.model, source)
    found = folder.model().state_dict()
    if known.classes == config.classes:
        return found
    decided = _of_classes(config.model)
    taken = {name: tensor for name, tensor in found.items() if name not in decided}
    if not taken:
        raise UserError(f"every weight of {source} depends on its classes; leave init out")
    return taken


def _check_alike(known: ModelConfig, wanted: ModelConfig, source: str) -> None:
    """See that weights of one configuration fit a model of another."""
    if known.kind != wanted.kind:
        raise UserError(
            f"{source} is a model {known.kind} and not {wanted.kind}; take the model of the "
            "source, or leave init out"
        )
    names = [field.name for field in fields(wanted) if field.name not in _FREE]
    first, second = _values(known, names), _values(wanted, names)
    if other := [name for name in names if first[name] != second[name]]:
        said = ", ".join(f"{name} {first[name]} and not {second[name]}" for name in other)
        hint = (
            "its clouds have another dimension"
            if "point_dim" in other
            else "take the model of the source"
        )
        raise UserError(f"{source} was trained with {said}: {hint}, or leave init out")


def _values(config: ModelConfig, names: list[str]) -> Mapping[str, Any]:
    return {name: getattr(config, name) for name in names}


def _of_classes(config: ModelConfig) -> set[str]:
    """The names of the weights whose shapes the number of classes decides."""
    plain: Any = config
    counted = next((name for name in ("classes", "outputs") if hasattr(plain, name)), None)
    if counted is None:
        return set()
    more = replace(plain, **{counted: getattr(plain, counted) + 1})
    with torch.random.fork_rng([]):
        shapes, others = (
            {name: tensor.shape for name, tensor in build_model(one).state_dict().items()}
            for one in (config, more)
        )
    return {name for name, shape in shapes.items() if others[name] != shape}
