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

from ddeq_models.config import RunConfig
from ddeq_models.errors import UserError
from ddeq_models.files import parse_json
from ddeq_models.recipes import DEFAULT_PRESETS, RECIPES

SECTIONS = ("task", "data", "model", "train")

# Options by the part of the configuration that they set.
OPTIONS: dict[str, tuple[str, ...]] = {
    "data": (
        "root", "normalise", "points", "release", "sampling", "weighted", "columns", "features",
    ),
    "train": (
        "epochs", "steps", "max_minutes", "batch_size", "learning_rate", "weight_decay",
        "label_smoothing", "ema", "seed", "keep", "precision", "patience", "schedule",
    ),
    "model": ("velocity", "integrator", "adjoint", "step", "rtol", "max_steps"),
}  # fmt: skip


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
        if options.epochs is not None:  # as many and no more
            values["train"]["steps"] = 0
    for section, names in OPTIONS.items():
        for name in names:
            value = getattr(options, name)
            if value is None and options.solver:
                value = options.solver.get(name)
            if value is not None:
                _known(values, section, name)
                values[section][name] = value
    for pair in options.set or ():
        _set(values, pair)
    return RunConfig.from_dict({"preset": preset, "classes": classes, **values})


def _recipe(options: argparse.Namespace, text: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The preset's name, and the recipe as JSON has it."""
    data = options.data or text.get("data", {}).get("name") or "digits"
    preset = options.preset or text.get("preset") or DEFAULT_PRESETS[options.task]
    recipe = next((found for key, found in RECIPES.items() if key == (data, preset)), None)
    if recipe is None:
        known = sorted({name for of_data, name in RECIPES if of_data == data})
        raise UserError(
            f"there is no preset {preset} for --data {data}; there "
            + (f"are {', '.join(known)}" if known else f"is no data set {data}")
        )
    if options.task != "classification" and options.task != recipe.task.kind:
        raise UserError(
            f"the preset {preset} is for {recipe.task.kind}; leave --preset out, or --task"
        )
    config = RunConfig(preset, (), recipe.data, recipe.model, recipe.train, task=recipe.task)
    values = config.to_dict()
    return preset, {name: values[name] for name in SECTIONS}


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
        if name not in (*SECTIONS, "preset", "classes", "version"):
            raise UserError(
                f"unknown key {name} in --config {path}; known are {', '.join(SECTIONS)}"
            )
    return text


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
    _known(values, section, key)
    try:
        values[section][key] = json.loads(text)
    except (ValueError, RecursionError):
        values[section][key] = text  # a word needs no quotes


def _known(values: Mapping[str, Any], section: str, key: str) -> None:
    if key not in values[section]:
        known = ", ".join(values[section])
        what = f"the model {values['model']['kind']}" if section == "model" else section
        raise UserError(f"{what} has no key {key}; known are {known}")
