"""Estimators as model folders: beside the model its parameters and the type of its labels.

``estimator.json`` is written into the folder of `ddeq_models.save_pretrained`; whoever reads the
folder otherwise takes no notice of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ddeq_models._internal.files import json_document, parse_json, read_owned, write_atomically
from ddeq_models.config import RunConfig
from ddeq_models.errors import UserError
from ddeq_models.estimator.labels import Labels
from ddeq_models.registry import PRESETS
from ddeq_models.runs.calibration import Calibration, read_calibration
from ddeq_models.runs.pretrained import open_model, save_pretrained

__all__ = ["Kept", "read_folder", "write_folder"]

FILE = "estimator.json"


@dataclass(frozen=True)
class Kept:
    """What of an estimator is kept.

    Attributes:
        config: The run.
        model: The model.
        classes: The classes.
        parameters: The constructor's.
        calibration: How far the model's answers can be trusted; None where that is not known.
    """

    config: RunConfig
    model: nn.Module
    classes: Labels
    parameters: Mapping[str, Any]
    calibration: Calibration | None = None


def write_folder(folder: str | Path, kept: Kept) -> Path:
    """Write a model folder.

    Raises:
        UserError: It is not empty or cannot be written.
    """
    labels = "object" if kept.classes.dtype == object else kept.classes.dtype.str
    parameters = {name: _plain(value) for name, value in kept.parameters.items()}
    if isinstance(begun := kept.parameters.get("init"), Path):
        parameters["init"] = str(begun)
    document = json_document({"labels": labels, "parameters": parameters})
    path = save_pretrained(kept.model, folder, config=kept.config, calibration=kept.calibration)
    try:
        write_atomically(path / FILE, (document + "\n").encode())
    except OSError as error:
        raise UserError(f"cannot write {path / FILE}: {error.strerror}") from error
    return path


def _plain(value: Any) -> Any:
    """A parameter as JSON has it; None for what it cannot hold."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping):
        named = all(isinstance(name, str) for name in value)
        return {name: _plain(inner) for name, inner in value.items()} if named else None
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value if isinstance(value, int | float | str | bool | None) else None


def read_folder(source: str | Path, device: torch.device, task: str) -> Kept:
    """Read a run folder, a model folder or a shipped model.

    Args:
        source: Which.
        device: Where to put the model.
        task: What it must be made for.

    Raises:
        UserError: It is none of these, it is damaged, or it is for another task.
    """
    folder = open_model(source)
    config = folder.config()
    if config.task.kind != task:
        raise UserError(f"{source} is a model for {config.task.kind}; give one for {task}")
    try:
        labels, parameters = _read(parse_json(read_owned(folder.path, FILE)))
    except FileNotFoundError:
        labels, parameters = "object", _told(config)
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read {folder.path / FILE}: {error}") from error
    try:
        classes = _typed(config.classes, labels)
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        raise UserError(f"{folder.path / FILE}: {labels!r} is not the type of labels") from error
    calibration = read_calibration(folder.path, len(config.classes))
    return Kept(config, folder.model(device), classes, parameters, calibration)


def _read(document: object) -> tuple[str, Mapping[str, Any]]:
    if isinstance(document, Mapping) and set(document) == {"labels", "parameters"}:
        labels, parameters = document["labels"], document["parameters"]
        if isinstance(labels, str) and isinstance(parameters, Mapping):
            return labels, parameters
    raise UserError("expected an object of labels, a word, and parameters, an object")


def _told(config: RunConfig) -> dict[str, Any]:
    """What a run says of the parameters."""
    preset = {"preset": config.preset} if config.preset in PRESETS else {}
    return {**preset, "normalise": config.data.normalise, "random_state": config.train.seed}


def _typed(names: tuple[str, ...], kind: str) -> Labels:
    """The names of the classes as labels of their type."""
    if kind == "object":
        words: Labels = np.array(names, dtype=object)
        return words
    dtype = np.dtype(kind)
    if dtype.kind == "b":
        return np.array([{"True": True, "False": False}[name] for name in names])
    if dtype.kind in "iu":
        return np.array([int(name) for name in names], dtype=dtype)
    if dtype.kind == "f":
        return np.array([float(name) for name in names], dtype=dtype)
    if dtype.kind != "U":
        raise TypeError(kind)
    return np.array(names)
