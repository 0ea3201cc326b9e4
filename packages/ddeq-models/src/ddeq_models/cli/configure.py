"""From the words of ``ddeq train`` to the configuration of a run.

What counts, the later over the earlier: the recipe of the data set and preset (or, with
``--resume RUN``, what the run says), the file of ``--config``, the options that have a name of
their own, ``--set``. All of it goes through the strict way from JSON, so that a wrong key or value
is named.
"""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ddeq_models._internal.files import parse_json
from ddeq_models.config import (
    SECTIONS,
    DataConfig,
    RunConfig,
    TaskConfig,
    TrainConfig,
    check_key,
    options_of,
)
from ddeq_models.errors import UserError
from ddeq_models.models.solver import SolverConfig
from ddeq_models.recipes import default_data, default_preset, recipe_for
from ddeq_models.registry import PRESETS
from ddeq_models.runs.start import like_source

# What of the data is of one data set alone.
_OF_FILES = ("root", "release", "sampling", "columns", "features", "weighted")

# The options by the part of the configuration that they set.
OPTIONS: dict[str, tuple[str, ...]] = {
    "data": ("root", *(one.name for one in options_of(DataConfig))),
    "train": tuple(one.name for one in options_of(TrainConfig)),
    "model": tuple(one.name for one in options_of(SolverConfig)),
}


def assemble(options: argparse.Namespace, before: RunConfig | None = None) -> RunConfig:
    """The configuration that the options ask for; what the data decide is not yet filled in.

    Args:
        options: Those of ``ddeq train``.
        before: The run that is resumed, if one is.

    Raises:
        UserError: A key or value is wrong, or there is no such recipe.
    """
    text = _file(options.config)
    if before is None:
        text = _yielding(text, options)
        preset, values = _recipe(options, text)
        classes: list[str] = []
    else:
        preset, values, classes = before.preset, before.to_dict(), list(before.classes)
        values = {name: values[name] for name in SECTIONS}
        if options.data is not None:
            values["data"]["name"] = options.data
        if options.preset is not None:
            preset = options.preset
    _merge(values, text)
    if before is None:
        # A frame is that of the clouds it was found in, and these may be others.
        values["data"] |= {"centre": [], "unit": 0.0}
        if "centre" in values["task"]:
            values["task"] |= {"centre": [], "unit": []}
        if options.epochs is not None:  # as many and no more
            values["train"]["steps"] = 0
    for section, names in OPTIONS.items():
        for name in names:
            value = getattr(options, name)
            if value is None and options.solver:
                value = options.solver.get(name)
            if value is not None:
                check_key(values, section, name)
                values[section][name] = value
    for pair in options.set or ():
        _set(values, pair)
    return RunConfig.from_dict({"preset": preset, "classes": classes, **values})


def _recipe(options: argparse.Namespace, text: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The preset's name, and the recipe as JSON has it."""
    task = options.task or text.get("task", {}).get("kind") or TaskConfig.default_kind
    named = options.data or text.get("data", {}).get("name")
    if options.init:
        config = like_source(options.init, named)
        if options.preset not in (None, config.preset):
            raise UserError(
                f"--init {options.init} is of the preset {config.preset}; leave --preset out"
            )
        return config.preset, _sections(config, options)
    preset = options.preset or text.get("preset") or default_preset(task)
    made_for = PRESETS.find(preset).task
    # With a number of steps beside them, epochs do not say how often a cloud comes.
    epochs = None if options.steps else options.epochs
    recipe = recipe_for(
        named or default_data(made_for), preset, points=options.points, epochs=epochs
    )
    config = RunConfig(preset, (), recipe.data, recipe.model, recipe.train, task=recipe.task)
    return preset, _sections(config, options)


def _sections(config: RunConfig, options: argparse.Namespace) -> dict[str, Any]:
    """The sections of a configuration as JSON has them; its task must be the one asked for."""
    kind = config.task.kind
    if options.task not in (None, kind):
        raise UserError(
            f"the preset {config.preset} is for {kind}; leave "
            f"{'--init' if options.init else '--preset'} out, or --task"
        )
    values = config.to_dict()
    return {name: values[name] for name in SECTIONS}


def _file(path: str | None) -> dict[str, Any]:
    """The sections that a file of ``--config`` holds; a run's ``config.json`` is such a file."""
    if path is None:
        return {}
    try:
        text = parse_json(Path(path).read_bytes())
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UserError(f"cannot read --config {path}: {reason}") from error
    if not isinstance(text, dict) or not all(isinstance(text.get(s, {}), dict) for s in SECTIONS):
        raise UserError(
            f"--config {path} must hold an object with some of the objects {', '.join(SECTIONS)}, "
            "as the config.json of a run does"
        )
    for name in text:
        if name not in (*SECTIONS, "preset", "classes", "version", "plugins"):
            raise UserError(
                f"unknown key {name} in --config {path}; known are {', '.join(SECTIONS)}"
            )
    return text


def _yielding(text: Mapping[str, Any], options: argparse.Namespace) -> dict[str, Any]:
    """What of a file remains beside ``--preset`` and ``--data``, which count over it.

    The model, its task and its training belong to the preset, the folder and the columns to the
    data set: those of another one are left out.
    """
    kept = dict(text)
    if options.preset is not None:
        kind, known = PRESETS.find(options.preset).kind, text.get("preset")
        another = known is not None and known != options.preset
        if another or text.get("model", {}).get("kind", kind) != kind:
            kept = {name: kept[name] for name in kept if name in ("data", "classes", "version")}
    if options.data is not None and "data" in text:
        data = dict(text["data"])
        if data.pop("name", options.data) != options.data:
            data = {name: data[name] for name in data if name not in _OF_FILES}
        kept["data"] = data
    return kept


def _merge(values: dict[str, Any], text: Mapping[str, Any]) -> None:
    """Put what a file says over what is there; a model or task of another kind as a whole."""
    for section in SECTIONS:
        if section in text:
            new = text[section]
            another = "kind" in new and new["kind"] != values[section].get("kind")
            values[section] = dict(new) if another else {**values[section], **new}


def _set(values: dict[str, Any], pair: str) -> None:
    """Carry out one ``--set section.key=value``."""
    name, equals, text = pair.partition("=")
    section, dot, key = name.partition(".")
    if not equals or not dot or section not in SECTIONS:
        raise UserError(
            f"--set takes SECTION.KEY=VALUE with a section of {', '.join(SECTIONS)}, got {pair!r}; "
            "the config.json of a run shows all keys"
        )
    check_key(values, section, key)
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = text  # a word needs no quotes
    if isinstance(values[section][key], str) and value is not None:
        value = value if isinstance(value, str) else text  # nor does the number of a column
    values[section][key] = value
